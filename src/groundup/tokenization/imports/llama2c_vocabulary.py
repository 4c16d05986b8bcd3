"""The vocabulary file of llama2.c (`tokenizer.bin`, `tok512.bin`): SentencePiece's byte pairs, without their settings.

Source: karpathy/llama2.c, tokenizer.py (`export`) and run.c (`build_tokenizer`, `encode`): the length of the longest
piece, then for each piece its score (float32), its length (int32) and its bytes. Pieces are printable: a space where
SentencePiece has its mark, and line ends around the names that begin and end a text. Whether spaces in runs are kept is one
of the settings that are not in the file; run.c keeps them.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.tokenization.imports.sentencepiece_file import BYTE, CONTROL, NORMAL, UNKNOWN, Piece, SentencePieceFile
from groundup.tokenization.imports.sentencepiece_model import sentencepiece_description
from groundup.tokenization.tokenizer import Tokenizer

# The first pieces of every such file: unknown, beginning, end, then the 256 bytes.
_ROLES = {"unk": 0, "bos": 1, "eos": 2}
_FIRST_BYTE, _FIRST_TEXT = 3, 259


def read_llama2c_vocabulary(path: Path) -> Tokenizer:
    """The tokenizer of such a file; raises GroundupError when it is none."""
    data = path.read_bytes()
    pieces, place = [], 4
    try:
        while place < len(data):
            score, length = struct.unpack_from("<fi", data, place)
            text = data[place + 8 : place + 8 + length].decode("utf-8")
            if length < 0 or place + 8 + length > len(data):
                raise ValueError(f"piece {len(pieces)} ends behind the file's end")
            pieces.append(Piece(_spelled(text, len(pieces)), score, _kind(len(pieces))))
            place += 8 + length
        if len(pieces) < _FIRST_TEXT or pieces[_FIRST_BYTE].text != "<0x00>":
            raise ValueError(f"its {len(pieces)} pieces do not begin with <unk>, <s>, </s> and the 256 bytes")
    except (struct.error, ValueError) as error:
        raise GroundupError(f"{path} is no vocabulary file of llama2.c ({error}); get it again") from None
    file = SentencePieceFile(
        algorithm="bpe",
        pieces=tuple(pieces),
        byte_fallback=True,
        whitespace_as_suffix=False,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        escape_whitespaces=True,
        normalizer_name="identity",
        charsmap=b"",
        roles=_ROLES,
    )
    description, config = sentencepiece_description(file)
    return Tokenizer(json.dumps(description, ensure_ascii=False, indent=1), config)


def _kind(id: int) -> int:
    return UNKNOWN if id == 0 else CONTROL if id < _FIRST_BYTE else BYTE if id < _FIRST_TEXT else NORMAL


def _spelled(text: str, id: int) -> str:
    """A piece as SentencePiece spells it."""
    return text.strip("\n") if id < _FIRST_BYTE else text.replace(" ", "▁")
