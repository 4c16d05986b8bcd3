"""A GGUF file as a source of a model: configuration, weights turned into numbers, tokenizer and chat template.

Blocks of a few bits are dequantised a few megabytes at a time by the `gguf` library, straight into the dtype the model is to
have. Nothing is guessed: a key, a tensor or a pre-tokenizer that is not known is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.checkpoints.gguf_header import GGUFFile, Stored
from groundup.checkpoints.gguf_rope import rope_of_factors
from groundup.checkpoints.gguf_settings import ORIGINAL_CONTEXT, Family, config_from_gguf, family_of_file
from groundup.checkpoints.gguf_tensors import Place, TensorMap, from_gguf, gguf_shape
from groundup.checkpoints.sources import ModelSource
from groundup.core.errors import GroundupError
from groundup.models import ModelConfig, architecture, model_types
from groundup.models.weights import WeightTable
from groundup.tokenization.gguf_vocabulary import ends_in_gguf, tokenizer_from_gguf

# A tensor that holds settings: how rotary positions are stretched, pair by pair.
_ROPE = "rope_freqs.weight"


class GGUFTensors:
    """The tensors of a GGUF file under their Hugging Face names and in their shapes; see `sources.TensorSource`."""

    def __init__(self, file: GGUFFile, places: dict[str, Place], shapes: dict[str, tuple[int, ...]]) -> None:
        self._file, self._places, self._shapes = file, places, shapes
        known = {place.name for place in places.values()} | {_ROPE}
        # What has no place keeps its name there, so that whoever checks the names refuses it by name.
        self.names: Sequence[str] = [*places, *sorted(set(file.tensors) - known)]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self._shapes.get(name) or self._file.tensors[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """What `read` gives: float32 for all that is stored in blocks or differs in its numbers."""
        place = self._places.get(name)
        if place is not None and (place.plus_one or place.negative_exponential):
            return torch.float32
        return self._file.dtype(place.name if place else name)

    def file(self, name: str) -> Path:
        """The file, for messages."""
        return self._file.path

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of a tensor, dequantised."""
        place, shape = self._places[name], self._shapes[name]
        there = self._file.tensors[place.name].shape
        if place.transposed:
            return self._file.rows(place.name, 0, there[0])[:, start:stop].mT.contiguous()
        if len(shape) == 1:
            whole = self._file.rows(place.name, 0, torch.Size(there[:-1]).numel()).view(-1)
            rows = whole if place.rows is None else whole[place.rows]
            return from_gguf(rows[start:stop].to(self.dtype(name)), place)
        first = 0 if place.expert is None else place.expert * there[1]
        if place.rows is None:
            rows = self._file.rows(place.name, first + start, first + stop)
        else:
            wanted = place.rows[start:stop]
            low, high = int(wanted.min()), int(wanted.max()) + 1
            rows = self._file.rows(place.name, low, high)[wanted - low]
        return from_gguf(rows.to(self.dtype(name)), place).view(stop - start, *shape[1:])


def open_gguf(path: str | Path) -> ModelSource:
    """The parts of a model in a GGUF file, its weights not read yet.

    Raises GroundupError naming what is damaged, missing or not supported.
    """
    path = Path(path)
    file = GGUFFile(path)
    if file.fields.get("split.count", 1) > 1:
        raise GroundupError(
            f"{path} is one of {file.fields['split.count']} parts of a model; join them first (llama-gguf-split --merge)"
        )
    if "token_embd.weight" not in file.tensors:
        raise GroundupError(f"{path} holds no language model: it has no tensor token_embd.weight")
    family = family_of_file(file.fields, path)
    factors_P = file.rows(_ROPE, 0, 1)[0].float() if _ROPE in file.tensors else None
    config = config_of(family, file.fields, file.tensors, _is_tied(file), factors_P, path)
    values = config_from_gguf(family, file.fields, file.tensors, path)
    tokenizer = tokenizer_from_gguf(file.fields, path)
    places, shapes = _places(file, TensorMap(family, values), config)
    for name, place in places.items():
        _check_shape(file, place, gguf_shape(shapes[name], place.name, family, values))
    return ModelSource(path, config, tokenizer, GGUFTensors(file, places, shapes))


def config_of(
    family: Family,
    fields: dict[str, Any],
    tensors: dict[str, Stored],
    tied: bool,
    factors_P: Tensor | None,
    path: Path,
) -> ModelConfig:
    """The configuration that the settings of a file, and the tensors it has, ask for.

    `factors_P` is how many times slower each rotary pair turns, where the file says so. Raises GroundupError naming what is
    not supported.
    """
    values = config_from_gguf(family, fields, tensors, path) | _special_ids(fields)
    values["tie_word_embeddings"] = tied
    original = values.pop(ORIGINAL_CONTEXT, None)
    if factors_P is not None:
        rope = values["rope_parameters"]
        width = values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"]
        values["rope_parameters"] = rope | rope_of_factors(factors_P, width, rope["rope_theta"], original, path)
    families = model_types()
    if values["model_type"] not in families:
        raise GroundupError(f"{path} is a {values['model_type']} model; this version has no such architecture")
    try:
        return architecture(families[values["model_type"]]).from_hugging_face(values)
    except GroundupError as error:
        raise GroundupError(f"{path}: {str(error).replace('config.json', 'the file')}") from None


def _is_tied(file: GGUFFile) -> bool:
    """Whether the head is the embedding: it is absent, or, in files of early converters, the same bytes."""
    if "output.weight" not in file.tensors:
        return True
    head, embedding = file.tensors["output.weight"], file.tensors["token_embd.weight"]
    if (head.shape, head.kind) != (embedding.shape, embedding.kind):
        return False
    step = 4096
    return all(
        torch.equal(file.rows("output.weight", at, end), file.rows("token_embd.weight", at, end))
        for at in range(0, head.shape[0], step)
        for end in (min(at + step, head.shape[0]),)
    )


def _special_ids(fields: dict[str, Any]) -> dict[str, Any]:
    ends = ends_in_gguf(fields)
    return {
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": list(ends) if len(ends) > 1 else ends[0] if ends else None,
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id"),
    }


def _places(
    file: GGUFFile, tensor_map: TensorMap, config: ModelConfig
) -> tuple[dict[str, Place], dict[str, tuple[int, ...]]]:
    """Where each tensor of the model lies, for all that the file has, and the shapes they have here."""
    family = architecture(config.architecture)
    table: WeightTable = family.weights(config)
    with torch.device("meta"):
        model = family.Model(config)
    places, shapes = {}, {}
    rows = list(table.expand(config.n_layers, config.tie_embeddings))
    if config.tie_embeddings and "output.weight" in file.tensors:
        rows.append(table.head)  # the embedding once more
    for row in rows:
        ours = "token_embedding.weight" if row is table.head and config.tie_embeddings else row.ours
        shape = tuple(model.get_parameter(ours).shape)
        for name in row.sources:
            place = tensor_map.place(name)
            if place.name in file.tensors:
                places[name] = place
                part = shape[1:] if row.n_experts else shape
                shapes[name] = part[::-1] if row.transpose else part
    return places, shapes


def _check_shape(file: GGUFFile, place: Place, expected: tuple[int, ...]) -> None:
    found = file.tensors[place.name].shape
    found = found[1:] if place.expert is not None else found
    expected = expected[::-1] if place.transposed else expected
    if found != expected:
        raise GroundupError(
            f"{file.path}: tensor {place.name} is {list(found)}, but the settings ask for {list(expected)}; "
            "the file is damaged or of a kind that is not supported here"
        )
