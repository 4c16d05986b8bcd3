"""A tokenizer from text on disk: the training documents of a corpus, never its validation documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from groundup.core.progress import QUIET, Reporter
from groundup.data.corpus import corpus_text
from groundup.tokenization import training
from groundup.tokenization.tokenizer import Tokenizer

# A vocabulary changes little past this much text, while the table of distinct words goes on growing in memory.
MOST_BYTES = 300_000_000


def train_tokenizer(
    text: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    algorithm: str = "bpe",
    vocab_size: int = 8192,
    byte_fallback: bool = True,
    pattern: str = "qwen2",
    exact: bool = True,
    text_field: str | None = None,
    separator: str | None = None,
    format: str | None = None,
    map: Mapping[str, str] | None = None,
    encoding: str | None = None,
    on_bad_row: Literal["stop", "skip"] = "stop",
    validation_fraction: float | None = None,
    seed: int = 0,
    max_bytes: int | None = MOST_BYTES,
    reporter: Reporter = QUIET,
) -> Tokenizer:
    """Train a tokenizer on the training documents of `text` (files and folders) and save it to `out`, if given.

    The split is that of `prepare` with the same `validation_fraction` and `seed`, so nothing of the validation
    text shapes the vocabulary. Of more than `max_bytes` of text an even sample is read; `Reading`
    tells how files are. `exact=False` takes a smaller
    vocabulary where the text cannot fill `vocab_size`. Raises `GroundupError` when the text cannot be read or is too
    small for `vocab_size`.
    """
    remarks: Counter[str] = Counter()
    texts = corpus_text(
        text,
        max_bytes=max_bytes,
        seed=seed,
        text_field=text_field,
        separator=separator,
        format=format,
        map=map,
        encoding=encoding,
        on_bad_row=on_bad_row,
        validation_fraction=validation_fraction,
        remarks=remarks,
    )
    for what, count in sorted(remarks.items()):
        reporter.warn(f"{count:,} {what}")
    tokenizer = training.train_tokenizer(
        texts,
        algorithm=algorithm,
        vocab_size=vocab_size,
        byte_fallback=byte_fallback,
        pattern=pattern,
        exact=exact,
        reporter=reporter,
    )
    if out is not None:
        tokenizer.save(out)
    return tokenizer
