"""Every token's place is the part of the text it stands for, for every kind."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers

from groundup.tokenization import Tokenizer
from groundup.tokenization.spans import spans

any_text = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=150, deadline=None)
@given(text=any_text)
def test_places_cover_the_text_in_order(tokenizer, text):
    found = spans(tokenizer, text)
    assert [span.id for span in found] == tokenizer.encode(text)
    assert b"".join(span.spelled for span in found) == text.encode()
    covered = {i for span in found for i in range(span.start, span.end)}
    assert covered == set(range(len(text)))
    assert all(span.spelled in text[span.start : span.end].encode() for span in found)
    assert [span.start for span in found] == sorted(span.start for span in found)


def test_parts_of_a_character_share_its_place(tokenizer):
    found = spans(tokenizer, "a👍b")
    parts = [span for span in found if (span.start, span.end) == (1, 2)]
    assert b"".join(part.spelled for part in parts) == "👍".encode()
    assert len(parts) == 4


def test_wordpiece_places_are_those_of_the_text_before_it_was_changed():
    library = tokenizers.Tokenizer(
        models.WordPiece({"[UNK]": 0, "gr": 1, "##usse": 2, "un": 3, "##do": 4}, unk_token="[UNK]")
    )
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.add_special_tokens(["[UNK]"])
    tokenizer = Tokenizer(library.to_str(), {"unk_token": "[UNK]"})
    text = "Undo  Grüsse 東"
    assert [(span.token, text[span.start : span.end], span.spelled) for span in spans(tokenizer, text)] == [
        ("un", "Un", b"Un"),
        ("##do", "do", b"do"),
        ("gr", "Gr", b"Gr"),
        ("##usse", "üsse", "üsse".encode()),
        ("[UNK]", "東", "東".encode()),
    ]


def test_the_space_put_before_a_text_has_no_place():
    model = {"type": "BPE", "vocab": {"▁": 0, "a": 1, "▁a": 2, "b": 3}, "merges": [["▁", "a"]]}
    description = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": model,
    }
    tokenizer = Tokenizer(json.dumps(description), {})
    assert [(span.token, span.start, span.end) for span in spans(tokenizer, "b a")] == [
        ("▁", 0, 0),
        ("b", 0, 1),
        ("▁a", 1, 3),
    ]
    assert [(span.token, span.start, span.end) for span in spans(tokenizer, "a")] == [("▁a", 0, 1)]


@pytest.mark.parametrize("text", ["", "x"])
def test_short_texts(tokenizer, text):
    assert [(span.start, span.end) for span in spans(tokenizer, text)] == [(0, 1)] * len(text)
