"""Conversations as a model learns them: every token, whether it is learned, and what the template put there.

The one idea: most that goes wrong in instruction tuning shows in the mask. An answer without its end, a question that is
learned, a template's marker that is plain text: all are seen at a glance when the learned tokens are coloured.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from groundup.chat.errors import CannotRender
from groundup.chat.renderer import Rendered, Renderer
from groundup.core.errors import GroundupError
from groundup.data.examples import learnable
from groundup.data.lengths import summarize_lengths
from groundup.data.reading_records import read_records
from groundup.data.records import Conversation, place_of
from groundup.data.remarks import count_first
from groundup.inspect.data import histogram_html, histogram_terminal
from groundup.inspect.page import escape, page, printable, table
from groundup.inspect.terminal import terminal_table
from groundup.inspect.tokens import piece_of
from groundup.inspect.windows import running_text

_CONTEXTS = tuple(1 << power for power in range(7, 18))
_CONTEXT_HEADER = ("context length", "whole", "cut after an answer", "left out")
_OPENS, _CLOSES = "⟦", "⟧"
_STYLES = """
.talk { font-size: .88rem; line-height: 2; overflow-wrap: anywhere; } .talk .piece { background: #8881; }
.talk .learned { background: #009e7355; } .talk .structure { outline: 1.5px solid #cc79a7; outline-offset: -1px; }
"""


@dataclass(frozen=True)
class SeenConversation:
    """One conversation to show: where it is from, and its renderings, or why there are none."""

    place: str
    renderings: tuple[Rendered, ...]
    refused: str = ""


@dataclass(frozen=True)
class ConversationFile:
    """A file of conversations as a training would read it; lengths count the tokens up to the last answer, int64 each."""

    path: str
    template: str
    end_of_turn: str
    n_conversations: int
    n_trained: int
    lengths: np.ndarray
    first_answers: np.ndarray  # where the first answer of each example ends
    rejected: dict[str, int]
    seen: tuple[SeenConversation, ...]
    context_length: int | None


def look_at_conversations(
    path: str | Path, renderer: Renderer, *, first: int = 0, count: int = 1, context_length: int | None = None
) -> ConversationFile:
    """Read all conversations of a file, and keep `count` of them from number `first` (from 0) on to be shown.

    Raises `GroundupError` when the file holds none, or none of these numbers, or the template cannot be trained with.
    """
    renderer.check()
    if first < 0 or count < 1:
        raise GroundupError(f"--window {first} --count {count}: conversations are numbered from 0 on")
    records = read_records([path], "conversation")
    lengths, first_answers, rejected, seen = array("q"), array("q"), Counter[str](), []
    n_trained = number = 0
    for number, conversation in enumerate(records, 1):
        assert isinstance(conversation, Conversation)
        found: list[Rendered] = []
        refused = ""
        try:
            found = learnable(conversation, renderer)
        except CannotRender as error:
            refused = str(error)
            count_first(rejected, error.what, place_of(conversation))
        for rendering in found:
            end = rendering.answers[-1].end
            lengths.append(end)
            first_answers.append(rendering.answers[0].end)
            n_trained += sum(rendering.trained[1:end])
        if first < number <= first + count:
            seen.append(SeenConversation(place_of(conversation), tuple(found), refused))
    if first >= number:
        raise GroundupError(f"--window {first:,}: {path} has the conversations 0 to {number - 1:,}")
    rejected.update(
        {what.removeprefix("rows rejected: "): n for what, n in records.remarks.items() if "rejected" in what}
    )
    return ConversationFile(
        path=str(path),
        template=renderer.template.name,
        end_of_turn=renderer.end_of_turn,
        n_conversations=number + records.n_rejected,
        n_trained=n_trained,
        lengths=np.array(lengths, np.int64),
        first_answers=np.array(first_answers, np.int64),
        rejected=dict(rejected),
        seen=tuple(seen),
        context_length=context_length,
    )


def chat_terminal(file: ConversationFile, renderer: Renderer) -> RenderableType:
    """Counts, lengths, what each context would cut, and the chosen conversations with what is learned on green."""
    parts: list[RenderableType] = [*_said(file), ""]
    if len(file.lengths):
        parts += [histogram_terminal(summarize_lengths(file.lengths), file.context_length, "examples"), ""]
        parts += [terminal_table(_CONTEXT_HEADER, _cuts(file), numbers=(0, 1, 2, 3)), ""]
    legend = Text.assemble(
        (f"{_OPENS}learned{_CLOSES}", "black on green"), " with its end of turn; ", ("special tokens", "bold magenta")
    )
    parts += [Text.assemble(legend, " are the template's; the rest is read only")]
    for seen in file.seen:
        for number, rendering in enumerate(seen.renderings, 1):
            parts += ["", Text(_title(seen, number, rendering)), "", _coloured(rendering, renderer)]
        if seen.refused:
            parts += ["", Text(f"{seen.place}: not learned: {seen.refused}")]
    return Group(*parts)


def chat_html(file: ConversationFile, renderer: Renderer) -> str:
    """The same as a page; hovering over a token tells its id, its spelling and whether it is learned."""
    body = f"<style>{_STYLES}</style><h1>What is learned of conversations</h1>"
    body += "".join(f"<p>{escape(line)}</p>" for line in _said(file))
    if len(file.lengths):
        body += "<h2>Lengths</h2>" + histogram_html(summarize_lengths(file.lengths), file.context_length, "examples")
        body += table(_cuts(file), _CONTEXT_HEADER)
    body += (
        "<h2>Token by token</h2><p class='soft talk'><span class='piece learned'>learned</span> with its end of turn; "
        "<span class='piece structure'>special tokens</span> are the template's; the rest is read only.</p>"
    )
    for seen in file.seen:
        for number, rendering in enumerate(seen.renderings, 1):
            body += f"<h3>{escape(_title(seen, number, rendering))}</h3>{_html(rendering, renderer)}"
        if seen.refused:
            body += f"<h3>{escape(seen.place)}</h3><p>Not learned: {escape(seen.refused)}</p>"
    return page("What is learned of conversations", body)


def _said(file: ConversationFile) -> list[str]:
    n, n_tokens = len(file.lengths), int(file.lengths.sum())
    lines = [
        f"{file.path}: {_count(file.n_conversations, 'conversation')}, {_count(n, 'example')}, {_count(n_tokens, 'token')}, "
        f"{file.n_trained:,} of them learned ({file.n_trained / max(1, n_tokens):.1%})",
        f"template {file.template}; an answer ends with {file.end_of_turn}, which is learned",
    ]
    return lines + [
        f"not learned: {count:,} x {what}" for what, count in sorted(file.rejected.items(), key=lambda e: -e[1])
    ]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _cuts(file: ConversationFile) -> list[tuple[str, str, str, str]]:
    """What rows of each length would hold, up to the first that holds all; the length asked for is among them."""
    longest = int(file.lengths.max()) - 1
    shortest = next((n for n in reversed(_CONTEXTS) if n < file.lengths.min()), 0)
    all_fit = next((n for n in _CONTEXTS if n >= longest), longest)
    contexts = {n for n in (*_CONTEXTS, all_fit) if shortest < n <= all_fit}
    lines = []
    for context in sorted(contexts | ({file.context_length} if file.context_length else set())):
        n_whole, n_lost = int((file.lengths <= context + 1).sum()), int((file.first_answers > context + 1).sum())
        lines.append((f"{context:,}", f"{n_whole:,}", f"{len(file.lengths) - n_whole - n_lost:,}", f"{n_lost:,}"))
    return lines


def _title(seen: SeenConversation, number: int, rendering: Rendered) -> str:
    part = f", part {number} of {len(seen.renderings)}" if len(seen.renderings) > 1 else ""
    return f"{seen.place}{part}: {_count(len(rendering.ids), 'token')}, {sum(rendering.trained):,} learned"


def _coloured(rendering: Rendered, renderer: Renderer) -> Text:
    """The text; learned runs stand in brackets too, for where no colours are."""
    line, before = Text(), False
    for id, text, trained in _pieces(rendering, renderer):
        if trained != before:
            line.append(_OPENS if trained else _CLOSES, style="black on green")
        before = trained
        style = "black on green" if trained else ""
        if id in renderer.structure_ids:
            style = "bold magenta on green" if trained else "bold magenta"
        line.append(printable(text).replace("↵", "↵\n"), style=style)
    return line.append(_CLOSES if before else "", style="black on green")


def _html(rendering: Rendered, renderer: Renderer) -> str:
    spans = []
    for id, text, trained in _pieces(rendering, renderer):
        kind = "piece" + " learned" * trained + " structure" * (id in renderer.structure_ids)
        tip = f"id {id}, {piece_of(renderer.tokenizer, id)!r}, {'learned' if trained else 'read only'}"
        shown = escape(printable(text)).replace("↵", "↵\n")
        spans.append(f'<span class="{kind}" title="{escape(tip)}">{shown}</span>')
    return f'<div class="pieces talk">{"".join(spans)}</div>'


def _pieces(rendering: Rendered, renderer: Renderer) -> list[tuple[int, str, bool]]:
    """(id, its text in place, whether it is learned); special tokens by their names."""
    names = {id: renderer.tokenizer.token_of(id) for id in renderer.structure_ids}
    texts = running_text(renderer.tokenizer, rendering.ids)
    found = zip(rendering.ids, texts, rendering.trained, strict=True)
    return [(id, names.get(id, text), trained) for id, text, trained in found]
