"""What a run on preferences shows besides its losses: rewards over the training, length, and single answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from groundup.core.files import read_json
from groundup.core.runs import Row, RunFolder
from groundup.inspect.page import escape, table
from groundup.inspect.plots import Series, line_chart

_MOST = 8  # pairs shown of each kind


def sections(run: RunFolder) -> list[tuple[str, Callable[[], str]]]:
    """The headings and what stands below them; empty until the run has looked once."""
    rows = [row for row in run.read_metrics() if "val_reward_margin" in row]
    place = run.path / "preferences.json"
    found = read_json(place) if place.is_file() else None
    return [
        ("Preferred", lambda: _figures(rows)),
        ("Rewards", lambda: _curves(rows)),
        ("Answers and what the model makes of them", lambda: _answers(found) if found else ""),
    ]


def _figures(rows: list[Row]) -> str:
    if not rows:
        return ""
    before, after = rows[0], rows[-1]
    names = [
        ("loss", "val_loss", "{:.4f}"),
        ("accuracy: the better answer has the higher reward", "val_reward_accuracy", "{:.1%}"),
        ("reward margin", "val_reward_margin", "{:+.4f}"),
        ("reward of the better answers", "val_reward_chosen", "{:+.4f}"),
        ("reward of the worse answers", "val_reward_rejected", "{:+.4f}"),
        ("pairs in which the longer answer is the better one", "val_longer_chosen", "{:.1%}"),
        ("pairs in which the longer answer has the higher reward", "val_longer_wins", "{:.1%}"),
    ]
    lines = [
        (name, *(_shown(row.get(key), form) for row in (before, after))) for name, key, form in names if key in after
    ]
    n = after.get("val_answers")
    note = f"<p>On {n:,} validation answers.</p>" if n else ""
    best = min(rows, key=lambda row: row.get("val_loss") or math.inf)
    if best is not after and best["step"]:
        note += (
            f"<p>The validation loss was lowest after {best['step']:,} steps ({best['val_loss']:.4f}) and has risen since: fewer "
            "epochs or a lower learning rate would do better.</p>"
        )
    return table(lines, ("", "before", "after")) + note


def _shown(value: Any, form: str) -> str:
    return "–" if value is None else form.format(value)


def _curves(rows: list[Row]) -> str:
    if len(rows) < 2:
        return ""
    steps = [row["step"] for row in rows]
    rewards = [
        Series(name, steps, [row.get(key) for row in rows], marked=True)
        for name, key in (("better", "val_reward_chosen"), ("worse", "val_reward_rejected"))
    ]
    accuracy = [Series("accuracy", steps, [100 * (row.get("val_reward_accuracy") or 0) for row in rows], marked=True)]
    charts = (("Rewards of validation answers", rewards), ("Accuracy, percent", accuracy))
    shown = [
        f"<figure><figcaption>{title}</figcaption>{line_chart(curves, 'step')}</figure>" for title, curves in charts
    ]
    return f'<div class="charts">{"".join(shown)}</div>'


def _answers(found: dict[str, Any]) -> str:
    if not found["pairs"]:
        return _single(found["answers"])
    pairs: dict[int, list[dict[str, Any]]] = {}
    for answer in found["answers"]:
        pairs.setdefault(answer["unit"], []).append(answer)
    whole = [sorted(pair, key=lambda one: not one["liked"]) for pair in pairs.values() if len(pair) == 2]
    whole.sort(key=lambda pair: pair[0]["reward"] - pair[1]["reward"])
    wrong = [pair for pair in whole if pair[0]["reward"] <= pair[1]["reward"]][:_MOST]
    right = [pair for pair in reversed(whole) if pair not in wrong][:_MOST]
    html = ""
    for heading, some in (("Where the model still prefers the worse answer", wrong), ("Where it is surest", right)):
        if some:
            html += f"<h3>{heading}</h3>" + "".join(_pair(pair) for pair in some)
    return html


def _pair(pair: list[dict[str, Any]]) -> str:
    sides = "".join(_answer(one, "chosen" if one["liked"] else "rejected") for one in pair)
    return (
        f"<details><summary>{escape(_short(pair[0]['prompt']))}</summary>"
        f'<div class="text">{escape(pair[0]["prompt"])}</div><div class="pair">{sides}</div></details>'
    )


def _single(answers: list[dict[str, Any]]) -> str:
    ordered = sorted(answers, key=lambda one: one["reward"] if one["liked"] else -one["reward"])
    return "".join(
        f"<details><summary>{escape(_short(one['prompt']))}</summary>"
        f'<div class="text">{escape(one["prompt"])}</div>{_answer(one, "liked" if one["liked"] else "disliked")}</details>'
        for one in ordered[: 2 * _MOST]
    )


def _answer(one: dict[str, Any], what: str) -> str:
    caption = f"{what} · reward {one['reward']:+.3f} · {one['n_tokens']:,} tokens"
    return f'<figure><figcaption>{caption}</figcaption><div class="text">{escape(one["answer"])}</div></figure>'


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 110 else f"{line[:109]}…"
