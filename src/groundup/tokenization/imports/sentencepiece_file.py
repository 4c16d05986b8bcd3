"""The SentencePiece model file (`.model`), read: pieces with scores and kinds, and how text is prepared for them.

Its one idea: the file is a protocol buffer, so the fields we need are named here once, by the numbers of the published
schema (sentencepiece_model.proto of google/sentencepiece), and the protobuf library does the reading.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError, missing_extra

# What a piece is for, by its number in the schema.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_UNIGRAM, _BPE = 1, 2
_ALGORITHMS = {_UNIGRAM: "unigram", _BPE: "bpe", 3: "word", 4: "char"}

# message -> {field: (number, type)}; a type that is a message of ours is named by a dot, `*` repeats.
_SCHEMA = {
    "Piece": {"piece": (1, "string"), "score": (2, "float"), "type": (3, "int32")},
    "Trainer": {
        "model_type": (3, "int32"),
        "treat_whitespace_as_suffix": (24, "bool"),
        "byte_fallback": (35, "bool"),
        "unk_id": (40, "int32"),
        "bos_id": (41, "int32"),
        "eos_id": (42, "int32"),
        "pad_id": (43, "int32"),
    },
    "Normalizer": {
        "name": (1, "string"),
        "precompiled_charsmap": (2, "bytes"),
        "add_dummy_prefix": (3, "bool"),
        "remove_extra_whitespaces": (4, "bool"),
        "escape_whitespaces": (5, "bool"),
    },
    "Model": {
        "pieces": (1, "*.Piece"),
        "trainer": (2, ".Trainer"),
        "normalizer": (3, ".Normalizer"),
        "denormalizer": (5, ".Normalizer"),
    },
}
_DEFAULTS = {
    "Piece.type": "1",
    "Trainer.model_type": "1",
    "Trainer.bos_id": "1",
    "Trainer.eos_id": "2",
    "Trainer.pad_id": "-1",
    "Normalizer.add_dummy_prefix": "true",
    "Normalizer.remove_extra_whitespaces": "true",
    "Normalizer.escape_whitespaces": "true",
}


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceFile:
    """A model file's content. `charsmap` is the compiled table of the normaliser, empty for none."""

    algorithm: str
    pieces: tuple[Piece, ...]
    byte_fallback: bool
    whitespace_as_suffix: bool
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool
    normalizer_name: str
    charsmap: bytes
    roles: dict[str, int]

    def ids(self, *kinds: int) -> list[int]:
        """The ids of the pieces of these kinds, in order."""
        return [id for id, piece in enumerate(self.pieces) if piece.kind in kinds]


def looks_like_sentencepiece(data: bytes) -> bool:
    """Whether the file begins like one: field 1, a message, whose first field is a piece's text."""
    return len(data) > 4 and data[0] == 0x0A and data[2] == 0x0A


def read_sentencepiece(data: bytes, path: Path) -> SentencePieceFile:
    """The content of a `.model` file; raises `GroundupError` when it is none or uses what we cannot do exactly."""
    from google.protobuf.message import DecodeError

    model = _message("Model")()
    try:
        model.ParseFromString(data)
        pieces = tuple(Piece(piece.piece, piece.score, piece.type) for piece in model.pieces)
    except (DecodeError, UnicodeDecodeError) as error:
        raise GroundupError(f"{path} is no SentencePiece model ({error}); get the file again") from None
    if not pieces:
        raise GroundupError(f"{path} is no SentencePiece model: it has no pieces; get the file again")
    if not any(piece.kind == UNKNOWN for piece in pieces):
        raise GroundupError(f"{path} names no unknown piece, so SentencePiece itself cannot use it; get the file again")
    if model.denormalizer.precompiled_charsmap:
        raise GroundupError(
            f"{path} changes text again when it decodes (denormalizer_spec), which no tokenizer.json can"
        )
    trainer, normalizer = model.trainer, model.normalizer
    ids = {role: getattr(trainer, f"{role}_id") for role in ("bos", "eos", "pad")}
    return SentencePieceFile(
        algorithm=_ALGORITHMS.get(trainer.model_type, str(trainer.model_type)),
        pieces=pieces,
        byte_fallback=trainer.byte_fallback,
        whitespace_as_suffix=trainer.treat_whitespace_as_suffix,
        add_dummy_prefix=normalizer.add_dummy_prefix,
        remove_extra_whitespaces=normalizer.remove_extra_whitespaces,
        escape_whitespaces=normalizer.escape_whitespaces,
        normalizer_name=normalizer.name,
        charsmap=normalizer.precompiled_charsmap,
        roles={role: id for role, id in ids.items() if 0 <= id < len(pieces) and pieces[id].kind == CONTROL},
    )


def without_symbols(data: bytes, symbols: Collection[str]) -> bytes:
    """The file with these user-defined pieces as control pieces, which are never found in a text; the rest as it was."""
    if not symbols:
        return data
    model = _message("Model")()
    model.ParseFromString(data)
    for piece in model.pieces:
        if piece.piece in symbols:
            piece.type = CONTROL
    return model.SerializeToString()


@cache
def _message(name: str) -> Any:
    """The protobuf class of one message of the schema above."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise missing_extra("protobuf", "sentencepiece", "reading a SentencePiece model") from None
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="groundup/sentencepiece.proto", package="groundup", syntax="proto2")
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            entry = described.field.add(name=field, number=number, label=field_type.LABEL_OPTIONAL)
            if kind.startswith("*"):
                entry.label, kind = field_type.LABEL_REPEATED, kind[1:]
            if kind.startswith("."):
                entry.type, entry.type_name = field_type.TYPE_MESSAGE, f".groundup{kind}"
            else:
                entry.type = getattr(field_type, f"TYPE_{kind.upper()}")
            if f"{message}.{field}" in _DEFAULTS:
                entry.default_value = _DEFAULTS[f"{message}.{field}"]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"groundup.{name}"))
