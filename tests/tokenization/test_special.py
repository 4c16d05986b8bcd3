"""Names of special tokens: each once, roles that share a string share an id."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.tokenization import SpecialTokens
from groundup.tokenization.special import BERT_TOKENS, WORD_TOKENS


def test_names_are_listed_once_in_order():
    names = SpecialTokens().names()
    assert names[:3] == ["<|endoftext|>", "<|pad|>", "<|unk|>"]
    assert len(names) == len(set(names)) == 9


def test_a_bos_of_its_own_gets_its_own_place():
    assert SpecialTokens(bos="<s>", eos="</s>").names()[:3] == ["</s>", "<s>", "<|pad|>"]


def test_more_names_come_last_and_bert_roles_are_written_for_readers():
    tokens = WORD_TOKENS.extended(["[MASK]", "[SEP]", "[CLS]", "<note>"])
    assert tokens.names() == ["[EOS]", "[BOS]", "[PAD]", "[UNK]", "[MASK]", "[SEP]", "[CLS]", "<note>"]
    config = tokens.config()
    assert (config["mask_token"], config["sep_token"], config["cls_token"]) == ("[MASK]", "[SEP]", "[CLS]")
    assert config["additional_special_tokens"] == ["<note>"]
    assert "mask_token" not in WORD_TOKENS.config()
    assert BERT_TOKENS.config()["mask_token"] == "[MASK]"
    assert (BERT_TOKENS.config()["bos_token"], BERT_TOKENS.config()["cls_token"]) == ("[CLS]", "[CLS]")


@pytest.mark.parametrize("name", ["", "MASK", "[]", "[two words]", " [MASK]", "a"])
def test_a_name_that_text_could_spell_is_refused(name):
    with pytest.raises(GroundupError, match="must be one word in brackets"):
        SpecialTokens().extended([name])


def test_a_name_given_twice_is_refused():
    with pytest.raises(GroundupError, match=r"'<\|pad\|>' is there already; these are: <\|endoftext\|>"):
        SpecialTokens().extended(["<|pad|>"])
    with pytest.raises(GroundupError, match=r"'\[A\]' is there already"):
        SpecialTokens().extended(["[A]", "[A]"])
