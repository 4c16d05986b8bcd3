"""Answers side by side, and what they came to: for the report of a run, and as a page of its own.

The one idea: rows of an `answers.jsonl` and the figures beside it are all that is needed, so any run's answers can be shown by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from groundup.inspect.page import escape, page, table

_MOST_SHOWN = 12
_FINISH = {"length": "cut off", "stopped": "ended by a stop string"}


def answers_html(rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], title: str) -> str:
    """A whole page."""
    body = f"<h1>{escape(title)}</h1>\n{figures_html(figures)}\n<h2>Answers</h2>\n{pairs_html(rows)}"
    return page(f"{title} · groundup", body)


def figures_html(found: Mapping[str, Any]) -> str:
    """The figures of each who answered, a column each; the judge's verdicts below."""
    by_name = found["figures"]
    lines = [("answers", *(f"{one['n_answers']:,}" for one in by_name.values()))]
    lines += [("ended by the model itself", *(f"{one['ended_share']:.1%}" for one in by_name.values()))]
    lines += [("words in an answer", *(f"{one['mean_words']:.1f}" for one in by_name.values()))]
    groups = (
        ("overlap", (("exact match", "exact_match"), ("F1 over words", "f1"), ("ROUGE-L", "rouge_l"))),
        (
            "followed",
            (
                ("prompts with all constraints followed, strict", "prompts_strict"),
                ("prompts with all constraints followed, loose", "prompts_loose"),
                ("constraints followed, strict", "constraints_strict"),
                ("constraints followed, loose", "constraints_loose"),
            ),
        ),
    )
    for group, names in groups:
        if all(one.get(group) for one in by_name.values()):
            lines += [(label, *(f"{one[group][key]:.1%}" for one in by_name.values())) for label, key in names]
    html = table(lines, ("", *by_name))
    if found.get("n_left_out"):
        html += f"<p>{found['n_left_out']:,} questions were too long for the context and are left out.</p>"
    return html + (_judge_html(found["judge"]) if found.get("judge") else "")


def pairs_html(rows: Sequence[Mapping[str, Any]], most: int = _MOST_SHOWN) -> str:
    """Prompts with the answers to them side by side; those past `most` are folded away."""
    html = "".join(_row(row) for row in rows[:most])
    if len(rows) > most:
        rest = "".join(_row(row) for row in rows[most:])
        html += f"<details><summary>{len(rows) - most:,} more</summary>{rest}</details>"
    return html


def _row(row: Mapping[str, Any]) -> str:
    said = [(name, answer["text"], _FINISH.get(answer["finish"], "")) for name, answer in row["answers"].items()]
    if row.get("reference") is not None:
        said.append(("reference", row["reference"], ""))
    prompt = "".join(
        f'<div class="text"><b>{escape(m["role"])}</b> {escape(m["content"])}</div>' for m in row["messages"]
    )
    figures = "".join(
        f"<figure><figcaption>{escape(name)}{f' ({note})' if note else ''}</figcaption>"
        f'<div class="text">{escape(text)}</div></figure>'
        for name, text, note in said
    )
    judged = row.get("judgement")
    verdict = f'<p class="soft">the judge: {escape(judged["verdict"])}</p>' if judged else ""
    return f'{prompt}<div class="pair" style="margin: .5rem 0 2rem">{figures}</div>{_followed(row)}{verdict}'


def _followed(row: Mapping[str, Any]) -> str:
    names = row.get("instruction_id_list") or ()
    if not names:
        return ""
    said = row["answers"]
    lines = [
        (
            name,
            *(
                "followed" if answer["followed"][n] else "loosely" if answer["followed_loosely"][n] else "no"
                for answer in said.values()
            ),
        )
        for n, name in enumerate(names)
    ]
    return table(lines, ("asked", *said))


def _judge_html(judge: Mapping[str, Any]) -> str:
    verdicts = judge["verdicts"]
    lines = [
        (f"{judge['first']} preferred in both orders", f"{verdicts['first']:,}"),
        (f"{judge['second']} preferred in both orders", f"{verdicts['second']:,}"),
        ("ties", f"{verdicts['tie']:,}"),
        ("of them, the two orders contradict each other", f"{verdicts['orders disagree']:,}"),
    ]
    return (
        f"<h2>Judged by {escape(judge['model'])}</h2>{table(lines)}"
        f"<details><summary>what the judge was asked</summary><pre>{escape(judge['prompt'])}</pre></details>"
    )
