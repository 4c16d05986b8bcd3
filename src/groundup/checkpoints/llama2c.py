"""Checkpoints of llama2.c (`stories15M.bin`): a header of sizes, then all weights of a Llama as float32.

Its rotary positions turn neighbouring numbers of a head, ours (as Hugging Face's files) the two halves of it; so the
rows of queries and keys change their order on the way. Source: karpathy/llama2.c, export.py (`legacy_export`,
`version1_export`, `version2_export`) and run.c (`memory_map_weights`).
"""

from __future__ import annotations

import struct
from pathlib import Path

import torch
from torch import Tensor

from groundup.checkpoints.sources import ModelSource
from groundup.checkpoints.tensor_files import Place, RawTensors
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.models import architecture
from groundup.models.base import AttentionConfig
from groundup.tokenization.imports.llama2c_vocabulary import read_llama2c_vocabulary
from groundup.tokenization.tokenizer import Tokenizer

_SIZES = "<7i"  # width, feed-forward width, layers, heads, key-value heads, vocabulary, context
_MAGIC = 0x616B3432  # "ak42"; the first version has none
_HEADER_BYTES = 256  # of the later versions
_NORM_EPS, _ROPE_THETA = 1e-5, 10_000.0  # as run.c has them
_QUERY_KEY = (".q_proj.weight", ".k_proj.weight")


def open_llama2c(path: Path, tokenizer: str | Path | None = None) -> ModelSource:
    """The parts of the model in such a file; `tokenizer` names its vocabulary where it does not lie beside it.

    Raises GroundupError when the file is none, is of the quantised version, or has another length than its sizes ask for.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if len(head) < struct.calcsize(_SIZES):
        raise _unreadable(path, f"it has {len(head)} bytes")
    version, begin, sizes = 0, struct.calcsize(_SIZES), struct.unpack_from(_SIZES, head)
    tied = sizes[5] > 0  # the first version writes the vocabulary's size as negative when the head is its own
    if struct.unpack_from("<I", head)[0] == _MAGIC:
        version, begin = struct.unpack_from("<i", head, 4)[0], _HEADER_BYTES
        if version != 1:
            raise GroundupError(
                f"{path} is a llama2.c checkpoint of version {version}"
                f"{', whose weights are quantised to 8 bits' if version == 2 else ''}; export it with `--version 1` (or 0)"
            )
        sizes = struct.unpack_from(_SIZES, head, 8)
        tied = head[8 + struct.calcsize(_SIZES)] != 0
    config = _config(path, sizes, tied)
    shapes = _shapes(config, version)
    places, size = {}, path.stat().st_size
    file = path.open("rb", buffering=0)
    for name, shape in shapes.items():
        if name is not None:
            places[name] = Place(file, path, begin, shape, torch.float32)
        begin += 4 * torch.Size(shape).numel()
    if begin != size:
        raise _unreadable(path, f"a model of its sizes {sizes} takes {begin:,} bytes, the file has {size:,}")
    vocabulary = _vocabulary(path, config.vocab_size) if tokenizer is None else open_tokenizer(tokenizer)
    # Its programs begin every text so.
    vocabulary.config["add_bos_token"] = vocabulary.bos_id is not None
    ids = {"bos_id": vocabulary.bos_id, "eos_ids": () if vocabulary.eos_id is None else (vocabulary.eos_id,)}
    return ModelSource(path, config.model_copy(update=ids), vocabulary, _Llama2cTensors(places, config.d_head))


class _Llama2cTensors(RawTensors):
    """The tensors under their Hugging Face names, rows of queries and keys in the order of those files."""

    def __init__(self, places: dict[str, Place], d_head: int) -> None:
        super().__init__(places)
        self._d_head = d_head

    def read(self, name: str, start: int, stop: int) -> Tensor:
        if not name.endswith(_QUERY_KEY):
            return super().read(name, start, stop)
        # Whole heads, in which the halves come first the even, then the odd rows.
        first, last = start // self._d_head, -(-stop // self._d_head)
        heads = super().read(name, first * self._d_head, last * self._d_head)
        halves = heads.view(last - first, self._d_head // 2, 2, -1).transpose(1, 2).reshape(heads.shape)
        return halves[start - first * self._d_head : stop - first * self._d_head]


def _config(path: Path, sizes: tuple[int, ...], tied: bool) -> AttentionConfig:
    d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab_size, context_length = sizes
    if min(d_model, d_ff, n_layers, n_heads, n_kv_heads, abs(vocab_size), context_length) < 1 or d_model % n_heads:
        raise _unreadable(path, f"its header gives the sizes {sizes}")
    values = {
        "vocab_size": abs(vocab_size),
        "context_length": context_length,
        "d_model": d_model,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "d_head": d_model // n_heads,
        "d_ff": d_ff,
        "tie_embeddings": tied,
        "norm_eps": _NORM_EPS,
        "rope_theta": _ROPE_THETA,
    }
    config: AttentionConfig = architecture("llama").Config.build(values, source=str(path))
    return config


def _shapes(config: AttentionConfig, version: int) -> dict[str | None, tuple[int, ...]]:
    """Hugging Face names and shapes in the order of the file; None stands for numbers that hold no weights."""
    width, keys = config.d_model, config.n_kv_heads * config.d_head
    embedding = {"model.embed_tokens.weight": (config.vocab_size, width)}
    attention_norms = _layers(config, "input_layernorm", (width,))
    attention = (
        _layers(config, "self_attn.q_proj", (width, width))
        | _layers(config, "self_attn.k_proj", (keys, width))
        | _layers(config, "self_attn.v_proj", (keys, width))
        | _layers(config, "self_attn.o_proj", (width, width))
    )
    feed_forward_norms = _layers(config, "post_attention_layernorm", (width,))
    feed_forward = (
        _layers(config, "mlp.gate_proj", (config.d_ff, width))
        | _layers(config, "mlp.down_proj", (width, config.d_ff))
        | _layers(config, "mlp.up_proj", (config.d_ff, width))
    )
    final_norm: dict[str, tuple[int, ...]] = {"model.norm.weight": (width,)}
    head = {} if config.tie_embeddings else {"lm_head.weight": (config.vocab_size, width)}
    if version == 1:
        return {**attention_norms, **feed_forward_norms, **final_norm, **embedding, **attention, **feed_forward, **head}
    # Cosines and sines of the rotary positions, which follow from the sizes.
    angles = {None: (config.context_length, config.d_head)}
    order = (embedding, attention_norms, attention, feed_forward_norms, feed_forward, final_norm, angles, head)
    return {name: shape for part in order for name, shape in part.items()}


def _layers(config: AttentionConfig, part: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"model.layers.{layer}.{part}.weight": shape for layer in range(config.n_layers)}


def _vocabulary(path: Path, vocab_size: int) -> Tokenizer:
    """The vocabulary beside a checkpoint: SentencePiece's file, or llama2.c's own."""
    names = [f"{stem}{end}" for stem in (f"tok{vocab_size}", "tokenizer") for end in (".model", ".bin")]
    for name in names:
        file = path.with_name(name)
        if file.is_file():
            return open_tokenizer(file) if file.suffix == ".model" else read_llama2c_vocabulary(file)
    raise GroundupError(
        f"{path} has no vocabulary, and none of {', '.join(names)} lies beside it; put it there, or name it "
        "(`groundup import --tokenizer FILE`)"
    )


def _unreadable(path: Path, why: str) -> GroundupError:
    return GroundupError(
        f"{path} is not a checkpoint of llama2.c, or it is cut short: {why}. Other .bin files are pickles, which can run "
        "any code when opened: use a copy of the model with model.safetensors"
    )
