"""Imported SentencePiece models give SentencePiece's ids, here and in transformers, and give its text back."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.tokenization import Tokenizer
from groundup.tokenization.imports import import_tokenizer
from groundup.tokenization.imports.sentencepiece_file import NORMAL, UNUSED, Piece, SentencePieceFile
from groundup.tokenization.imports.sentencepiece_model import sentencepiece_description
from groundup.tokenization.sentencepiece_ids import same_score

CORNERS = [
    *(
        "",
        " ",
        "  ",
        "a",
        " a",
        "a ",
        "  a  b  ",
        "\n",
        "\t\n ",
        "▁",
        "▁a",
        " ▁ a▁ ",
        "foobar",
        "a foobarfoobar::b foobar",
    ),
    *(
        "\x00",
        "\x01",
        "\x01a",
        "\u200b",
        "a\u200b",
        "\ufeff",
        "cafe\u0301",
        "①\u0301",
        "か\u3099",
        "\ufffd",
        "ﬁ",
        "x" * 300,
    ),
    *(
        "日本語",
        "未知の文字",
        "👩‍👩‍👧‍👦🏽",
        "<0x41>",
        "<0x0A>",
        "<unk>",
        "<s>",
        "</s>",
        "<c>",
        "a</s>b",
        "1234 5",
        " " * 50 + "x",
        "- -",
    ),
]
fragments = st.sampled_from([*CORNERS, "the ", "function", "  ", "\n", ".", "日本語の", "é", "e\u0301", "::"])
# U+FFF0 to U+FFF2 are unassigned and serve as marks inside (charsmap.py).
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufff0\ufff1\ufff2")
any_text = st.lists(st.one_of(fragments, st.text(characters))).map("".join)


def assert_equal_ids(ours: Tokenizer, theirs, text: str) -> None:
    assert ours.encode(text) == theirs.encode(text)


def assert_as_likely(ours: Tokenizer, in_transformers, text: str) -> None:
    """Equal ids, or, for unigram, another way to cut the text that is equally likely up to rounding in 32 bits."""
    if any(ours.token_of(id) in text for id in ours.special_ids):
        return
    ids, found = ours.encode(text), in_transformers(text)["input_ids"]
    if ids != found and not (
        found == [] and not ours.decode(ids).strip()
    ):  # the corner that sentencepiece_model.py names
        assert ours.algorithm == "unigram", (text, ids, found)
        assert same_score(ours.description["model"], ids, found), (text, ids, found)


def test_corners_have_their_ids_and_come_back_as_theirs(imported, model_text):
    ours, theirs, in_transformers = imported
    for text in [*CORNERS, *model_text[:200], "\n".join(model_text[:50])]:
        assert_equal_ids(ours, theirs, text)
        ids = ours.encode(text)
        if ours.unk_id not in ids and text.strip("\x01\u200b") and "▁" not in text:
            assert ours.decode(ids).rstrip(" ") == theirs.decode(ids).rstrip(" ")
        assert_as_likely(ours, in_transformers, text)


@settings(max_examples=150, deadline=None)
@given(text=any_text)
def test_any_text_has_their_ids_and_never_becomes_special(imported, text):
    ours, theirs, in_transformers = imported
    assert_equal_ids(ours, theirs, text)
    ids = ours.encode(text)
    assert not set(ids) & (ours.special_ids - {ours.unk_id})
    assert_as_likely(ours, in_transformers, text)


def test_streams_give_what_decode_gives(imported, model_text):
    ours, _, _ = imported
    for text in model_text[:40]:
        ids = ours.encode(text)
        for continued in (False, True):
            stream = ours.stream(continued=continued)
            parts = [stream.push(id) for id in ids]
            assert "".join([*parts, stream.flush()]) == ours.decode(ids, continued=continued)
            assert not any("\ufffd" in part for part in parts)


def test_a_text_written_in_two_parts_keeps_the_space_between_them(models, tmp_path):
    """Peers decode each part by itself and lose the space that opens the second."""
    (tmp_path / "some.model").write_bytes(models["bpe as llama"])
    ours = import_tokenizer(tmp_path / "some.model")
    ids = ours.encode("the value of the name")
    for cut in range(1, len(ids)):
        assert ours.decode(ids[:cut]) + ours.decode(ids[cut:], continued=True) == "the value of the name"


def test_bytes_are_spelled_with_spaces_for_marks(models, tmp_path):
    (tmp_path / "some.model").write_bytes(models["bpe as llama"])
    ours = import_tokenizer(tmp_path / "some.model")
    for text in ("the  value", "naïve 👍🏽", "\n\n  x"):
        assert ours.token_bytes()[ours.encode(text)].sum() == len(text.encode()) + 1  # the space put before it
    assert ours.token_bytes()[sorted(ours.special_ids)].tolist() == [0, 0, 0]


@pytest.mark.parametrize("run", ["a", " ", "\n", "▁", "é", "ab", " a"])
def test_a_long_run_is_encoded_in_linear_time(models, tmp_path, run):
    import time

    for name in ("bpe as llama", "unigram with bytes"):
        (tmp_path / "some.model").write_bytes(models[name])
        ours = import_tokenizer(tmp_path / "some.model")
        seconds = []
        for n in (30_000, 120_000):
            begun = time.process_time()
            ours.encode_array(run * (n // len(run)))
            seconds.append(time.process_time() - begun)
        assert seconds[1] < 8 * seconds[0] + 0.2, seconds


# ---- made by hand


def file(normal: list[tuple[str, float]], algorithm: str = "bpe", **changes) -> SentencePieceFile:
    everything = [Piece("<unk>", 0.0, 2), *(Piece(text, score, NORMAL) for text, score in normal)]
    values = {
        "algorithm": algorithm,
        "pieces": tuple(everything),
        "byte_fallback": False,
        "whitespace_as_suffix": False,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "escape_whitespaces": True,
        "normalizer_name": "identity",
        "charsmap": b"",
        "roles": {},
    }
    return SentencePieceFile(**values | changes)


class Heard(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_runs_of_equal_score_grow_from_the_left():
    """Llama 2's runs of spaces all have the score -1e9."""
    runs = [("▁" * n, -1e9) for n in range(2, 8)]
    heard = Heard()
    description, config = sentencepiece_description(file([("▁", -1.0), *runs]), heard)
    ours = Tokenizer(json.dumps(description), config)
    for n in range(1, 40):
        lengths = [len(ours.token_of(id)) for id in ours.encode(" " * n)]
        assert lengths == [7] * (n // 7) + ([n % 7] if n % 7 else [])
    assert heard.warnings == []


def test_other_equal_scores_are_said():
    heard = Heard()
    sentencepiece_description(file([("a", -1.0), ("b", -1.0), ("ab", -5.0), ("ba", -5.0)]), heard)
    assert any("share their score" in warning for warning in heard.warnings)


def test_what_cannot_be_said_in_a_tokenizer_json_is_refused():
    one = [("a", -1.0)]
    unused = file(one)
    with pytest.raises(GroundupError, match=r"1 pieces of this model .* are marked as unused"):
        sentencepiece_description(file(one, pieces=(*unused.pieces, Piece("b", -2.0, UNUSED))))
    with pytest.raises(GroundupError, match="kind 'word' are not imported"):
        sentencepiece_description(file(one, algorithm="word"))
    with pytest.raises(GroundupError, match="escape_whitespaces is off"):
        sentencepiece_description(file(one, escape_whitespaces=False))


def test_merges_are_in_the_order_of_scores():
    description, _ = sentencepiece_description(
        file([("a", -1.0), ("b", -2.0), ("c", -3.0), ("bc", -4.0), ("abc", -5.0)])
    )
    assert description["model"]["merges"] == [["b", "c"], ["a", "bc"]]
    scores = {"bc": 4, "abc": 5}
    made = [scores["".join(merge)] for merge in description["model"]["merges"]]
    assert all(first <= second for first, second in pairwise(made))
