"""Learning a vocabulary from text.

`bpe` begins with the 256 bytes and merges the most frequent pair again and again (Gage 1994; for language, Sennrich et
al. 2016, arXiv:1508.07909; on bytes, Radford et al. 2019, section 2.2). `char` takes every character as a token and
spells those it has not seen by their bytes (byte fallback, as SentencePiece: Kudo and Richardson 2018,
arXiv:1808.06226). No text is normalised, so decoding gives back every byte. The special tokens take the last ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.patterns import PATTERNS, Pattern, slices
from groundup.tokenization.special import SPECIAL_TOKENS
from groundup.tokenization.tokenizer import Tokenizer

# The library holds many times a text's size while it splits it, so it is fed parts of about this many characters.
_PART = 1 << 16


class _Counted:
    """Texts as they pass by, counted and checked: a text that is no string or no text is refused in its place."""

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, str):
            raise GroundupError("texts is one string; give a list of texts, as in train_tokenizer([text])")
        self._texts = texts
        self.n_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for i, text in enumerate(self._texts):
            if not isinstance(text, str):
                raise GroundupError(f"text {i} is of type {type(text).__name__}; a tokenizer learns from strings")
            try:
                self.n_bytes += len(text.encode("utf-8"))
            except UnicodeEncodeError as error:
                raise GroundupError(f"text {i}: character {error.start} is half a surrogate pair, not text") from None
            yield text

    def check_not_empty(self) -> None:
        if self.n_bytes == 0:
            raise GroundupError("there is no text to learn a tokenizer from; give at least one text that is not empty")


@dataclass(frozen=True)
class _Request:
    """What was asked for, as an algorithm needs it; `n_learned` is the vocabulary without the special tokens."""

    n_learned: int
    pattern: Pattern
    byte_fallback: bool
    exact: bool
    reporter: Reporter


def train_tokenizer(
    texts: Iterable[str],
    *,
    algorithm: str = "bpe",
    vocab_size: int = 8192,
    byte_fallback: bool = True,
    pattern: str = "qwen2",
    exact: bool = True,
    reporter: Reporter = QUIET,
) -> Tokenizer:
    """Learn a tokenizer from `texts`, which are read once and not kept.

    `vocab_size` counts the special tokens. `bpe` makes exactly that many; for `char` it is a ceiling: the vocabulary
    is the characters of the text, the most frequent ones when there are more. Without `byte_fallback`, `char` reads a
    character it has not seen as `<|unk|>`, which loses it. `pattern` (`gpt2` or `qwen2`) splits words for `bpe`. With
    `exact=False` a text too small for `vocab_size` gives the vocabulary that it can fill.

    Raises `GroundupError` on an unknown algorithm or pattern, on empty text, and on a vocabulary larger than the text
    can fill or too small for what it must hold.
    """
    if algorithm not in ALGORITHMS:
        raise unknown_name("tokenizer algorithm", algorithm, ALGORITHMS)
    if pattern not in PATTERNS:
        raise unknown_name("pre-splitting pattern", pattern, PATTERNS)
    if algorithm == "bpe" and not byte_fallback:
        raise GroundupError("byte_fallback=False is for algorithm='char'; 'bpe' always begins with the 256 bytes")
    special = SPECIAL_TOKENS.names()
    text = _Counted(texts)
    tokenizer = ALGORITHMS[algorithm](
        text, _Request(vocab_size - len(special), PATTERNS[pattern], byte_fallback, exact, reporter)
    )
    tokenizer.add_special_tokens(special)
    trained = Tokenizer(tokenizer.to_str(pretty=True), _config())
    reporter.say(
        f"tokenizer: {algorithm}, {trained.vocab_size:,} tokens ({len(special)} special) "
        f"learned from {readable_bytes(text.n_bytes)} of text"
    )
    return trained


def _train_bpe(texts: _Counted, request: _Request) -> tokenizers.Tokenizer:
    n_special = len(SPECIAL_TOKENS.names())
    if request.n_learned < 256:
        raise GroundupError(
            f"vocab_size {request.n_learned + n_special} is too small: 256 bytes and {n_special} special tokens "
            f"need {256 + n_special}"
        )
    tokenizer = tokenizers.Tokenizer(models.BPE())
    byte_level: dict[str, Any] = {"add_prefix_space": False, "use_regex": False}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(request.pattern.regex), behavior="isolated"),
            pre_tokenizers.ByteLevel(**byte_level),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(**byte_level)
    trainer = trainers.BpeTrainer(
        vocab_size=request.n_learned,
        min_frequency=2,  # a pair seen once says nothing about other text
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    parts = (part for text in texts for part in slices(text, _PART, request.pattern.may_cut))
    tokenizer.train_from_iterator(parts, trainer)
    texts.check_not_empty()
    n_made = tokenizer.get_vocab_size()
    if n_made < request.n_learned and request.exact:
        raise GroundupError(
            f"vocab_size {request.n_learned + n_special} is too large for this text: only {n_made + n_special} tokens "
            f"could be made from {readable_bytes(texts.n_bytes)}; ask for that many or fewer, or give more text"
        )
    return tokenizer


def _train_char(texts: _Counted, request: _Request) -> tokenizers.Tokenizer:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    texts.check_not_empty()
    byte_names = [f"<0x{byte:02X}>" for byte in range(256)] if request.byte_fallback else []
    room = request.n_learned - len(byte_names)
    if room < 1:
        raise GroundupError(
            f"vocab_size {request.n_learned + len(SPECIAL_TOKENS.names())} leaves no room for characters beside "
            f"{len(byte_names)} bytes and {len(SPECIAL_TOKENS.names())} special tokens; ask for more"
        )
    kept = sorted(sorted(counts), key=counts.__getitem__, reverse=True)[:room]
    if len(kept) < len(counts):
        request.reporter.warn(
            f"{len(counts):,} different characters but room for {len(kept):,}; the rarest are "
            + ("spelled by their bytes" if request.byte_fallback else f"read as {SPECIAL_TOKENS.unk}")
        )
    # The library wants the name of the unknown token among the tokens, so the special ones are listed here too.
    tokens = [*byte_names, *sorted(kept), *SPECIAL_TOKENS.names()]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab={token: id for id, token in enumerate(tokens)},
            merges=[],
            byte_fallback=request.byte_fallback,
            unk_token=None if request.byte_fallback else SPECIAL_TOKENS.unk,
        )
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


ALGORITHMS: dict[str, Callable[[_Counted, _Request], tokenizers.Tokenizer]] = {"bpe": _train_bpe, "char": _train_char}


def _config() -> dict[str, Any]:
    """What `transformers` reads beside tokenizer.json to know the roles and to change nothing in the text."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS.bos,
        "eos_token": SPECIAL_TOKENS.eos,
        "pad_token": SPECIAL_TOKENS.pad,
        "unk_token": SPECIAL_TOKENS.unk,
        "additional_special_tokens": list(SPECIAL_TOKENS.chat),
        "clean_up_tokenization_spaces": False,
    }
