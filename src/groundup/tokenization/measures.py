"""How well a tokenizer fits a text, in figures that can be compared between tokenizers.

Bytes per token do not depend on what a vocabulary calls a token or on the writing system's idea of a character. Fertility,
tokens per word, is what the literature on many languages reports (Rust et al. 2021, arXiv:2012.15613, section 3.2); a
word is here what stands between white space, so it means little for scripts written without spaces. The text that comes back
from the ids tells what a tokenizer loses.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from groundup.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Fit:
    """What one tokenizer made of one text. `lost` is a place where the text did not come back: (text, decoded)."""

    n_bytes: int
    n_characters: int
    n_words: int
    n_tokens: int
    n_unknown: int
    n_ids_used: int
    vocab_size: int
    n_documents: int
    n_lossless: int
    seconds: float
    lost: tuple[str, str] | None = None

    @property
    def bytes_per_token(self) -> float:
        return self.n_bytes / max(self.n_tokens, 1)

    @property
    def tokens_per_word(self) -> float:
        return self.n_tokens / max(self.n_words, 1)

    @property
    def unknown_share(self) -> float:
        return self.n_unknown / max(self.n_tokens, 1)

    @property
    def vocabulary_share(self) -> float:
        return self.n_ids_used / self.vocab_size

    @property
    def lossless_share(self) -> float:
        return self.n_lossless / max(self.n_documents, 1)

    @property
    def bytes_per_second(self) -> float:
        return self.n_bytes / max(self.seconds, 1e-9)


def fit(tokenizer: Tokenizer, texts: Iterable[str], used: np.ndarray | None = None) -> Fit:
    """Encode and decode every text; only encoding is timed, on one thread (`tokenizer.prepare()` first, to be fair).

    `used` (bool [vocab_size]) gathers the ids that came up, for several calls together.
    """
    here = np.zeros(tokenizer.vocab_size, dtype=bool)
    n_bytes = n_characters = n_words = n_tokens = n_unknown = n_lossless = n_documents = 0
    seconds, lost = 0.0, None
    for text in texts:
        begun = time.perf_counter()
        ids = tokenizer.encode_array(text)
        seconds += time.perf_counter() - begun
        here[ids] = True
        n_documents += 1
        n_bytes += len(text.encode("utf-8"))
        n_characters += len(text)
        n_words += len(text.split())
        n_tokens += len(ids)
        n_unknown += int((ids == tokenizer.unk_id).sum()) if tokenizer.unk_id is not None else 0
        decoded = tokenizer.decode(ids)
        n_lossless += decoded == text
        if lost is None and decoded != text:
            lost = _first_difference(text, decoded)
    if used is not None:
        used |= here
    return Fit(
        n_bytes=n_bytes,
        n_characters=n_characters,
        n_words=n_words,
        n_tokens=n_tokens,
        n_unknown=n_unknown,
        n_ids_used=int(here.sum()),
        vocab_size=tokenizer.vocab_size,
        n_documents=n_documents,
        n_lossless=n_lossless,
        seconds=seconds,
        lost=lost,
    )


def total(fits: Iterable[Fit], n_ids_used: int) -> Fit:
    """Several texts as one; `n_ids_used` is counted over all of them."""
    fits = list(fits)
    sums = {
        name: sum(getattr(one, name) for one in fits)
        for name in Fit.__dataclass_fields__
        if name not in ("vocab_size", "n_ids_used", "lost")
    }
    lost = next((one.lost for one in fits if one.lost), None)
    return Fit(**sums, vocab_size=fits[0].vocab_size, n_ids_used=n_ids_used, lost=lost)


def _first_difference(text: str, decoded: str, around: int = 12) -> tuple[str, str]:
    place = next(
        (i for i, (a, b) in enumerate(zip(text, decoded, strict=False)) if a != b), min(len(text), len(decoded))
    )
    start = max(0, place - around)
    return text[start : place + around], decoded[start : place + around]
