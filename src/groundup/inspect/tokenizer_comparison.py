"""Tokenizers side by side on the same texts: which one fits, what each costs, what each loses.

The one idea: the same texts, cut by each, in bytes per token; a text a label, so that languages and domains can be
told apart. The figures are those of `tokenization/measures.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType

from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.data.reading import read_documents
from groundup.inspect.page import Raw, escape, page, table
from groundup.inspect.plots import bar_chart
from groundup.inspect.terminal import terminal_table, visible
from groundup.tokenization.measures import Fit, fit, total
from groundup.tokenization.tokenizer import Tokenizer

MOST_BYTES = 2_000_000
# Texts that a picture has room for; rows of a table on the terminal, and letters of a label there.
_MOST_DRAWN, _MOST_LISTED, _WIDEST = 24, 10, 40

Tokenizers = Sequence[str | Path] | Mapping[str, Tokenizer]
Texts = Sequence[str | Path] | Mapping[str, str | Path]


@dataclass(frozen=True)
class Comparison:
    """`fits[tokenizer][label]` and `totals[tokenizer]`; `labels` and `names` in the order they were given."""

    names: list[str]
    labels: list[str]
    fits: dict[str, dict[str, Fit]]
    totals: dict[str, Fit]
    kinds: dict[str, str]


def compare_tokenizers(
    tokenizers: Tokenizers, texts: Texts, *, max_bytes: int = MOST_BYTES, reporter: Reporter = QUIET
) -> Comparison:
    """Cut `texts` with each of `tokenizers` and count.

    Tokenizers are names as `open_tokenizer` takes them, or a dict of them by name. Texts are files and folders, or a
    dict of them by label (a language, a domain); a file of a folder is labelled with its own name. Of each text the
    first `max_bytes` are read. Raises `GroundupError` when something cannot be read.
    """
    opened = _opened(tokenizers, reporter)
    sources = {label: Path(path) for label, path in (texts if isinstance(texts, Mapping) else labelled(texts)).items()}
    fits: dict[str, dict[str, Fit]] = {name: {} for name in opened}
    for tokenizer in opened.values():
        tokenizer.prepare()
    used = {name: np.zeros(tokenizer.vocab_size, dtype=bool) for name, tokenizer in opened.items()}
    empty: list[str] = []
    with reporter.bar("comparing", len(sources) * len(opened)) as bar:
        for label, path in sources.items():
            documents = list(_beginning(path, max_bytes))
            if not documents:
                empty.append(label)
            for name, tokenizer in opened.items():
                if documents:
                    fits[name][label] = fit(tokenizer, documents, used[name])
                bar.advance(info=f"{label}, {name}")
    if empty:
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        reporter.warn(f"left out, as they hold no text: {', '.join(empty[:5])}{more}")
    labels = list(next(iter(fits.values())))
    if not labels:
        raise GroundupError("there is no text in what was given to compare tokenizers on")
    totals = {name: total(fits[name].values(), int(used[name].sum())) for name in opened}
    kinds = {name: tokenizer.algorithm for name, tokenizer in opened.items()}
    return Comparison(list(opened), labels, fits, totals, kinds)


def labelled(texts: Sequence[str | Path]) -> dict[str, Path]:
    """Texts by label: `LABEL=PATH` says its own, other files are labelled with their names, all of them alike.

    That is the name without its ending; where two would be the same, the path from the folder that holds them all.
    Raises `GroundupError` when two labels that were given are the same.
    """
    found: dict[str, Path] = {}
    unnamed: list[Path] = []
    for text in map(str, texts):
        label, equals, rest = text.partition("=")
        path = Path(text)
        if equals and not path.exists():
            if label in found:
                raise GroundupError(
                    f"two texts are labelled {label!r}: {found[label]} and {rest}; give each its own label"
                )
            found[label] = Path(rest)
        elif path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
            if not files:
                raise GroundupError(f"{path} is an empty folder; give files or folders of text")
            unnamed += files
        else:
            unnamed.append(path)
    unnamed = list(dict.fromkeys(unnamed))
    names = [path.name.split(".")[0] for path in unnamed]
    if len({*found, *names}) < len(found) + len(names):
        together = os.path.commonpath([path.absolute().parent for path in unnamed])
        names = [os.path.relpath(path.absolute(), together) for path in unnamed]
        if taken := next((name for name in names if name in found), None):
            raise GroundupError(f"two texts are labelled {taken!r}; give {found[taken]} another label")
    if not unnamed and not found:
        raise GroundupError("no text was given to compare tokenizers on")
    return found | dict(zip(names, unnamed, strict=True))


def comparison_terminal(found: Comparison) -> RenderableType:
    """A table of totals, and bytes per token and tokens per word of each text."""
    columns = range(1, len(found.names) + 1)
    turned = [(name, *cells) for name, *cells in zip(_TOTALS_HEADER, *_totals_rows(found), strict=True)]
    parts: list[RenderableType] = [terminal_table(turned[0], turned[1:], columns)]
    if len(found.labels) > 1:
        labels = _finest_cut(found, _MOST_LISTED)
        if len(labels) < len(found.labels):
            which = f"the {len(labels)} of {len(found.labels):,} texts that {found.names[0]} cuts into most tokens"
            parts += ["", f"{which}; all stand on the page (--html FILE)"]
        header = ("text", *found.names)
        parts += ["", "bytes per token", terminal_table(header, _label_rows(found, labels, "bytes_per_token"), columns)]
        parts += ["", "tokens per word", terminal_table(header, _label_rows(found, labels, "tokens_per_word"), columns)]
    for name in found.names:
        if lost := found.totals[name].lost:
            parts += [
                "",
                f"{name} does not give every text back: {visible(lost[0])!r} comes back as {visible(lost[1])!r}",
            ]
    return Group(*parts)


def comparison_html(found: Comparison) -> str:
    """The same as a page, with a picture and every text."""
    labels = _finest_cut(found, _MOST_DRAWN)
    bars = {name: [found.fits[name][label].bytes_per_token for label in labels] for name in found.names}
    some = "" if len(labels) == len(found.labels) else f", the {len(labels)} texts that {found.names[0]} cuts finest"
    lost = [(name, visible(one.lost[0]), visible(one.lost[1])) for name, one in found.totals.items() if one.lost]
    body = (
        f"<h1>Tokenizers compared</h1><p class='soft'>{len(found.labels):,} texts, "
        f"{readable_bytes(found.totals[found.names[0]].n_bytes)}. More bytes per token is a shorter sequence for the same text; "
        "tokens per word means little where words are not set apart by spaces. Speed is of one thread on this machine.</p>"
        f"{table(_totals_rows(found), _TOTALS_HEADER)}"
        f"<h2>Bytes per token</h2><figure><figcaption>Bytes per token{escape(some)}</figcaption>"
        f"{bar_chart(labels, bars, 'bytes per token')}</figure>"
        f"<h2>Each text</h2>{_each_text(found)}"
    )
    if lost:
        body += f"<h2>What does not come back</h2>{table(lost, ('tokenizer', 'text', 'decoded'))}"
    return page("Tokenizers compared", body)


def _each_text(found: Comparison) -> str:
    """A table a measure, a column a tokenizer: all measures side by side would be wider than a page."""
    sizes = [f"{found.fits[found.names[0]][label].n_bytes:,}" for label in found.labels]
    header = ("text", "bytes", *(_breakable(name) for name in found.names))
    parts = []
    for what, measure, form in (
        ("Bytes per token", "bytes_per_token", ".2f"),
        ("Tokens per word", "tokens_per_word", ".2f"),
        ("Unknown", "unknown_share", ".2%"),
    ):
        rows = [
            (
                _breakable(label),
                size,
                *(format(getattr(found.fits[name][label], measure), form) for name in found.names),
            )
            for label, size in zip(found.labels, sizes, strict=True)
        ]
        parts.append(f"<h3>{what}</h3>{table(rows, header)}")
    return "".join(parts)


def _breakable(name: str) -> Raw:
    """A name that may go on in the next line after each of its parts, and so takes a narrow column."""
    return Raw(re.sub(r"([-_./])", r"\1<wbr>", escape(name)))


_TOTALS_HEADER = (
    *("tokenizer", "kind", "entries", "tokens", "bytes per token", "tokens per word"),
    *("entries used", "unknown", "texts given back", "MB/s"),
)


def _totals_rows(found: Comparison) -> list[tuple[object, ...]]:
    return [
        (
            name,
            found.kinds[name],
            f"{one.vocab_size:,}",
            f"{one.n_tokens:,}",
            f"{one.bytes_per_token:.2f}",
            f"{one.tokens_per_word:.2f}",
            f"{one.vocabulary_share:.1%}",
            f"{one.unknown_share:.2%}",
            f"{one.lossless_share:.0%}",
            f"{one.bytes_per_second / 1e6:.1f}",
        )
        for name, one in found.totals.items()
    ]


def _label_rows(found: Comparison, labels: list[str], measure: str) -> list[tuple[object, ...]]:
    short = [label if len(label) <= _WIDEST else "…" + label[1 - _WIDEST :] for label in labels]
    return [
        (name, *(f"{getattr(found.fits[tokenizer][label], measure):.2f}" for tokenizer in found.names))
        for name, label in zip(short, labels, strict=True)
    ]


def _finest_cut(found: Comparison, most: int) -> list[str]:
    """All labels when there are no more than `most`, else those of the texts that the first tokenizer cuts finest."""
    if len(found.labels) <= most:
        return found.labels
    first = found.fits[found.names[0]]
    return sorted(found.labels, key=lambda label: first[label].bytes_per_token)[:most]


def _opened(tokenizers: Tokenizers, reporter: Reporter) -> dict[str, Tokenizer]:
    if isinstance(tokenizers, Mapping):
        opened = dict(tokenizers)
    else:
        opened = {}
        for name in tokenizers:
            short = Path(name).name or str(name)
            opened[str(name) if short in opened else short] = open_tokenizer(name, reporter=reporter)
    if not opened:
        raise GroundupError("no tokenizer was given to compare")
    return opened


def _beginning(path: Path, max_bytes: int) -> Iterator[str]:
    """The documents of a file or folder, up to about `max_bytes`."""
    left = max_bytes
    if path.is_file() and path.stat().st_size == 0:
        return
    for document in read_documents([path]):
        text = document.text.encode("utf-8")[:left].decode("utf-8", errors="ignore")
        left -= len(text.encode("utf-8"))
        if text:
            yield text
        if left < 4:  # the longest character
            return
