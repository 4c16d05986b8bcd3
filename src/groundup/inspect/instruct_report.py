"""What an instruction tuning shows in its report: answers before and after, masks, the template, refused rows.

The one idea: as everything in a report, these are functions of files in the run folder (`answers.jsonl`, `instruct.json`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from groundup.core.files import read_json
from groundup.core.runs import RunFolder
from groundup.inspect.answers import figures_html, pairs_html
from groundup.inspect.page import escape, printable, table


def sections(run: RunFolder) -> list[tuple[str, Callable[[], str]]]:
    """(heading, what makes its HTML) of each section; those whose files are not there yet are empty."""
    about = run.path / "instruct.json"
    found: Mapping[str, Any] = read_json(about) if about.is_file() else {}
    return [
        ("Answers to held-out prompts", lambda: _answers(run)),
        ("What is learned of an example", lambda: "".join(_mask(one) for one in found.get("masks", ()))),
        ("Conversations", lambda: _conversations(found) if found else ""),
        ("Chat template", lambda: _template(found["template"]) if found else ""),
    ]


def _answers(run: RunFolder) -> str:
    rows, figures = run.path / "answers.jsonl", run.path / "answers.json"
    if not rows.is_file() or not figures.is_file():
        return ""
    lines = [json.loads(line) for line in rows.read_text(encoding="utf-8").split("\n")[:-1]]
    return figures_html(read_json(figures)) + pairs_html(lines, most=8)


def _mask(mask: Mapping[str, Any]) -> str:
    """An example, piece by piece; what is learned stands on a ground."""
    spans = []
    for piece, trained in zip(mask["pieces"], mask["trained"], strict=True):
        shown = escape(printable(piece)).replace("↵", "↵\n")
        style = ' style="background: #009e7350" title="learned"' if trained else ' title="read only"'
        spans.append(f'<span class="piece"{style}>{shown}</span>')
    more = f'<p class="soft">and {mask["n_more"]:,} tokens more</p>' if mask["n_more"] else ""
    return f'<div class="pieces" style="margin-bottom: 1.4rem">{"".join(spans)}</div>{more}'


def _conversations(found: Mapping[str, Any]) -> str:
    html = ""
    for side, lines in found["summary"].items():
        html += f"<h3>{escape(side)}</h3>" + "".join(f"<p>{escape(line)}</p>" for line in lines)
    unread = found["unread"]
    if unread["n"]:
        html += f"<h3>{unread['n']:,} rows that are no conversations</h3>{table(unread['first'], ('row', 'why'))}"
    return html


def _template(template: Mapping[str, str]) -> str:
    return f"<p>{escape(template['name'])}</p><details><summary>source</summary><pre>{escape(template['source'])}</pre></details>"
