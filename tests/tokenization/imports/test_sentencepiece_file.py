"""The protocol buffer is read as SentencePiece reads it, and strange files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece

from groundup.core.errors import GroundupError
from groundup.tokenization.imports.sentencepiece_file import (
    BYTE,
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    looks_like_sentencepiece,
    read_sentencepiece,
)

HERE = Path("some.model")


def test_pieces_and_options_are_theirs(models):
    for name, data in models.items():
        read = read_sentencepiece(data, HERE)
        theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
        ids = range(theirs.get_piece_size())
        assert [piece.text for piece in read.pieces] == [theirs.id_to_piece(id) for id in ids]
        assert [piece.score for piece in read.pieces] == [theirs.get_score(id) for id in ids]
        assert read.ids(CONTROL) == [id for id in ids if theirs.is_control(id)]
        assert read.ids(UNKNOWN) == [id for id in ids if theirs.is_unknown(id)]
        assert read.ids(BYTE) == [id for id in ids if theirs.is_byte(id)]
        assert read.roles == {"bos": theirs.bos_id(), "eos": theirs.eos_id()}
        assert read.algorithm == ("unigram" if "unigram" in name else "bpe")
        assert read.byte_fallback == (len(read.ids(BYTE)) == 256)
        assert read.add_dummy_prefix == (name != "bpe without prefix")
        assert read.whitespace_as_suffix == (name == "unigram with suffix")
        assert bool(read.charsmap) == (read.normalizer_name != "identity")
        assert looks_like_sentencepiece(data)
    symbols = read_sentencepiece(models["bpe with symbols"], HERE)
    assert [symbols.pieces[id].text for id in symbols.ids(USER_DEFINED)] == ["foobar", "::", "[SEP]"]


@pytest.mark.parametrize(
    "data", [b"", b"plain text, no model", b"\x0a\x05\x0a\x03abc", b"\x0a\xff\xff\xff\xff\xff\xff"]
)
def test_what_is_no_model_is_refused(data):
    with pytest.raises(GroundupError, match=r"some\.model"):
        read_sentencepiece(data, HERE)
