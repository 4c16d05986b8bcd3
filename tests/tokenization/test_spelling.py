"""Bytes of ids by kind, as the decoder of the file says."""

from __future__ import annotations

import pytest

from groundup.tokenization.spelling import estimated_bytes, find_spelling

MARK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
VOCABULARY = {"▁a": 0, "<0xE4>": 1, "Ġb": 2, "<s>": 3}


def spelled(decoder, model=None):
    description = {"model": model or {"type": "BPE", "vocab": {}, "merges": ["x y"]}, "decoder": decoder}
    return find_spelling(description, VOCABULARY, {"<s>": 3})


@pytest.mark.parametrize(
    ("decoder", "table", "drops_space"),
    [
        ({"type": "ByteLevel"}, ["▁a".encode(), b"<0xE4>", b" b", b"<s>"], False),
        (
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
            [b" a", b"<0xE4>", "Ġb".encode(), b"<s>"],
            True,
        ),
        (
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"},
            [b" a", b"<0xE4>", "Ġb".encode(), b"<s>"],
            False,
        ),
        (
            {"type": "Sequence", "decoders": [MARK, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP]},
            [b" a", b"\xe4", "Ġb".encode(), b"<s>"],
            True,
        ),
        (
            {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
            ["▁a".encode(), b"\xe4", "Ġb".encode(), b"<s>"],
            False,
        ),
        ({"type": "Sequence", "decoders": [MARK, {"type": "Fuse"}]}, [b" a", b"<0xE4>", "Ġb".encode(), b"<s>"], False),
    ],
)
def test_the_decoder_says_what_a_token_spells(decoder, table, drops_space):
    found = spelled(decoder)
    assert (found.table, found.drops_space) == (table, drops_space)


@pytest.mark.parametrize(
    "decoder", [None, {"type": "WordPiece"}, {"type": "BPEDecoder"}, {"type": "Sequence", "decoders": []}]
)
def test_other_decoders_spell_no_bytes(decoder):
    assert spelled(decoder) is None


def test_characters_spell_themselves():
    found = spelled(None, {"type": "BPE", "vocab": {}, "merges": []})
    assert found.table == ["▁a".encode(), b"\xe4", "Ġb".encode(), b"<s>"]


def test_estimates_count_the_space_before_a_word():
    assert [estimated_bytes(token) for token in ("word", "##ing", ".", "für", "##", "7")] == [5, 3, 1, 5, 2, 2]
    assert estimated_bytes("word", "") == 5
