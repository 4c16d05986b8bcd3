"""Splitting at the names of special tokens gives the ids of the `tokenizers` library; cuts are kept."""

from __future__ import annotations

import itertools
import random

import pytest
import tokenizers as library
from tests.chat.conftest import with_tokens

from groundup.chat.structure import StructureEncoder
from groundup.tokenization import Tokenizer

FLAGS = [
    dict(zip(("lstrip", "rstrip", "single_word"), flags, strict=True))
    for flags in itertools.product([False, True], repeat=3)
]
WORDS = ["<|end|>", "<|im_end|>", "<|e", " ", "\n", "\t ", "a", "The cat", "é", ".", "<|end|><|end|>", "\u3000"]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_ids_are_the_library_s(flags: dict[str, bool], plain: Tokenizer) -> None:
    tokenizer = with_tokens(plain, ("<|end|>",), flags=flags)
    theirs = library.Tokenizer.from_str(tokenizer.to_json())
    encoder = StructureEncoder(tokenizer)
    draw = random.Random(1)
    for _ in range(300):
        text = "".join(draw.choices(WORDS, k=draw.randint(0, 7)))
        assert encoder.encode(text)[0] == theirs.encode(text, add_special_tokens=False).ids, repr(text)


PREFIXES = {
    "always": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    "first": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
    "never": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True},
    "bytes": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True, "trim_offsets": True},
    "normalizer": None,
}


@pytest.mark.parametrize("kind", PREFIXES)
def test_a_space_before_a_text_comes_where_the_library_puts_it(kind: str) -> None:
    letters = ["▁", "Ġ", *"abc.\n "]
    made = library.Tokenizer(
        library.models.BPE({letter: n for n, letter in enumerate(["<unk>", *letters])}, [], unk_token="<unk>")
    )
    if kind == "normalizer":
        made.normalizer = library.normalizers.Sequence(
            [library.normalizers.Prepend("▁"), library.normalizers.Replace(" ", "▁")]
        )
    elif kind == "bytes":
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        made.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme=kind)
    made.add_special_tokens(["<s>"])
    encoder = StructureEncoder(Tokenizer(made.to_str(), {}))
    for text in ("ab", "<s>ab", "ab<s>ab c", "<s> ab<s>", " ab<s>\nab"):
        assert encoder.encode(text)[0] == made.encode(text, add_special_tokens=False).ids, text
        # A cut adds no space of its own.
        for cut in range(len(text) + 1):
            ids, (before,) = encoder.encode(text, [cut])
            if "<s>" not in text:
                assert len(ids) == len(made.encode(text, add_special_tokens=False).ids)
                assert before == len(encoder.encode(text[:cut])[0])


def test_cuts_say_how_many_ids_come_before(plain: Tokenizer) -> None:
    tokenizer = with_tokens(plain, ("<|end|>",), flags={"lstrip": True, "rstrip": True})
    encoder = StructureEncoder(tokenizer)
    text = "The cat sat. <|end|> \n And then<|im_end|>\n\n"
    for cuts in itertools.combinations(range(len(text) + 1), 2):
        if any(begin < cut < end for cut in cuts for begin, end in ((13, 20), (31, 41))):
            continue  # inside a token's name
        ids, before = encoder.encode(text, cuts)
        assert before == sorted(before) and len(before) == 2
        # What stands before a cut has the ids it has alone.
        for cut, n in zip(cuts, before, strict=True):
            assert encoder.encode(text[:cut], [each for each in cuts if each < cut])[0] == ids[:n], (cuts, cut)
