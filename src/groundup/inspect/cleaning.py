"""What cleaning found, as tables: how many documents each rule names, what they look like, what was masked.

The one idea: a rule is judged by what it would remove, so beside every count stand examples, and the source of the bound.
The page is a function of `report.json` alone and can be made anew from it. Excerpts came masked into the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from groundup.core.files import readable_bytes
from groundup.inspect.page import Raw, escape, page, printable, table
from groundup.inspect.terminal import terminal_table, visible

Numbers = dict[str, Any]

_SHOWN = 110  # characters of an excerpt in the terminal


def cleaning_terminal(numbers: Numbers) -> RenderableType:
    """The tables for the terminal: only what was found; the page has all of it."""
    parts: list[RenderableType] = []
    named = [rule for rule in numbers["rules"] if rule["documents"]]
    if named:
        rows = [
            (r["name"], _asks(r), f"{r['documents']:,}", _percent(r["share"]), readable_bytes(r["bytes"]))
            for r in named
        ]
        parts.append(terminal_table(("rule", "asks for", "documents", "share", "text"), rows, (2, 3, 4)))
        parts.append(Text())
        for rule in named:
            example = rule["examples"][0]
            shown = visible(example["excerpt"][:_SHOWN])
            parts.append(Text(f"{rule['name']} {_figure(example['figure'])}: {example['id']}{_of(example)}\n  {shown}"))
        parts.append(Text())
    silent = [rule for rule in numbers["rules"] if not rule["documents"]]
    for what, is_measured in (("kept by all documents", True), ("not measured on any document", False)):
        names = [r["name"] for r in silent if (r["unmeasured"] < numbers["n_documents"]) == is_measured]
        if names and numbers["n_documents"]:
            parts.append(Text(f"{what}: {', '.join(names)}\n"))
    for title, rows in (("edits", _edit_rows(numbers)), ("personal data", _private_rows(numbers))):
        if rows:
            parts.append(terminal_table((title, "documents", "count", "what"), rows, (1, 2)))
            parts.append(Text())
    if numbers["hidden"]:
        parts.append(terminal_table(("hidden Unicode", "documents", "count", "example"), _hidden_rows(numbers), (1, 2)))
        parts.append(Text())
    if numbers["triggers"]:
        parts.append(terminal_table(("before gibberish", "documents", "usual share"), _trigger_rows(numbers), (1, 2)))
        parts.append(Text())
    if numbers["languages"]:
        parts.append(Text("languages: " + ", ".join(_languages(numbers, 12)) + "\n"))
    return Group(*parts)


def cleaning_html(numbers: Numbers) -> str:
    """The report as one page that needs no other file and no network."""
    is_final = numbers["command"] == "clean"
    title = "What cleaning did" if is_final else "What is in this text"
    sources = [source["path"] for source in numbers["sources"]]
    shown = ", ".join(sources[:3]) + (f" and {len(sources) - 3:,} more files" if len(sources) > 3 else "")
    body = f'<h1>{title}</h1>\n<p class="soft">{escape(shown)}</p>\n{_tiles(numbers)}'
    for heading, content in (
        ("Rules", _rules_section(numbers)),
        ("Edits", _edits_section(numbers)),
        ("Personal data and keys", _private_section(numbers)),
        ("Hidden Unicode", _hidden_section(numbers)),
        ("Words before gibberish", _triggers_section(numbers)),
        ("Length", _bars([(_span(one), one["documents"]) for one in numbers["lengths"]], "characters")),
        ("Language", _bars(list(numbers["languages"].items())[:30], "language")),
        ("Readability", _scores_section(numbers)),
        ("Files", _files_section(numbers)),
        ("Examples", _examples_section(numbers)),
        ("Settings", f"<details><summary>as they were</summary>{_settings(numbers)}</details>"),
    ):
        if content:
            body += f"<h2>{heading}</h2>\n{content}\n"
    return page(f"{title} · groundup", body)


def _tiles(numbers: Numbers) -> str:
    kept, flagged = numbers["kept"], numbers["flagged"]
    tiles = [
        (f"{numbers['n_documents']:,}", f"documents, {readable_bytes(numbers['n_bytes'])}"),
    ]
    if numbers["command"] == "clean":
        tiles += [
            (f"{kept['documents']:,}", f"kept, {readable_bytes(kept['bytes'])}"),
            (f"{flagged['documents']:,}", f"removed, {readable_bytes(flagged['bytes'])}"),
        ]
    else:
        tiles.append((f"{flagged['documents']:,}", f"break a rule, {readable_bytes(flagged['bytes'])}"))
    found = sum(one["count"] for one in numbers["privacy"])
    hidden = sum(one["count"] for one in numbers["hidden"])
    tiles += [(f"{found:,}", "personal data and keys found"), (f"{hidden:,}", "places with hidden Unicode")]
    if numbers["unreadable"]:
        tiles.append((f"{len(numbers['unreadable']):,}", "files that could not be read to their end"))
    cells = "".join(f'<div class="tile"><b>{escape(n)}</b><span>{escape(what)}</span></div>' for n, what in tiles)
    note = (
        "<p>Every document stands either in one of the parts, with its id and what was changed, or in "
        "<code>removed.jsonl</code>, with its id, the rule and the figure.</p>"
        if numbers["command"] == "clean"
        else "<p>Nothing was changed. Each rule judged every document by itself, so the counts overlap; the column "
        "<em>alone</em> has the documents that no other rule names.</p>"
    )
    return f'<div class="tiles">{cells}</div>{note}'


def _rules_section(numbers: Numbers) -> str:
    broken = [rule for rule in numbers["rules"] if rule["documents"]]
    kept = [rule for rule in numbers["rules"] if not rule["documents"]]
    shown = table(map(_rule_row, broken), _RULE_HEADER) if broken else "<p>Every document keeps every rule.</p>"
    if kept:
        summary = f"{len(kept)} rules that every document keeps"
        shown += f"<details><summary>{summary}</summary>{table(map(_rule_row, kept), _RULE_HEADER)}</details>"
    if any(rule["unmeasured"] for rule in numbers["rules"]):
        shown += (
            '<p class="soft">Not measured: rules on words do not apply to scripts that write no blanks between them, '
            "rules on English not to other languages, and some figures need a longer text.</p>"
        )
    return shown


_RULE_HEADER = ("rule", "asks for", "documents", "share", "text", "alone", "not measured", "source")


def _rule_row(rule: dict[str, Any]) -> tuple[object, ...]:
    return (
        Raw(f"{escape(rule['name'])}<br><span class='soft'>{escape(rule['says'])}</span>"),
        _unbroken(_asks(rule)),
        f"{rule['documents']:,}",
        _unbroken(_percent(rule["share"])),
        _unbroken(readable_bytes(rule["bytes"])),
        f"{rule['alone']:,}",
        f"{rule['unmeasured']:,}" if rule["unmeasured"] else "",
        rule["source"],
    )


def _unbroken(text: str) -> str:
    """`text` with blanks at which no line breaks."""
    return text.replace(" ", "\u00a0")


def _examples_section(numbers: Numbers) -> str:
    parts = []
    for rule in numbers["rules"]:
        if rule["examples"]:
            parts.append(f"<h3>{escape(rule['name'])} <span class='soft'>{escape(_asks(rule))}</span></h3>")
            parts += [
                f'<p class="soft">{escape(e["id"])}: {escape(_figure(e["figure"]))}{escape(_of(e))}</p>'
                f'<div class="text">{escape(_seen(e["excerpt"]))}</div>'
                for e in rule["examples"]
            ]
    if not parts:
        return ""
    summary = "an even sample of what each rule names; personal data is masked"
    return f"<details open><summary>{summary}</summary>{''.join(parts)}</details>"


def _edits_section(numbers: Numbers) -> str:
    rows = _edit_rows(numbers)
    if not rows:
        return ""
    examples = "".join(
        f"<h3>{escape(edit['name'])}</h3>"
        + "".join(
            f'<p class="soft">{escape(e["id"])}</p><div class="text">{escape(_seen(e["excerpt"]))}</div>'
            for e in edit["examples"]
        )
        for edit in numbers["edits"]
        if edit["examples"]
    )
    shown = f"<details><summary>examples of what was taken out</summary>{examples}</details>" if examples else ""
    return table(rows, ("edit", "documents", "count", "what")) + shown


def _private_section(numbers: Numbers) -> str:
    rows = _private_rows(numbers)
    return table(rows, ("kind", "documents", "count", "done")) if rows else ""


def _hidden_section(numbers: Numbers) -> str:
    rows = _hidden_rows(numbers)
    return table(rows, ("kind", "documents", "count", "example")) if rows else ""


def _triggers_section(numbers: Numbers) -> str:
    if not numbers["triggers"]:
        return ""
    note = (
        "<p>These words stand where text turns into gibberish, in document after document, and hardly anywhere else: as a "
        "backdoor's trigger would (Souly et al. 2025, arXiv:2510.07192). Look at the documents before training on them.</p>"
    )
    return note + table(_trigger_rows(numbers), ("word", "documents", "share of other documents"))


def _scores_section(numbers: Numbers) -> str:
    edges = [one["below"] for one in numbers["scores"]]
    rows = []
    for at, one in enumerate(numbers["scores"]):
        low = edges[at - 1] if at else None
        name = f"over {low}" if one["below"] is None else f"{low} to {one['below']}" if at else f"under {one['below']}"
        rows.append((name, one["documents"]))
    if not rows:
        return ""
    note = (
        f'<p class="soft">Deviations from the median of bits a character, by a small model that read '
        f"{numbers['reference_model']:,} stretches of this text; above 0 is harder to read than usual.</p>"
    )
    return _bars(rows, "deviations") + note


def _files_section(numbers: Numbers) -> str:
    rows = [
        (path, "not read to its end", r.removeprefix(path).lstrip(": ")) for path, r in numbers["unreadable"].items()
    ]
    rows += [(f"{count:,}", what, "") for what, count in numbers["remarks"].items()]
    rows += [(f["file"], f"{f['documents']:,} documents", readable_bytes(f["bytes"])) for f in numbers.get("files", ())]
    return table([tuple(map(str, row)) for row in rows]) if rows else ""


def _settings(numbers: Numbers) -> str:
    return table([(name, value) for name, value in numbers["settings"].items()])


def _bars(rows: Sequence[tuple[str, int]], what: str) -> str:
    """Counts as a table with a bar in each row."""
    most = max((count for _, count in rows), default=0)
    if not most:
        return ""
    cells = [
        (
            Raw(f"<span>{escape(name)}</span>"),
            f"{count:,}",
            Raw(
                f'<div class="bar" style="background: linear-gradient(90deg, #0072b240 {count / most:.1%}, #0000 0)">&nbsp;</div>'
            ),
        )
        for name, count in rows
    ]
    return table(cells, (what, "documents", ""))


def _edit_rows(numbers: Numbers) -> list[tuple[str, str, str, str]]:
    return [
        (
            edit["name"],
            f"{edit['documents']:,}",
            f"{edit['count']:,}",
            edit["says"] + (f" ({readable_bytes(edit['bytes'])})" if edit["bytes"] else ""),
        )
        for edit in numbers["edits"]
    ]


def _private_rows(numbers: Numbers) -> list[tuple[str, str, str, str]]:
    done = {"mask": "masked", "drop": "document removed", "report": "left as it is"}
    would = {"mask": "would be masked", "drop": "document would be removed", "report": "would be left as it is"}
    words = done if numbers["command"] == "clean" else would
    return [
        (one["kind"], f"{one['documents']:,}", f"{one['count']:,}", words[one["action"]])
        for one in numbers["privacy"]
        if one["count"]
    ]


def _hidden_rows(numbers: Numbers) -> list[tuple[str, str, str, str]]:
    return [
        (one["kind"], f"{one['documents']:,}", f"{one['count']:,}", _shown_codes(one["examples"]))
        for one in numbers["hidden"]
    ]


def _shown_codes(examples: list[dict[str, str]]) -> str:
    return "; ".join(f"{visible(example['excerpt'])} in {example['id']}" for example in examples[:2])


def _trigger_rows(numbers: Numbers) -> list[tuple[str, str, str]]:
    return [
        (visible(one["text"]), f"{one['documents']:,} of {one['of']:,}", _percent(one["usual"]))
        for one in numbers["triggers"]
    ]


def _languages(numbers: Numbers, most: int) -> list[str]:
    return [f"{name} {count:,}" for name, count in list(numbers["languages"].items())[:most]]


def _asks(rule: dict[str, Any]) -> str:
    """The bounds of a rule in words."""
    low, high = rule["low"], rule["high"]
    if low is None and high is None:
        return "anything"
    if high is None:
        return f"at least {low:,g}"
    if low is None:
        return "none" if high == 0 else f"at most {high:,g}"
    return f"{low:,g} to {high:,g}"


def _of(example: dict[str, Any]) -> str:
    return f", as {example['of']}" if "of" in example else ""


def _figure(figure: float) -> str:
    return f"{figure:,g}"


def _percent(share: float) -> str:
    return "0 %" if not share else f"{share:.1%}".replace("%", " %") if share >= 0.001 else "< 0.1 %"


def _span(one: dict[str, int]) -> str:
    return f"{one['from']:,} to {one['to']:,}"


def _seen(excerpt: str) -> str:
    """An excerpt with what does not show made visible, line ends kept as line ends."""
    return printable(excerpt).replace("↵", "\n")
