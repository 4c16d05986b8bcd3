from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.tokenization.gguf_vocabulary import PRE_TOKENIZERS, gguf_from_tokenizer, tokenizer_from_gguf
from groundup.tokenization.imports.sentencepiece_file import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

TEXTS = ["The quick brown foxes' 12345 jumps;  over\n\nthe lazy dog, it's 9 o'clock. " * 20]
HARD = ("", " ", "  12 34 x's\n\n y", "<|endoftext|> é \u0301 \U0001f600", "IT'S\t\tOK\r\n ")
PATH = Path("model.gguf")
KEY = "tokenizer.ggml."


@pytest.mark.parametrize(("pattern", "name"), [("gpt2", "gpt-2"), ("llama3", "dbrx"), ("qwen2", "qwen2")])
def test_byte_pairs_go_and_come_back(pattern: str, name: str) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, pattern=pattern)
    fields = gguf_from_tokenizer(tokenizer, 310)
    assert fields[f"{KEY}pre"] == name
    assert len(fields[f"{KEY}tokens"]) == 310 and fields[f"{KEY}token_type"][300:] == [UNUSED] * 10
    assert {fields[f"{KEY}token_type"][id] for id in tokenizer.special_ids} == {CONTROL}
    back = tokenizer_from_gguf(fields, PATH)
    assert back.vocab_size == 300 and back.special_ids == tokenizer.special_ids
    assert (back.bos_id, back.eos_id, back.pad_id) == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    for text in HARD:
        assert back.encode(text) == tokenizer.encode(text)
        assert back.decode(back.encode(text)) == text
    assert gguf_from_tokenizer(back, 310) == fields


def test_digits_and_default_split_as_llama_cpp_does() -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, pattern="gpt2")
    fields = gguf_from_tokenizer(tokenizer, 300)
    words = {
        name: tokenizer_from_gguf(fields | {f"{KEY}pre": name}, PATH).words("a  12,3 ;-)") for name in PRE_TOKENIZERS
    }
    assert words["smollm"] == ["a", "ĠĠ", "1", "2", ",", "3", "Ġ;-)"]
    assert words["default"] == ["a", "Ġ", "Ġ", "12", ",", "3", "Ġ", ";-)"]
    assert words["gpt-2"] == ["a", "Ġ", "Ġ12", ",", "3", "Ġ;-)"]


@pytest.mark.parametrize("pattern", ["gpt4", "o200k", "none"])
def test_a_pattern_llama_cpp_does_not_have_is_refused(pattern: str) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, pattern=pattern)
    with pytest.raises(GroundupError, match=rf"pattern '{pattern}'.*gpt2, llama3, qwen2.*--pattern qwen2"):
        gguf_from_tokenizer(tokenizer, 300)


@pytest.mark.parametrize("algorithm", ["char", "word", "wordpiece", "unigram"])
def test_other_kinds_are_refused(algorithm: str) -> None:
    tokenizer = train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=400, exact=False)
    with pytest.raises(GroundupError, match=r"llama\.cpp, which reads GGUF files, has no exact counterpart"):
        gguf_from_tokenizer(tokenizer, tokenizer.vocab_size)


def sentencepiece_fields() -> dict:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    words = ["▁", "a", "b", "ab", "▁ab", "▁▁", "<mark>"]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *words, "[PAD]"]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * 6, USER_DEFINED, UNUSED]
    scores = [0.0] * 259 + [-9.0, -8.0, -7.0, -1.0, -2.0, -3.0, 0.0, 0.0]
    fields = {"model": "llama", "pre": "default", "tokens": tokens, "token_type": kinds, "scores": scores}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, "add_space_prefix": True}
    return {KEY + key: value for key, value in (fields | ids).items()} | {"tokenizer.chat_template": "{{ messages }}"}


def test_sentencepiece_byte_pairs_go_and_come_back(tmp_path: Path) -> None:
    fields = sentencepiece_fields()
    tokenizer = tokenizer_from_gguf(fields, PATH)
    assert [tokenizer.token_of(id) for id in tokenizer.encode("ab  b\n")] == ["▁ab", "▁▁", "b", "<0x0A>"]
    assert tokenizer.decode(tokenizer.encode("ab  é")) == "ab  é"
    assert tokenizer.vocab_size == 266, "the unused end of the vocabulary is left out"
    # llama.cpp puts <s> before texts of this kind unless told otherwise; the file written says so, and so do other tools.
    assert json.loads(tokenizer.to_json())["post_processor"]["special_tokens"]["<s>"]["ids"] == [1]
    written = gguf_from_tokenizer(tokenizer, 267)
    assert written[f"{KEY}add_bos_token"] is True and written["tokenizer.chat_template"] == "{{ messages }}"
    back = tokenizer_from_gguf(written, PATH)
    for text in ("", "ab ba  ab", "a  b   ab", "é ab", "<mark> <s>"):
        assert back.encode(text) == tokenizer.encode(text)
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("ab ab") == tokenizer.encode("ab ab")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({f"{KEY}model": "bert"}, "tokenizer of kind 'bert'"),
        ({f"{KEY}pre": "tekken"}, r"unknown pre-tokenizer .* 'tekken'"),
        ({f"{KEY}tokens": []}, "holds no tokenizer"),
        ({f"{KEY}token_type": [1, 1]}, "2 token types for 300 tokens"),
        ({f"{KEY}merges": ["zz qq"]}, "a merge names 'qq', which is no token"),
    ],
)
def test_what_cannot_be_read_is_named(change: dict, match: str) -> None:
    fields = gguf_from_tokenizer(train_tokenizer(TEXTS, vocab_size=300), 300)
    with pytest.raises(GroundupError, match=match):
        tokenizer_from_gguf(fields | change, PATH)
