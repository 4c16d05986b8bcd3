"""A model as a GGUF file, for llama.cpp and what is built on it.

Weights go from the model's files into the new one tensor by tensor, so memory holds one of them. Before anything is written the
settings are read back: a model that would come back as another one (llama.cpp has no place for a setting) is refused by the
setting's name. Which tensors stay in float32 whatever the type follows llama.cpp's converter: vectors, and the small matrices its
kernels expect so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from groundup.checkpoints.gguf_file import config_of
from groundup.checkpoints.gguf_header import Stored, library
from groundup.checkpoints.gguf_rope import factors_of, frequencies
from groundup.checkpoints.gguf_settings import FAMILIES, Family, family_of_model, gguf_from_config
from groundup.checkpoints.gguf_tensors import Place, TensorMap, gguf_shape, to_gguf
from groundup.checkpoints.model_folder import open_source, resolve_model
from groundup.checkpoints.sources import ModelSource, check_names
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import file_written_atomically, free_bytes, readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.export.llama_cpp import Comparison, compare_with_llama_cpp
from groundup.models import ModelConfig, architecture
from groundup.models.weights import Row
from groundup.tokenization.gguf_vocabulary import gguf_from_tokenizer

TYPES = ("f32", "f16", "bf16", "q8_0")
# The number of each as a whole file's type, in llama.cpp's list (llama_ftype).
_FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}
# Matrices that llama.cpp's kernels read in float32 only, or that are too small to be worth less.
_ALWAYS_F32 = re.compile(r"(position_embd|ffn_gate_inp|ssm_conv1d)\.weight$|\.ssm_[ad]$|norm\.weight$")
_BLOCK = 32  # numbers in a block of q8_0
# Settings that a model is trained with, or whose effect is gone in float32; a file to run it does not say them.
_NOT_IN_A_FILE = {"dropout", "balance_coefficient", "residual_in_fp32", "bos_id", "eos_ids", "pad_id"}


@dataclass(frozen=True)
class Exported:
    """What was written; `comparison` with llama.cpp is None when it was left out."""

    path: Path
    n_bytes: int
    n_tensors: int
    comparison: Comparison | None


@dataclass(frozen=True)
class _Planned:
    """A tensor to be written: where its parts (one, or an expert each) come from, its shape and type there."""

    parts: tuple[tuple[str, Place], ...]
    shape: tuple[int, ...]
    kind: str

    @property
    def n_bytes(self) -> int:
        n = math.prod(self.shape)
        return n // _BLOCK * (_BLOCK + 2) if self.kind == "q8_0" else n * (4 if self.kind == "f32" else 2)


def export_gguf(
    model: str | Path,
    out: str | Path,
    *,
    type: str = "f16",
    verify: bool = True,
    reporter: Reporter = QUIET,
) -> Exported:
    """Write a model (run, folder, file or hub name) as the GGUF file `out`, whole or not at all.

    `type` is f32, f16, bf16 or q8_0 (blocks of 32 numbers of 8 bits). With `verify` the file is run in llama.cpp and compared with
    the model: token ids, greedy tokens, log-probabilities. Raises GroundupError for a model or a tokenizer that llama.cpp
    has no exact counterpart of, and when the comparison fails.
    """
    if type not in TYPES:
        raise unknown_name("type of a GGUF file", type, TYPES)
    out = Path(out)
    if out.suffix != ".gguf":
        raise GroundupError(f"{out} does not end in .gguf, by which other tools know such files; name it so")
    library()
    source = open_source(resolve_model(model))
    if out.exists() and source.path.resolve() == out.resolve():
        raise GroundupError(f"{out} is the model itself; write to another file")
    config = _without_window(source.config, reporter)
    family, values = _family(config)
    fields = gguf_from_config(family, values, source.path)
    fields |= gguf_from_tokenizer(source.tokenizer, config.vocab_size)
    planned = _plan(source, config, TensorMap(family, values), family, values, type)
    factors_P = _rope_factors(config)
    _check_settings(family, fields, planned, factors_P, config, source.path)
    n_bytes = sum(tensor.n_bytes for tensor in planned.values())
    out.parent.mkdir(parents=True, exist_ok=True)
    if n_bytes > free_bytes(out):
        raise GroundupError(
            f"{out} will take {readable_bytes(n_bytes)}, and the disk has {readable_bytes(free_bytes(out))} free; free some, "
            "or choose a smaller --type"
        )
    metadata = {"general.type": "model", "general.name": _name(source.path), "general.file_type": _FILE_TYPES[type]}
    _write(out, family, metadata | fields, planned, factors_P, source, reporter)
    comparison = None
    if verify:
        comparison = compare_with_llama_cpp(out, source, type, config.context_length, reporter)
    return Exported(out, out.stat().st_size, len(planned) + (factors_P is not None), comparison)


def _family(config: ModelConfig) -> tuple[Family, dict[str, Any]]:
    values = architecture(config.architecture).to_hugging_face(config)
    family = family_of_model(values["model_type"])
    if family is None:
        known = ", ".join(sorted({name for one in FAMILIES for name in one.model_types}))
        ours = values["model_type"].startswith("groundup_")
        kind = config.architecture if ours or values["model_type"] == config.architecture else values["model_type"]
        raise GroundupError(
            f"a {kind} model cannot be a GGUF file: llama.cpp has no such architecture (of those here it knows "
            f"{known}). Its model folder opens in Groundup{'' if ours else ' and in transformers'} as it is"
        )
    return family, values


def _without_window(config: ModelConfig, reporter: Reporter) -> ModelConfig:
    """llama.cpp sees all tokens before one in these families; up to the window's length that is the same."""
    window = getattr(config, "window", None)
    if config.architecture not in ("llama", "phi3") or window is None:
        return config
    if window < config.context_length:
        reporter.warn(
            f"llama.cpp has no sliding window for {config.architecture}, so the file says context {window:,} (the window; the "
            f"model's own is {config.context_length:,}): up to there both compute the same"
        )
    return config.model_copy(update={"window": None, "context_length": min(window, config.context_length)})


def _plan(
    source: ModelSource, config: ModelConfig, tensor_map: TensorMap, family: Family, values: dict[str, Any], type: str
) -> dict[str, _Planned]:
    """The tensors to write by their names there, in the order of the model's own table."""
    table = architecture(config.architecture).weights(config)
    rows: list[Row] = list(table.expand(config.n_layers, config.tie_embeddings))
    found = check_names(source, table, rows)
    if config.tie_embeddings and family.needs_head:
        [embedding] = [row.theirs for row in rows if row.ours == "token_embedding.weight"]
        found[table.head.theirs] = found[embedding]
        rows.append(table.head)
    planned: dict[str, _Planned] = {}
    for row in rows:
        for name in row.sources:
            place = tensor_map.place(name)
            shape = source.tensors.shape(found[name])
            shape = gguf_shape(shape[::-1] if place.transposed else shape, place.name, family, values)
            before = planned.get(place.name)
            parts = (*(before.parts if before else ()), (found[name], place))
            if place.expert is not None:
                shape = (len(parts), *shape)
            planned[place.name] = _Planned(parts, shape, _kind(place.name, shape, type))
    return planned


def _kind(name: str, shape: tuple[int, ...], type: str) -> str:
    if len(shape) == 1 or _ALWAYS_F32.search(name):
        return "f32"
    # A row must be whole blocks; one that is not keeps 16 bits, as in llama.cpp's converter.
    return "f16" if type == "q8_0" and shape[-1] % _BLOCK else type


def _rope_factors(config: ModelConfig) -> Tensor | None:
    scaling = getattr(config, "rope_scaling", None)
    if scaling is None or scaling.kind != "llama3":
        return None
    width, theta = config.d_head, config.rope_theta  # pyright: ignore[reportAttributeAccessIssue]
    return factors_of(scaling, frequencies(width, theta), width, theta)


def _check_settings(
    family: Family,
    fields: dict[str, Any],
    planned: dict[str, _Planned],
    factors_P: Tensor | None,
    config: ModelConfig,
    path: Path,
) -> None:
    """Read the settings back as if from the file: what they cannot say is refused."""
    tensors = {name: Stored(tensor.shape, 0, 0) for name, tensor in planned.items()}
    fields = {key: float(np.float32(value)) if isinstance(value, float) else value for key, value in fields.items()}
    back = config_of(family, fields, tensors, config.tie_embeddings, factors_P, path)
    ours, theirs = config.model_dump(), back.model_dump()
    # A recurrent model's context is what it was trained on; it has no limit, here as there.
    unsaid = _NOT_IN_A_FILE | ({"context_length"} if config.max_length is None else set())
    for name in sorted(set(ours) - unsaid):
        if name == "rotary_share":  # what counts is the number of dimensions
            ours[name], theirs[name] = (getattr(one, "n_turned", None) for one in (config, back))
        if not _same(ours[name], theirs.get(name)):
            value, taken = (_brief(values.get(name)) for values in (ours, theirs))
            raise GroundupError(
                f"this {config.architecture} model cannot be a GGUF file: it has {name} {value}, and llama.cpp has no setting for "
                f"it (it would compute with {taken}). The model folder opens in transformers as it is"
            )


def _brief(value: Any) -> Any:
    return {key: number for key, number in value.items() if number} if isinstance(value, dict) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return all(_same(a.get(key), b.get(key)) for key in a | b)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-6)
    return a == b


def _write(
    out: Path,
    family: Family,
    fields: dict[str, Any],
    planned: dict[str, _Planned],
    factors_P: Tensor | None,
    source: ModelSource,
    reporter: Reporter,
) -> None:
    gguf = library()
    kinds = {name: gguf.GGMLQuantizationType[name.upper()] for name in TYPES}
    with file_written_atomically(out) as file:
        writer = gguf.GGUFWriter(None, family.name)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for key, value in fields.items():
            _add(writer, key, value)
        if factors_P is not None:
            writer.add_tensor_info(
                "rope_freqs.weight", tuple(factors_P.shape), np.dtype(np.float32), 4 * len(factors_P)
            )
        for name, tensor in planned.items():
            # The library takes the shape in bytes for blocks, in numbers otherwise.
            writer.add_tensor_info(
                name, tensor.shape, np.dtype(np.float32), tensor.n_bytes, raw_dtype=kinds[tensor.kind]
            )
        writer.write_header_to_file(Path(file.name))
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors_P is not None:
            writer.write_tensor_data(factors_P.numpy())
        with reporter.bar(f"writing {out.name}", sum(tensor.n_bytes for tensor in planned.values())) as bar:
            for tensor in planned.values():
                writer.write_tensor_data(_numbers(gguf, tensor, source, kinds[tensor.kind]))
                bar.advance(tensor.n_bytes)
        writer.close()


def _numbers(gguf: Any, tensor: _Planned, source: ModelSource, kind: Any) -> np.ndarray:
    """The bytes of a tensor as they stand in the file; of a stack of experts, one after the other."""
    parts = (gguf.quantize(part.float().numpy(), kind) for part in _parts(tensor, source))
    # What is read of a file is good until the next tensor is read, so parts that are to be kept are copied.
    return next(parts) if len(tensor.parts) == 1 else np.stack([part.copy() for part in parts])


def _parts(tensor: _Planned, source: ModelSource) -> Iterator[Tensor]:
    for name, place in tensor.parts:
        rows = source.tensors.read(name, 0, source.tensors.shape(name)[0])
        # Arithmetic (an offset, an exponential) in float32, whatever the model is stored in.
        changed = to_gguf(rows.float() if place.plus_one or place.negative_exponential else rows, place)
        yield changed.reshape(tensor.shape[1:] if place.expert is not None else tensor.shape)


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _name(path: Path) -> str:
    return path.parent.name if path.name == "model" else path.stem if path.suffix == ".gguf" else path.name
