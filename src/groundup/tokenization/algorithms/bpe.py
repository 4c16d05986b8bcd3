"""Byte pairs: begin with the 256 bytes and merge the most frequent pair again and again.

Gage 1994; for language, Sennrich et al. 2016, arXiv:1508.07909; on bytes, so that nothing is unknown, Radford et al. 2019,
section 2.2. A named pattern splits the text into words that no merge crosses (`patterns.py`). Of equally frequent pairs, the one
whose parts have the lower ids is merged first. `tokenizers` is the reference; `fast_training.py` does the same faster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from groundup.core.errors import GroundupError
from groundup.tokenization.algorithms._text import LONGEST_WORD, CountedTexts, Request
from groundup.tokenization.fast import merge_pairs
from groundup.tokenization.fast_training import Merges, learn_merges
from groundup.tokenization.patterns import PATTERNS, Pattern
from groundup.tokenization.special import SPECIAL_TOKENS

# A pair seen once says nothing about other text.
OPTIONS = {"pattern": "qwen2", "min_frequency": 2}
SPECIAL = SPECIAL_TOKENS
MOST_BYTES = 300_000_000
_BYTE_LEVEL: dict[str, Any] = {"add_prefix_space": False, "use_regex": False}
# Without a pattern each merge goes through most of the text: about a second and ten times the text's memory a megabyte.
MOST_UNSPLIT_CHARACTERS = 4_000_000


def train(texts: CountedTexts, request: Request) -> tokenizers.Tokenizer:
    """The 256 bytes and as many merges as asked for. Raises `GroundupError` when the text has fewer."""
    if request.n_learned < 256:
        n_special = len(request.special.names())
        raise GroundupError(
            f"vocab_size {request.vocab_size} is too small: 256 bytes and {n_special} special tokens need {256 + n_special}"
        )
    pattern = PATTERNS[request.pattern]
    splitter = _splitter(pattern)
    parts = (
        _unsplit(texts)
        if pattern.name == "none"
        else texts.parts(pattern.may_cut, lambda part: [word for word, _ in splitter.pre_tokenize_str(part)])
    )
    merges, library = learn_merges(
        parts, pattern, request.n_learned - 256, request.min_frequency, reference=reference_merges
    )
    texts.check_not_empty()
    if library != "tokenizers":
        request.reporter.say(f"merges      by {library}, equal to those of tokenizers on the first part of this text")
    n_made = 256 + len(merges)
    if n_made < request.n_learned and request.exact:
        raise texts.too_small(request, n_made + len(request.special.names()))
    if texts.n_left_out and pattern.name == "none":
        request.reporter.warn(
            f"without a pattern, pairs are learned from the first {MOST_UNSPLIT_CHARACTERS:,} characters; "
            f"{texts.n_left_out:,} more were left out"
        )
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter, pre_tokenizers.ByteLevel(**_BYTE_LEVEL)])
    tokenizer.decoder = decoders.ByteLevel(**_BYTE_LEVEL)
    return tokenizer


def reference_merges(parts: Iterable[str], pattern: Pattern, n_merges: int, min_frequency: int) -> Merges:
    """The merges as the `tokenizers` library learns them: what every faster way must equal."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_splitter(pattern), pre_tokenizers.ByteLevel(**_BYTE_LEVEL)])
    trainer = trainers.BpeTrainer(
        vocab_size=256 + n_merges,
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(parts, trainer)
    return merge_pairs(json.loads(tokenizer.to_str())["model"])


def _splitter(pattern: Pattern) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(pattern.regex), behavior="isolated")


def _unsplit(texts: CountedTexts) -> Iterator[str]:
    """Texts without words, in pieces as long as a word may be, up to the length that merging without words can bear."""
    left = MOST_UNSPLIT_CHARACTERS
    for text in texts:
        taken = text[:left]
        left -= len(taken)
        texts.n_left_out += len(text) - len(taken)
        for start in range(0, len(taken), LONGEST_WORD):
            yield taken[start : start + LONGEST_WORD]
