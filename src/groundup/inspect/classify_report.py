"""What the report of a classifier shows: the scores beside those to beat, and where it errs.

The one idea: the page is a function of `classification.json`, which was measured once, at the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from groundup.core.files import read_json
from groundup.core.runs import RunFolder
from groundup.inspect.heat_map import heat_map
from groundup.inspect.page import Raw, escape, printable, table
from groundup.inspect.plots import Series, line_chart

_LONGEST_LABEL = 24  # letters of a label in a picture; tables have it whole
_MOST_LABELS_WRITTEN = 30  # of a picture, beyond which every second or third is written


def sections(run: RunFolder) -> list[tuple[str, Callable[[], str]]]:
    """Heading and content of each section; none before the run has ended."""
    file = run.path / "classification.json"
    if not file.is_file():
        return []
    found = read_json(file)
    return [
        ("How good it is", lambda: _scores(found)),
        ("Each class", lambda: _classes(found)),
        ("What it takes for what", lambda: _confusion(found)),
        ("How sure it is, and how often right", lambda: _calibration(found)),
        ("Its surest errors", lambda: _errors(found)),
    ]


def _scores(found: dict[str, Any]) -> str:
    rows = [
        (
            Raw(f"<b>{escape(row['name'])}</b>" if number == 0 else escape(row["name"])),
            _between(row["accuracy"], row["intervals"]["accuracy"], "{:.1%}"),
            f"{row['macro_precision']:.3f}",
            f"{row['macro_recall']:.3f}",
            _between(row["macro_f1"], row["intervals"]["macro_f1"], "{:.3f}"),
            row["about"] or "",
        )
        for number, row in enumerate(found["classifiers"])
    ]
    exact = "texts with all labels right" if found["multi_label"] else "accuracy"
    header = ("", exact, "precision", "recall", "F1", "")
    missing = f"<p>{escape(found['missing'])}</p>" if found["missing"] else ""
    return (
        f"<p>{escape(found['verdict'])}</p>{missing}{table(rows, header)}"
        f'<p class="soft">On {found["n_test"]:,} test texts that no classifier has seen; precision, recall and F1 are means over '
        f"the classes. In brackets: the middle 95 % over {found['n_test']:,} texts drawn anew, a thousand times.</p>"
    )


def _classes(found: dict[str, Any]) -> str:
    model, *others = found["classifiers"]
    words = next((row for row in others if row["name"].startswith("TF-IDF")), None)
    counts = found["counts"]
    rows = []
    for number, label in enumerate(found["labels"]):
        row: list[object] = [Raw(f"<code>{escape(printable(label))}</code>")]
        row += [f"{counts[side][number]:,}" for side in ("train", "validation", "test")]
        row += [f"{model[name][number]:.3f}" for name in ("precision", "recall")]
        row.append(_between(model["f1"][number], model["intervals"]["f1"][number], "{:.3f}"))
        if words:
            row.append(f"{words['f1'][number]:.3f}")
        rows.append(row)
    header = ["class", "train", "validation", "test", "precision", "recall", "F1"]
    return table(rows, [*header, "F1 of TF-IDF"] if words else header)


def _confusion(found: dict[str, Any]) -> str:
    counts = found["confusion"]
    if counts is None:
        return ""
    shares = [[n / max(1, sum(row)) for n in row] for row in counts]
    labels = [_short(label) for label in found["labels"]]
    few = len(labels) <= 12
    # Under a picture with numbers the columns are narrow: long names stand there by their number.
    numbered = [f"{number + 1} {label}" for number, label in enumerate(labels)]
    narrow = few and max(map(len, labels)) <= 6
    columns = labels if narrow else [str(number + 1) for number in range(len(labels))]
    every = -(-len(labels) // _MOST_LABELS_WRITTEN)
    picture = heat_map(
        shares,
        labels if narrow else numbered,
        columns,
        what="the share of each class's texts by given label",
        every=every,
    )
    folded = ""
    if few:
        rows = [[label, *(f"{n:,}" for n in row)] for label, row in zip(found["labels"], counts, strict=True)]
        folded = f"<details><summary>in texts</summary>{table(rows, ['', *found['labels']])}</details>"
    return (
        f'{picture}<p class="soft">Rows: what the texts are. Columns: what the classifier says. A row adds up to 1; '
        f"the diagonal is right.</p>{folded}"
    )


def _calibration(found: dict[str, Any]) -> str:
    before, after = found["calibration"]["before"], found["calibration"]["after"]
    names = (("as trained", before), (f"at temperature {found['temperature']:.2f}", after))
    curves = [Series("as sure as right", (0.0, 1.0), (0.0, 1.0))]
    curves += [Series(name, each["confidence"], each["accuracy"], marked=True) for name, each in names]
    chart = line_chart(curves, "confidence (mean of a bin), against the share that is right")
    rows = [(name, f"{each['error']:.4f}") for name, each in names]
    return (
        f"{table(rows, ('', 'expected calibration error'))}"
        f'<div class="charts"><figure><figcaption>Share right by confidence</figcaption>{chart}</figure></div>'
        '<p class="soft">The temperature was fitted on the validation texts and is part of the classifier; it changes how sure '
        "answers are, not which they are (Guo et al. 2017).</p>"
    )


def _errors(found: dict[str, Any]) -> str:
    errors, n = found["errors"], found["n_errors"]
    if not n:
        return "<p>None: every test text is right.</p>"
    rows = [
        (
            f"{error['confidence']:.1%}",
            Raw(f"<code>{escape(printable(error['predicted'] or '(none)'))}</code>"),
            Raw(f"<code>{escape(printable(error['truth'] or '(none)'))}</code>"),
            Raw(f'<span title="{escape(error["place"])}">{escape(error["text"])}</span>'),
        )
        for error in errors
    ]
    shown = f"the {len(errors)} surest of " if n > len(errors) else ""
    return (
        f'<p class="soft">{shown}{n:,} wrong of {found["n_test"]:,} test texts; pointing at a text tells where it stands.</p>'
        + table(rows, ("confidence", "said", "is", "text"))
    )


def _between(value: float, interval: list[float], form: str) -> str:
    # A no-break space and word joiners, so that a narrow table does not tear an interval apart.
    low, high = (form.format(end) for end in interval)
    return f"{form.format(value)}\u00a0({low}\u2060–\u2060{high})"


def _short(label: str) -> str:
    label = printable(label)
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
