"""A tokenizer from text on disk: the training documents of a corpus, never its validation documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.data.corpus import corpus_text
from groundup.data.reading import Reading
from groundup.data.remarks import counted
from groundup.tokenization import training
from groundup.tokenization.tokenizer import Tokenizer, check_place


def train_tokenizer(
    text: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    algorithm: str = "bpe",
    vocab_size: int = 8192,
    pattern: str | None = None,
    byte_fallback: bool | None = None,
    lowercase: bool | None = None,
    min_frequency: int | None = None,
    special: Sequence[str] = (),
    exact: bool = True,
    text_field: str | None = None,
    separator: str | None = None,
    format: str | None = None,
    map: Mapping[str, str] | None = None,
    encoding: str | None = None,
    on_bad_row: Literal["stop", "skip"] = "stop",
    validation_fraction: float | None = None,
    seed: int = 0,
    max_bytes: int | None = None,
    reporter: Reporter = QUIET,
) -> Tokenizer:
    """Train a tokenizer on the training documents of `text` (files and folders) and save it to `out`, if given.

    The split is that of `prepare` with the same `validation_fraction` and `seed`, so nothing of the validation
    text shapes the vocabulary. Of more than `max_bytes` of text (the algorithm's own measure if left out: 300 MB, 20 MB
    for `unigram`, 4 MB without a pattern) an even sample is read; `Reading` tells how files are read. The other settings
    are those of `tokenization.train_tokenizer`, which says which algorithm has which. Raises `GroundupError` when the
    text cannot be read or is too small for `vocab_size`, and on a setting that the algorithm does not have.
    """
    if out is not None:
        check_place(out)
    if max_bytes is not None and max_bytes < 1:
        raise GroundupError(
            f"max_bytes {max_bytes}: there is nothing to learn from no text; give a number of bytes, as 50M"
        )
    remarks: Counter[str] = Counter()
    texts = corpus_text(
        text,
        max_bytes=max_bytes or training.most_bytes(algorithm, pattern),
        seed=seed,
        validation_fraction=validation_fraction,
        reading=Reading(text_field, separator, format, map or {}, encoding, on_bad_row),
        remarks=remarks,
        reporter=reporter,
    )
    for what, count in sorted(remarks.items()):
        reporter.warn(counted(count, what))
    tokenizer = training.train_tokenizer(
        texts,
        algorithm=algorithm,
        vocab_size=vocab_size,
        pattern=pattern,
        byte_fallback=byte_fallback,
        lowercase=lowercase,
        min_frequency=min_frequency,
        special=special,
        exact=exact,
        reporter=reporter,
    )
    if out is not None:
        tokenizer.save(out)
    return tokenizer
