"""The tensors of an adapter under PEFT's names, both ways, by the family's table of published names.

`blocks.0.attention.query.adapters.default.a` is `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. A and B lie
the same way in both, also where a family keeps its matrices turned (the first GPT-2), since they stand for the product,
not for the matrix. PEFT wraps modules, so a matrix here must be a module there: stacks of experts are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from groundup.adapters.config import AdapterConfig
from groundup.adapters.layers import Adapted, AdaptedLinear, LowRank, linear_shape
from groundup.adapters.lora import adapted_layers, add_adapter, switch_of
from groundup.adapters.peft_config import PeftSettings, shortest_ends
from groundup.adapters.targets import left_out, linear_names, published_names
from groundup.adapters.tokens import TokenRows
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, architecture

PREFIX = "base_model.model."
_TOKENS = ".token_adapter.trainable_tokens_delta"
_PATH = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude"}
_TABLES = ("token_embedding", "head")
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter's tensors sorted by what they are, under published module names."""

    paths: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # module -> a, b, magnitude
    rows: dict[str, Tensor] = field(default_factory=dict)  # table -> rows of some tokens [K, D]
    whole: dict[str, Tensor] = field(default_factory=dict)  # name of a weight -> all of it


def sort_tensors(tensors: dict[str, Tensor], source: str) -> PeftAdapter:
    """Sort an adapter file's tensors by their names; raises GroundupError for one that is no part of a LoRA adapter."""
    found = PeftAdapter()
    for name, tensor in tensors.items():
        if not name.startswith(PREFIX):
            raise GroundupError(
                f"{source}: tensor {name!r} is not under {PREFIX!r}, as PEFT's are; it is no PEFT adapter"
            )
        inner = name.removeprefix(PREFIX)
        end = next((end for end in _PATH if inner.endswith(end)), None)
        # PEFT of some versions names a magnitude as a weight of its own.
        if inner.endswith(".lora_magnitude_vector.weight"):
            end, inner = ".lora_magnitude_vector", inner.removesuffix(".weight")
        if end is not None:
            found.paths.setdefault(inner.removesuffix(end), {})[_PATH[end]] = tensor
        elif inner.endswith(_TOKENS):
            found.rows[inner.removesuffix(_TOKENS)] = tensor
        elif "lora_" in inner:
            raise GroundupError(f"{source}: tensor {name!r} is not supported here; only LoRA on linear layers is")
        else:
            found.whole[re.sub(r"\.(modules_to_save|token_adapter|base_layer)(?=\.)", "", inner)] = tensor
    return found


def attach(
    model: LanguageModel, settings: PeftSettings, adapter: PeftAdapter, source: str, *, name: str = "default"
) -> None:
    """Put the adapter on the model, switched on and not trainable; the model has rows for all its tokens.

    Raises GroundupError, before anything is changed, naming the tensor that does not fit and why.
    """
    names, published = linear_names(model), published_names(model)
    ours = {theirs: mine for mine, theirs in published.items()}
    ranks, alphas = {}, {}
    for module, parts in adapter.paths.items():
        mine = _known(model, ours.get(module), module, source)
        _check_path(names[mine], settings, module, parts, source)
        ranks[mine], alphas[mine] = settings.rank_of(module), settings.alpha_of(module)
    if not adapter.paths:
        raise GroundupError(f"{source} holds no lora_A and lora_B; there is nothing to adapt with")
    tokens = _token_ids(model, settings, adapter, published, source)
    config = AdapterConfig(
        kind="dora" if settings.dora else "lora",
        rank=settings.rank,
        alpha=settings.alpha,
        dropout=settings.dropout,
        rslora=settings.rslora,
        targets=tuple(ranks),
        rank_pattern={mine: rank for mine, rank in ranks.items() if rank != settings.rank},
        alpha_pattern={mine: alpha for mine, alpha in alphas.items() if alpha != settings.alpha},
        new_tokens=tokens,
    )
    add_adapter(model, config, name=name)
    with torch.no_grad():
        for module, parts in adapter.paths.items():
            path = model.get_submodule(f"{ours[module]}.adapters.{name}")
            for part, tensor in parts.items():
                path.get_parameter(part).copy_(tensor)
        for table in _TABLES:
            if tokens and published.get(table) in adapter.rows:
                model.get_parameter(f"{table}.adapters.{name}.rows").copy_(adapter.rows[published[table]])
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def collect(
    model: LanguageModel, name: str, base: str | None, whole: dict[str, Tensor], task: str
) -> tuple[PeftSettings, dict[str, Tensor], dict]:
    """An adapter as PEFT keeps it: the settings, the tensors by PEFT's names, and what `settings_json` asks besides.

    `whole` are weights that travel whole, by published name (`score.weight`). Raises GroundupError when the model has no
    adapter of this name.
    """
    published = published_names(model)
    own = {key: layer for key, layer in model.named_modules() if layer in set(adapted_layers(model))}
    paths: dict[str, LowRank] = {}
    tensors: dict[str, Tensor] = {}
    tokens: dict[str, tuple[int, ...]] = {}
    for key, layer in own.items():
        if name not in layer.adapters:
            continue
        part, module = layer.adapters[name], published[key]
        if isinstance(part, TokenRows):
            tensors[f"{PREFIX}{module}{_TOKENS}"] = part.rows
            tokens[module.rpartition(".")[2]] = tuple(part.ids.tolist())
        else:
            assert isinstance(layer, AdaptedLinear) and isinstance(part, LowRank)
            paths[module] = part
            for end, attribute in _PATH.items():
                if (value := getattr(part, attribute)) is not None:
                    tensors[f"{PREFIX}{module}{end}"] = value
    if not paths:
        raise GroundupError(f"the model has no adapter called {name!r} to save")
    switch = switch_of(model)
    for key in switch.whole.get(name, ()) if switch else ():
        part, _, end = key.rpartition(".")
        layer = model.get_submodule(part)
        weight = (layer.base if isinstance(layer, Adapted) else layer).get_parameter(end)
        whole = whole | {f"{published[part]}.{end}": weight}
    tensors |= {f"{PREFIX}{module}": tensor for module, tensor in whole.items()}
    first = next(iter(paths.values()))
    strengths = {module: _alpha(path) for module, path in paths.items()}
    rank, alpha = _most_common([path.rank for path in paths.values()]), _most_common(list(strengths.values()))
    settings = PeftSettings(
        rank=rank,
        alpha=alpha,
        dropout=first.dropout,
        rslora=first.rslora,
        dora=first.magnitude is not None,
        rank_pattern={module: path.rank for module, path in paths.items() if path.rank != rank},
        alpha_pattern={module: value for module, value in strengths.items() if value != alpha},
        tokens={"": next(iter(tokens.values()))} if len(tokens) == 1 else tokens,
        whole=tuple(dict.fromkeys(module.removesuffix(".weight").removesuffix(".bias") for module in whole)),
        base=base,
    )
    config = model.config
    table = architecture(config.architecture).weights(config)
    rows = list(table.expand(config.n_layers, config.tie_embeddings))
    others = {row.theirs.removesuffix(".weight") for row in rows if row.theirs.endswith(".weight")} - set(paths)
    transposed = {row.theirs.removesuffix(".weight") for row in rows if row.transpose}
    more = {
        "targets": shortest_ends(paths, others),
        "transposed": bool(transposed & set(paths)),
        "task": task,
    }
    return settings, tensors, more


def _known(model: LanguageModel, mine: str | None, module: str, source: str) -> str:
    """Our name of a published module that an adapter can go on."""
    if mine in linear_names(model):
        return mine
    reason = left_out(model).get(mine or "", f"this {model.config.architecture} model has no such linear layer")
    raise GroundupError(f"{source}: the adapter is on {module}, where none can go here: {reason}")


def _check_path(layer: torch.nn.Module, settings: PeftSettings, module: str, parts: dict, source: str) -> None:
    """Refuse parts that are missing, too many, or of another size than settings and model ask for."""
    base = layer.base if isinstance(layer, AdaptedLinear) else layer
    (n_out, n_in), rank = linear_shape(base), settings.rank_of(module)
    wanted = {"a": (rank, n_in), "b": (n_out, rank)} | ({"magnitude": (n_out,)} if settings.dora else {})
    names = {part: end.lstrip(".") for end, part in _PATH.items()}
    for part in sorted({*wanted, *parts}):
        if part not in parts:
            raise GroundupError(f"{source}: {module}.{names[part]} is missing; the file is incomplete")
        if part not in wanted:
            raise GroundupError(
                f"{source}: {module}.{names[part]} is there, though adapter_config.json has use_dora off"
            )
        if tuple(parts[part].shape) != wanted[part]:
            raise GroundupError(
                f"{source}: {module}.{names[part]} is {list(parts[part].shape)}, but a rank of {rank} on this base's matrix "
                f"[{n_out}, {n_in}] needs {list(wanted[part])}; the adapter was made for another base"
            )


def _token_ids(
    model: LanguageModel, settings: PeftSettings, adapter: PeftAdapter, published: dict[str, str], source: str
) -> tuple[int, ...]:
    """The ids of the tokens whose rows the adapter brings: those of the embedding, and of the head where it has its own."""
    if bool(settings.tokens) != bool(adapter.rows):
        raise GroundupError(
            f"{source}: trainable_token_indices and the rows of tokens do not go together; one is missing"
        )
    found = set()
    for module, rows in adapter.rows.items():
        if module not in {published.get(table) for table in _TABLES}:
            raise GroundupError(f"{source}: rows of tokens for {module}, which is no table of this model")
        ids = settings.tokens.get(module.rpartition(".")[2], settings.tokens.get(""))
        if ids is None or tuple(rows.shape) != (len(ids), model.config.d_model):
            raise GroundupError(
                f"{source}: the rows of tokens for {module} are {list(rows.shape)}, but there are {len(ids or ())} tokens of "
                f"width {model.config.d_model}; the adapter was made for another base"
            )
        found.add(ids)
    if len(found) > 1:
        raise GroundupError(f"{source}: embedding and head train rows of different tokens, which is not supported here")
    return next(iter(found), ())


def _alpha(path: LowRank) -> float:
    """The alpha that gives a path's scale, as PEFT computes it."""
    alpha = path.scale * (path.rank**0.5 if path.rslora else path.rank)
    return int(alpha) if alpha == int(alpha) else alpha


def _most_common(values: list[Number]) -> Number:
    return max(dict.fromkeys(values), key=values.count)
