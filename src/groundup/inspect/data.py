"""Prepared data before a training: how long its documents are, what reading it cuts, and rows as the model sees them.

The one idea: look at the very rows a training would read, of the classes it reads them by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType

from groundup.data.cuts import said_cuts
from groundup.data.lengths import LengthSummary, document_lengths, summarize_lengths
from groundup.data.packing import Rows
from groundup.inspect.page import Raw, escape, page, table
from groundup.inspect.terminal import terminal_table
from groundup.inspect.windows import row_html, windows_terminal
from groundup.tokenization.tokenizer import Tokenizer

_BAR = 24  # characters of the longest bar


@dataclass(frozen=True)
class ShownSource:
    """A text to show: its name (empty where it is the only one), its share of a mixture, and its rows."""

    name: str
    share: float
    rows: Rows


def data_terminal(
    sources: Sequence[ShownSource], chosen: Sequence[tuple[int, int]], tokenizer: Tokenizer, n_exercises: int = 16
) -> RenderableType:
    """Lengths and cuts of every source, then the `chosen` (source, row) one after the other."""
    parts: list[RenderableType] = []
    for source in sources:
        lengths = summarize_lengths(document_lengths(source.rows.split))
        named = f"{source.name}: " if source.name else ""
        histogram = histogram_terminal(lengths, source.rows.context_length)
        parts += [named + _said_lengths(source, lengths), "", histogram, ""]
        parts += [f"reading: {said_cuts(source.rows)}", ""]
    if len(sources) > 1:
        names = " ".join(sources[source].name for source, _ in chosen)
        parts += [f"the next rows of a training are of: {names}", ""]
    for source, index in chosen:
        rows, name = sources[source].rows, sources[source].name
        parts += [windows_terminal(rows, tokenizer, index, n_exercises, name), ""]
    return Group(*parts[:-1])


def data_html(
    sources: Sequence[ShownSource], chosen: Sequence[tuple[int, int]], tokenizer: Tokenizer, n_exercises: int = 64
) -> str:
    """The same as a page."""
    body = "<h1>What a training reads</h1>"
    for source in sources:
        lengths = summarize_lengths(document_lengths(source.rows.split))
        body += f"<h2>{escape(source.name or 'Documents')}</h2><p>{escape(_said_lengths(source, lengths))}.</p>"
        body += histogram_html(lengths, source.rows.context_length)
        body += f"<p>{escape(said_cuts(source.rows))}.</p>"
    body += "<h2>Rows</h2>"
    for source, index in chosen:
        body += row_html(sources[source].rows, tokenizer, index, n_exercises, sources[source].name)
    return page("What a training reads", body)


def _said_lengths(source: ShownSource, lengths: LengthSummary) -> str:
    share = f"{source.share:.1%} of the rows: " if source.name else ""
    if lengths.n_documents == 1:
        return f"{share}1 document of {lengths.n_tokens:,} tokens"
    return (
        f"{share}{lengths.n_documents:,} documents, {lengths.n_tokens:,} tokens; a document has {lengths.shortest:,} to "
        f"{lengths.longest:,}, half of them at most {lengths.median:,}, on average {lengths.mean:,.0f}"
    )


def _bins(lengths: LengthSummary, context_length: int | None) -> list[tuple[str, str, float, str]]:
    """(tokens, how many have so many, share of the longest bar, remark) of each line of the histogram."""
    most = max((n for *_, n in lengths.histogram), default=1)
    found = []
    for low, high, n in lengths.histogram:
        remark = ""
        if context_length is not None:
            remark = "longer than a row" if low > context_length else ""
            if low <= context_length <= high:
                remark = f"a row holds {context_length:,}"
        found.append((f"{low:,} to {high:,}" if high > low else f"{low:,}", f"{n:,}", n / most, remark))
    return found


def histogram_terminal(
    lengths: LengthSummary, context_length: int | None = None, what: str = "documents"
) -> RenderableType:
    """How many of `what` have how many tokens, a bar for each power of two; a row's length remarked."""
    lines = [
        (tokens, count, "█" * round(_BAR * share) or ("▏" if share else ""), remark)
        for tokens, count, share, remark in _bins(lengths, context_length)
    ]
    return terminal_table(("tokens", what, "", ""), lines, numbers=(0, 1))


def histogram_html(lengths: LengthSummary, context_length: int | None = None, what: str = "documents") -> str:
    """The same as a part of a page."""
    lines = [
        (tokens, count, _html_bar(share), remark) for tokens, count, share, remark in _bins(lengths, context_length)
    ]
    return table(lines, ("tokens", what, "", ""))


def _html_bar(share: float) -> Raw:
    colours = f"#0072b240 {share:.1%}, #0000 {share:.1%}"
    return Raw(f'<div class="bar" style="background: linear-gradient(90deg, {colours})">&nbsp;</div>')
