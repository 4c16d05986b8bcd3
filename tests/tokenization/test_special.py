"""Names of special tokens: each once, roles that share a string share an id."""

from __future__ import annotations

from groundup.tokenization import SpecialTokens


def test_names_are_listed_once_in_order():
    names = SpecialTokens().names()
    assert names[:3] == ["<|endoftext|>", "<|pad|>", "<|unk|>"]
    assert len(names) == len(set(names)) == 9


def test_a_bos_of_its_own_gets_its_own_place():
    assert SpecialTokens(bos="<s>", eos="</s>").names()[:3] == ["</s>", "<s>", "<|pad|>"]
