"""Plain lists of tokens: case by what the list shows, said aloud; merges checked against the vocabulary."""

from __future__ import annotations

import json

import pytest
import transformers

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.imports import import_tokenizer

LOWER = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "##s",
    "un",
    "##break",
    "##able",
    "e",
    ".",
    ",",
    "[",
    "]",
]


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)

    warn = say


def vocab_file(folder, tokens):
    path = folder / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def test_case_is_taken_from_the_list_and_said(tmp_path):
    heard = Heard()
    lower = import_tokenizer(vocab_file(tmp_path, LOWER), reporter=heard)
    assert "read as uncased, because no token has a capital letter" in heard.lines[0]
    assert lower.encode("The CATS, UNBREAKABLÉ.") == [5, 6, 7, 13, *lower.encode("unbreakable.")]
    cased = import_tokenizer(vocab_file(tmp_path, [*LOWER, "The"]), reporter=heard)
    assert any("read as cased, because 1 tokens have capital letters" in line for line in heard.lines)
    assert cased.encode("The the THE") == [16, 5, 1]
    told = import_tokenizer(vocab_file(tmp_path, [*LOWER, "The"]), lowercase=True, reporter=heard)
    assert told.encode("The") == [5]
    assert any("can never come from lowercased text" in line for line in heard.lines)


def test_roles_and_names_in_text(tmp_path):
    ours = import_tokenizer(vocab_file(tmp_path, LOWER), out=tmp_path / "tok")
    assert (ours.bos_id, ours.eos_id, ours.pad_id, ours.unk_id) == (2, 3, 0, 1)
    assert ours.special_ids == {0, 1, 2, 3, 4}
    assert ours.encode("[SEP] [CLS] the") == [14, 1, 15, 14, 1, 15, 5]
    assert ours.encode("[SEP]", allow_special=True) == [3]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "tok")
    for text in ("the cats", "The CAT. unbreakable, é", "日本"):
        assert theirs(text)["input_ids"] == ours.encode(text)


def test_a_list_with_faults_is_refused(tmp_path):
    with pytest.raises(GroundupError, match="'cat' stands on two lines"):
        import_tokenizer(vocab_file(tmp_path, [*LOWER, "cat"]))


@pytest.fixture
def halves(tmp_path):
    """GPT-2's two files for a vocabulary of 256 bytes, three merges and a special token."""
    tokens = [*byte_alphabet(), "ab", "abc", "Ġa", "<|endoftext|>"]
    (tmp_path / "my_encoder.json").write_text(json.dumps({token: id for id, token in enumerate(tokens)}))
    (tmp_path / "my_vocab.bpe").write_text("#version: 0.2\na b\nab c\nĠ a\n")
    return tmp_path


def test_gpt2s_halves_find_each_other(halves):
    for half in ("my_encoder.json", "my_vocab.bpe"):
        ours = import_tokenizer(halves / half)
        assert ours.encode("abc a") == [257, 258]
        assert (ours.eos_id, ours.bos_id, ours.special_ids) == (259, 259, {259})
        assert ours.is_fast
    (halves / "my_vocab.bpe").rename(halves / "elsewhere")
    with pytest.raises(GroundupError, match=r"one half of a vocabulary; the other, .*my_vocab\.bpe, is missing"):
        import_tokenizer(halves / "my_encoder.json")
    assert import_tokenizer(halves / "my_encoder.json", merges=halves / "elsewhere").encode("abc") == [257]


def test_merges_of_another_vocabulary_are_refused(halves):
    (halves / "my_vocab.bpe").write_text("#version: 0.2\na b\nx yz\n")
    with pytest.raises(
        GroundupError, match=r"my_vocab\.bpe, line 3: 'x yz' is no merge of two tokens of the vocabulary"
    ):
        import_tokenizer(halves / "my_encoder.json")
