"""One class for every tokenizer: round trips, cuts, streams, roles, files and their errors."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from groundup.core.errors import GroundupError
from groundup.tokenization import Tokenizer, train_tokenizer

odd_text = st.lists(
    st.one_of(
        st.sampled_from(
            [" ", "\n", "\r\n", "\t", "word", "  ", "'s", ".", "…", "7", "中", "、", "\x1c", "\u0085", "e\u0301"]
        ),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
).map("".join)


# ---- cuts


@settings(max_examples=300, deadline=None)
@given(text=odd_text, near=st.integers(0, 60))
def test_safe_cut_leaves_the_ids_as_they_are(bpe, text, near):
    cut = bpe.safe_cut(text, near)
    assert 0 <= cut <= min(near, len(text))
    assert bpe.encode(text[:cut]) + bpe.encode(text[cut:]) == bpe.encode(text)


def test_safe_cut_finds_the_nearest_place(bpe, char):
    text = "some words here"
    assert [bpe.safe_cut(text, near) for near in (3, 4, 9, 10, 12, 15, 99)] == [0, 4, 4, 10, 10, 15, 15]
    assert char.safe_cut(text, 3) == 3
    assert bpe.safe_cut("x" * 1000, 500) == 0
    assert bpe.safe_cut(text, -1) == 0


def test_a_long_text_is_encoded_in_slices_with_equal_ids(bpe, english):
    text = "\n".join(english)
    parts = list(bpe.slices(text, 1000))
    assert len(parts) > 50
    assert max(map(len, parts)) < 1100
    assert [id for part in parts for id in bpe.encode(part)] == bpe.encode(text)


def test_nothing_is_promised_for_an_unknown_pattern(bpe):
    description = json.loads(bpe._json)
    description["pre_tokenizer"] = {"type": "Whitespace"}
    other = Tokenizer(json.dumps(description), {})
    assert (other.safe_cut("two words", 5), other.safe_cut("two words", 9), other.pattern) == (0, 9, None)
    assert not other.is_fast
    assert other.encode("two words") == other.encode("two") + other.encode("words")


# ---- many texts, threads


@pytest.mark.parametrize("n_threads", [1, 2, 3, None])
def test_encode_many_gives_every_text_in_order(tokenizer, english, n_threads):
    texts = ["", "a", *english, "\n", *english[::-1]]
    found = list(tokenizer.encode_many(iter(texts), n_threads))
    assert [ids.dtype for ids in found] == [np.dtype(np.uint32)] * len(texts)
    assert [ids.tolist() for ids in found] == [tokenizer.encode(text) for text in texts]


def test_encode_many_reads_only_a_little_ahead(tokenizer):
    n_read = 0

    def texts():
        nonlocal n_read
        for n_read in itertools.count(1):  # noqa: B007
            yield "word " * 100_000

    found = tokenizer.encode_many(texts(), n_threads=2)
    for _ in range(3):
        next(found)
    assert n_read <= 30
    found.close()


def test_encode_many_passes_an_error_on(tokenizer):
    with pytest.raises(GroundupError, match="character 1 of the text is half a surrogate pair"):
        list(tokenizer.encode_many(["fine", "x\ud800"], n_threads=2))


def test_half_a_surrogate_pair_is_refused(tokenizer):
    for encode in (tokenizer.encode, tokenizer.encode_array, lambda text: tokenizer.encode(text, allow_special=True)):
        with pytest.raises(GroundupError, match="character 2 of the text is half a surrogate pair"):
            encode("ab\udfff")


def test_short_and_long_texts_take_different_paths_to_the_same_ids(english):
    fresh = train_tokenizer(english, vocab_size=600)
    text = english[0][:3000]
    before = fresh.encode(text)
    assert "_fast" not in fresh.__dict__
    assert fresh.is_fast
    assert fresh.encode(text) == before


# ---- decoding and streams


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_stream_gives_what_decode_gives(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    stream = tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids)


def test_a_stream_never_breaks_a_character(tokenizer):
    text = "a👩‍👩‍👧‍👦é東b"
    stream = tokenizer.stream()
    given_out = [stream.push(id) for id in tokenizer.encode(text)]
    assert "\ufffd" not in "".join(given_out)
    assert "".join(given_out) == text
    assert "" in given_out  # some id was only part of a character
    assert stream.flush() == ""


def test_an_incomplete_character_shows_at_the_end(tokenizer):
    ids = tokenizer.encode("ok👍")[:-1]
    stream = tokenizer.stream()
    assert "".join(map(stream.push, ids)) == "ok"
    assert stream.flush() == "\ufffd"
    assert tokenizer.decode(ids) == "ok\ufffd"


def test_special_tokens_are_shown_or_skipped(tokenizer):
    ids = [*tokenizer.encode("a"), tokenizer.eos_id, *tokenizer.encode("b")]
    assert tokenizer.decode(ids) == "a<|endoftext|>b"
    assert tokenizer.decode(ids, skip_special=True) == "ab"
    stream = tokenizer.stream(skip_special=True)
    assert "".join(map(stream.push, ids)) + stream.flush() == "ab"


def test_ids_of_arrays_decode_and_strange_ids_are_refused(tokenizer):
    assert tokenizer.decode(tokenizer.encode_array("naïve")) == "naïve"
    for id in (-1, tokenizer.vocab_size):
        with pytest.raises(GroundupError, match=f"id {id} is not of this tokenizer, whose ids are 0 to"):
            tokenizer.decode([0, id])
        with pytest.raises(GroundupError, match=f"id {id} is not"):
            tokenizer.stream().push(id)


# ---- bytes


@settings(max_examples=200, deadline=None)
@given(text=odd_text)
def test_token_bytes_add_up_to_the_text(tokenizer, text):
    assert tokenizer.token_bytes()[tokenizer.encode_array(text)].sum() == len(text.encode())


def test_token_bytes_are_zero_for_special_tokens_only(tokenizer):
    n_bytes = tokenizer.token_bytes()
    assert n_bytes.dtype == np.int32
    assert n_bytes.shape == (tokenizer.vocab_size,)
    assert set(np.flatnonzero(n_bytes == 0)) == tokenizer.special_ids


def test_pieces_show_text_and_stray_bytes(tokenizer):
    text = "if é\n"
    pieces = tokenizer.pieces(text)
    assert [id for id, _, _ in pieces] == tokenizer.encode(text)
    assert b"".join(piece for _, _, piece in pieces) == text.encode()
    assert [shown for _, shown, _ in pieces][-3:] == ["\\xc3", "\\xa9", "\n"]


# ---- roles


def test_roles_and_special_ids_are_the_last_ids(tokenizer):
    assert (tokenizer.eos_id, tokenizer.bos_id) == (tokenizer.vocab_size - 9,) * 2
    assert (tokenizer.pad_id, tokenizer.unk_id) == (tokenizer.vocab_size - 8, tokenizer.vocab_size - 7)
    assert tokenizer.special_ids == set(range(tokenizer.vocab_size - 9, tokenizer.vocab_size))
    assert tokenizer.id_of("<|im_start|>") == tokenizer.vocab_size - 6
    assert tokenizer.id_of("<|nobody|>") is None


def test_roles_come_from_the_config_and_else_from_our_names(bpe):
    said = Tokenizer(bpe._json, {"eos_token": {"content": "<|im_end|>"}, "bos_token": None})
    assert (said.eos_id, said.bos_id, said.pad_id) == (bpe.id_of("<|im_end|>"), None, bpe.pad_id)


def test_special_names_in_text_are_text_unless_asked(tokenizer):
    text = "<|im_start|>user <|endoftext|>"
    assert not set(tokenizer.encode(text)) & tokenizer.special_ids
    assert tokenizer.decode(tokenizer.encode(text)) == text
    asked = tokenizer.encode(text, allow_special=True)
    assert (asked[0], asked[-1]) == (tokenizer.id_of("<|im_start|>"), tokenizer.eos_id)
    assert asked[1:-1] == tokenizer.encode("user ")


def test_bracketed_names_a_family_left_unmarked_are_text_too(bpe):
    description = json.loads(bpe._json)
    unmarked = dict(description["added_tokens"][-1], id=bpe.vocab_size, content="<think>", special=False)
    description["added_tokens"].append(unmarked)
    tokenizer = Tokenizer(json.dumps(description), {})
    assert bpe.vocab_size not in tokenizer.encode("<think>")
    assert tokenizer.encode("<think>", allow_special=True) == [bpe.vocab_size]
    assert tokenizer.decode([bpe.vocab_size], skip_special=True) == "<think>"
    assert tokenizer.token_bytes()[-1] == len("<think>")
    assert tokenizer.is_fast


def test_added_words_are_part_of_the_vocabulary(bpe):
    description = json.loads(bpe._json)
    word = dict(description["added_tokens"][-1], id=bpe.vocab_size, content="of the", special=False)
    description["added_tokens"].append(word)
    tokenizer = Tokenizer(json.dumps(description), {})
    assert bpe.vocab_size in tokenizer.encode("out of the box")
    assert tokenizer.is_fast
    assert tokenizer.encode("out of the box") == tokenizer._slow("out of the box").tolist()
    assert tokenizer.safe_cut("out of the box", 6) == 0


# ---- files


def test_save_and_load_change_nothing(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "deep" / "tok")
    for path in (tmp_path / "deep" / "tok", tmp_path / "deep" / "tok" / "tokenizer.json"):
        again = Tokenizer.load(path)
        assert again.sha256 == tokenizer.sha256
        assert (again.vocab_size, again.eos_id, again.algorithm) == (
            tokenizer.vocab_size,
            tokenizer.eos_id,
            tokenizer.algorithm,
        )
        assert again.encode("Ünïcode, 12") == tokenizer.encode("Ünïcode, 12")
    again.save(tmp_path / "twice")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "deep" / "tok" / name).read_bytes()


def test_sha256_sees_content_and_not_form(bpe):
    description = json.loads(bpe._json)
    assert Tokenizer(json.dumps(description), {}).sha256 == bpe.sha256
    spelled = json.loads(bpe._json)
    spelled["model"]["merges"] = [" ".join(pair) for pair in spelled["model"]["merges"]]
    assert Tokenizer(json.dumps(spelled), {}).sha256 == bpe.sha256
    description["normalizer"] = {"type": "Lowercase"}
    assert Tokenizer(json.dumps(description), {}).sha256 != bpe.sha256


def test_a_truncation_left_in_the_file_does_not_cut_texts(bpe):
    description = json.loads(bpe._json)
    description["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    description["padding"] = None
    tokenizer = Tokenizer(json.dumps(description), {})
    assert tokenizer.encode("many words in here") == bpe.encode("many words in here")
    assert tokenizer.encode("many words in here", allow_special=True) == bpe.encode("many words in here")


def test_a_chat_template_beside_the_tokenizer_is_kept(bpe, tmp_path):
    bpe.save(tmp_path / "one")
    (tmp_path / "one" / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    Tokenizer.load(tmp_path / "one").save(tmp_path / "two")
    assert Tokenizer.load(tmp_path / "two").config["chat_template"] == "{{ messages }}"


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(GroundupError, match=r"no tokenizer at .*tokenizer\.json is missing.*groundup tokenizer train"):
        Tokenizer.load(tmp_path)
    with pytest.raises(GroundupError, match="is missing"):
        Tokenizer.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"model": ', "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[]", "has no `model`"),
        (b'{"version": "1.0"}', "has no `model`"),
        (b'{"model": {"type": "BPE"}}', "cannot be used as a tokenizer"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}', "cannot be used as a tokenizer"),
        (b'{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "?"}}', "cannot be used as a tokenizer"),
    ],
)
def test_a_broken_tokenizer_is_named(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(GroundupError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert "tokenizer.json" in str(caught.value)


def test_a_broken_config_is_named(bpe, tmp_path):
    bpe.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(GroundupError, match=r"tokenizer_config\.json is not valid JSON"):
        Tokenizer.load(tmp_path)


# ---- other people's algorithms


def test_wordpiece_is_read_through_the_library(tmp_path):
    vocabulary = ["[UNK]", "un", "##break", "##able", "word", "."]
    library = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    ids = tokenizer.encode("unbreakable word.")
    assert (tokenizer.algorithm, ids, tokenizer.is_fast) == ("wordpiece", [1, 2, 3, 4, 5], False)
    assert tokenizer.encode_array("word " * 10_000).tolist() == [4] * 10_000
    stream = tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids) == "unbreakable word."
    # An estimate: the letters, and a space before what begins a word.
    assert tokenizer.token_bytes().tolist() == [5, 3, 5, 4, 5, 1]
    assert [piece for _, piece, _ in tokenizer.pieces("unbreakable")] == ["un", "##break", "##able"]
