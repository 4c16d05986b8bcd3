"""The training text itself, for what learns from text and not from ids: a tokenizer.

One idea: a tokenizer trained on the validation text has seen it, and its bits per byte flatter. So this gives the
texts of the training side only, decided by the same survey that `prepare` makes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from groundup.core.progress import QUIET, Reporter
from groundup.data.reading import Reading
from groundup.data.sources import Paths
from groundup.data.split import TRAIN, sided_pieces, survey, utf8_bytes

_TELL_EVERY = 1 << 18  # bytes


def corpus_text(
    paths: Paths,
    *,
    max_bytes: int | None = None,
    seed: int = 0,
    validation_fraction: float | None = None,
    reading: Reading | None = None,
    remarks: Counter[str] | None = None,
    reporter: Reporter = QUIET,
) -> Iterator[str]:
    """Stream the training text under `paths`: whole documents, long ones in pieces.

    The settings must be those given to `prepare`, so that both see the same split.
    With `max_bytes`, an even sample of about that many bytes from all over the corpus. `remarks` hears what was left out,
    `reporter` how far counting is, and then how far whoever takes the texts is.
    Raises `GroundupError` at once for paths that cannot be read.
    """
    reading = reading or Reading()
    sources = reading.sources(paths, remarks)
    with reporter.bar("counting", sum(source.n_bytes for source in sources)) as bar:
        found = survey(sources, reading, fraction=validation_fraction, seed=seed, remarks=remarks, advance=bar.advance)

    def texts() -> Iterator[str]:
        share = 1.0 if max_bytes is None else max_bytes / found.n_bytes
        chance, left, untold = random.Random(seed), max_bytes, 0
        with reporter.bar("learning", found.n_bytes) as bar:
            for side, text, _ in sided_pieces(sources, reading, found):
                n_bytes = utf8_bytes(text)
                untold += n_bytes
                if untold >= _TELL_EVERY:
                    bar.advance(untold)
                    untold = 0
                if side == TRAIN and (share >= 1 or chance.random() < share):
                    yield text
                    if left is not None:
                        left -= n_bytes
                        if left <= 0:
                            return

    return texts()
