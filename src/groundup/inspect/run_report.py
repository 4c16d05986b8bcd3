"""The report of a run: one page that says what was learned, from what, at what cost, and what to do next.

The one idea: the page is a function of the run folder. It reads the files every run has, so it can be written while the
run goes on, after it was killed, or years later; what is not there yet is left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundup.core.config import read_yaml
from groundup.core.files import read_json, readable_bytes, write_atomically
from groundup.core.runs import Row, RunFolder, RunSummary
from groundup.inspect.page import Raw, coloured_pieces, escape, page, readable, readable_count, table
from groundup.inspect.plots import Series, line_chart

_MOST_SOURCES = 30
# What a method's loss is the mean over; tokens, where nothing else is said.
_LOSS_IS_OF = {"classify": "text", "prefer": "judgement"}


def write_report(run: RunFolder) -> Path:
    """Write the run's `report.html` and return where it is; safe while another process writes the run."""
    write_atomically(run.report, report_html(run))
    return run.report


def report_html(run: RunFolder) -> str:
    """The report as one page of HTML that needs no other file and no network."""
    summary, rows = run.read_summary(), merged_rows(run.read_metrics())
    title = summary.title or run.path.resolve().name
    unit = _LOSS_IS_OF.get(str(read_yaml(run.config).get("method")), "token")
    sections: list[tuple[str, Callable[[], str]]] = [
        ("", lambda: _tiles(summary, rows, unit)),
        ("What it writes", lambda: _samples(run.read_samples())),
        *_method_sections(run),
        ("Loss", lambda: _loss_charts(rows, unit)),
        ("Training", lambda: _training_charts(rows)),
        ("Forecast and what came", lambda: _forecasts(summary)),
        ("Cost", lambda: _cost(summary)),
        ("Checked", lambda: _facts(summary.checks)),
        ("Tokenizer", lambda: _tokenizer(summary)),
        ("Mixture", lambda: _mixture(summary, rows)),
        ("Data", lambda: _data(summary)),
        ("Model", lambda: _facts(summary.model)),
        ("Settings", lambda: _folded("config.yaml", read_yaml(run.config))),
        ("Machine and versions", lambda: _folded("environment.json", _environment(run))),
        ("Next", lambda: _next(summary)),
    ]
    body = _header(title, summary, rows)
    for heading, make in sections:
        content = make()
        if content:
            body += (f"<h2>{escape(heading)}</h2>\n" if heading else "") + content + "\n"
    return page(f"{title} · groundup", body)


def _method_sections(run: RunFolder) -> list[tuple[str, Callable[[], str]]]:
    """What a method of fine-tuning shows besides: `inspect/classify_report.py` and its like."""
    method = read_yaml(run.config).get("method")
    return importlib.import_module(f"groundup.inspect.{method}_report").sections(run) if method else []


def merged_rows(rows: list[Row]) -> list[Row]:
    """One row a step: training and evaluation may have written their figures of a step apart."""
    steps: dict[int, Row] = {}
    for row in rows:
        steps.setdefault(row["step"], {}).update({key: value for key, value in row.items() if value is not None})
    return [steps[step] for step in sorted(steps)]


def _header(title: str, summary: RunSummary, rows: list[Row]) -> str:
    parts = [summary.architecture]
    if summary.n_parameters is not None:
        parts.append(f"{readable_count(summary.n_parameters)} parameters")
    if summary.context_length is not None:
        parts.append(f"context of {summary.context_length:,} tokens")
    parts.append(f"{summary.status}, step {rows[-1]['step']:,}" if rows else summary.status)
    notes = "".join(f"<p>{escape(note)}</p>" for note in summary.notes)
    line = " · ".join(escape(part) for part in parts if part)
    return f'<h1>{escape(title)}</h1>\n<p class="soft">{line}</p>{notes}\n'


def _tiles(summary: RunSummary, rows: list[Row], unit: str) -> str:
    cost = summary.cost
    speeds = [row["tokens_per_second"] for row in rows if "tokens_per_second" in row]
    shares = [row["mfu"] for row in rows if "mfu" in row]
    seconds = cost.training_seconds if cost and cost.training_seconds is not None else _newest(rows, "elapsed_seconds")
    n_tokens = cost.n_tokens if cost and cost.n_tokens is not None else _newest(rows, "tokens")
    tiles = [
        ("validation bits per byte", _first(summary.val_bits_per_byte, _newest(rows, "val_bits_per_byte")), "{:.3f}"),
        (f"validation loss, nats per {unit}", _first(summary.val_loss, _newest(rows, "val_loss")), "{:.3f}"),
        ("validation perplexity", _first(summary.val_perplexity, _newest(rows, "val_perplexity")), "{:.4g}"),
        ("training loss", _newest(rows, "train_loss"), "{:.3f}"),
        ("tokens trained on", None if n_tokens is None else readable_count(n_tokens), "{}"),
        ("training time", None if seconds is None else readable(seconds, "seconds"), "{}"),
        ("tokens per second (median)", _median(speeds), "{:,.0f}"),
        ("of this machine's measured speed", _median(shares), "{:.0%}"),
        ("peak memory", readable_bytes(cost.peak_memory_bytes) if cost and cost.peak_memory_bytes else None, "{}"),
    ]
    shown = [
        f'<div class="tile"><b>{escape(form.format(v))}</b><span>{name}</span></div>' for name, v, form in tiles if v
    ]
    return f'<div class="tiles">{"".join(shown)}</div>' if shown else "<p>Nothing has been measured yet.</p>"


def _samples(samples: list[Row]) -> str:
    by_prompt: dict[str, list[Row]] = {}
    for sample in samples:
        by_prompt.setdefault(sample["prompt"], []).append(sample)
    html = ""
    for rows in by_prompt.values():
        shown = rows if len(rows) == 1 else [rows[0], rows[-1]]
        html += f'<div class="pair">{"".join(_sample(row) for row in shown)}</div>'
        if len(rows) > 2:
            between = "".join(_sample(row) for row in rows[1:-1])
            html += f'<details><summary>{len(rows) - 2} in between</summary><div class="pair">{between}</div></details>'
    return html


def _sample(row: Row) -> str:
    when = "before training" if row["step"] == 0 else f"after {row['step']:,} steps"
    text = f"<b>{escape(row['prompt'])}</b>{escape(row['text'])}"
    return f'<figure><figcaption>{when}</figcaption><div class="text">{text}</div></figure>'


def _loss_charts(rows: list[Row], unit: str) -> str:
    names = (("training", "train_loss"), ("validation", "val_loss"))
    charts = []
    for x_key, x_label in (("step", "step"), ("elapsed_seconds", "seconds of training")):
        curves = [_series(rows, name, x_key, key) for name, key in names]
        charts.append(_chart(f"Loss (nats per {unit})", curves, x_label))
        bits = [_series(rows, "validation", x_key, "val_bits_per_byte")]
        charts.append(_chart("Validation bits per byte", bits, x_label))
    return _grid(charts)


def _training_charts(rows: list[Row]) -> str:
    share = [{**row, "mfu_percent": 100 * row["mfu"]} for row in rows if "mfu" in row]
    wanted = (
        ("Learning rate", rows, "learning_rate"),
        ("Gradient norm, before clipping", rows, "gradient_norm"),
        ("Tokens per second", rows, "tokens_per_second"),
        ("Percent of this machine's measured speed (MFU)", share, "mfu_percent"),
    )
    return _grid(
        [_chart(title, [_series(of, title, "step", key)], "step", from_zero=True) for title, of, key in wanted]
    )


def _chart(title: str, curves: list[Series], x_label: str, *, from_zero: bool = False) -> str:
    if not any(value is not None for curve in curves for value in curve.y):
        return ""
    curves = [curve for curve in curves if len(curve.y)]
    chart = line_chart(curves, x_label, from_zero=from_zero)
    return f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>"


def _series(rows: list[Row], name: str, x_key: str, y_key: str) -> Series:
    there = [row for row in rows if x_key in row and y_key in row]
    is_sparse = y_key.startswith("val_") and len(there) <= 60
    return Series(name, [row[x_key] for row in there], [row[y_key] for row in there], marked=is_sparse)


def _grid(charts: list[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def _forecasts(summary: RunSummary) -> str:
    rows = []
    for one in summary.forecasts:
        off = "–"
        if one.expected and one.actual is not None:
            off = f"{one.actual / one.expected - 1:+.1%}"
        rows.append((one.name, readable(one.expected, one.unit), readable(one.actual, one.unit), off))
    return table(rows, ("", "forecast", "came", "off by")) if rows else ""


def _cost(summary: RunSummary) -> str:
    cost = summary.cost
    if cost is None:
        return ""
    figures = (
        ("training", cost.training_seconds, "seconds"),
        ("compiling", cost.compile_seconds, "seconds"),
        ("from start to end", cost.wall_seconds, "seconds"),
        ("trained on", cost.n_tokens, "tokens"),
        ("arithmetic", cost.flops, "FLOPs"),
        ("peak memory", cost.peak_memory_bytes, "bytes"),
    )
    return table([(name, readable(value, unit)) for name, value, unit in figures if value is not None])


def _tokenizer(summary: RunSummary) -> str:
    tokenizer = summary.tokenizer
    if tokenizer is None:
        return ""
    facts = {
        "algorithm": tokenizer.algorithm,
        "entries": f"{tokenizer.vocab_size:,}" if tokenizer.vocab_size is not None else None,
        "bytes per token": f"{tokenizer.bytes_per_token:.2f}" if tokenizer.bytes_per_token is not None else None,
        "sha256": tokenizer.sha256,
    }
    pieces = coloured_pieces((piece, f"id {id}") for id, piece in tokenizer.pieces) if tokenizer.pieces else ""
    return _facts({name: value for name, value in facts.items() if value is not None}) + pieces


def _data(summary: RunSummary) -> str:
    data = summary.data
    if data is None:
        return ""
    html = f"<p>{escape(data.note)}</p>" if data.note else ""
    counts = lambda n: "–" if n is None else f"{n:,}"  # noqa: E731 - used in the next line only
    splits = [(name, counts(s.n_documents), counts(s.n_tokens), counts(s.n_bytes)) for name, s in data.splits.items()]
    html += table(splits, ("split", "documents", "tokens", "bytes")) if splits else ""
    sources = [(s.path, readable(s.n_bytes, "bytes"), _code(s.sha256)) for s in data.sources]
    header = ("source", "size", "sha256")
    html += table(sources[:_MOST_SOURCES], header) if sources else ""
    if len(sources) > _MOST_SOURCES:
        rest = table(sources[_MOST_SOURCES:], header)
        html += f"<details><summary>{len(sources) - _MOST_SOURCES:,} more</summary>{rest}</details>"
    return html


def _mixture(summary: RunSummary, rows: list[Row]) -> str:
    """What was read of each source, and how the loss on each went."""
    sources = summary.data.mixture if summary.data else ()
    if not sources:
        return ""
    figure = lambda value, form: "–" if value is None else form.format(value)  # noqa: E731 - used in the next lines only
    lines = [
        (
            one.name,
            figure(one.share, "{:.1%}"),
            figure(one.n_tokens, "{:,}"),
            figure(one.n_tokens_read, "{:,}"),
            figure(one.epochs, "{:.2f}"),
            figure(one.val_loss, "{:.4f}"),
            figure(one.val_bits_per_byte, "{:.4f}"),
        )
        for one in sources
    ]
    header = ("source", "share", "has tokens", "tokens read", "epochs", "validation loss", "bits per byte")
    losses = [_series(rows, one.name, "step", f"val_loss/{one.name}") for one in sources]
    bits = [_series(rows, one.name, "step", f"val_bits_per_byte/{one.name}") for one in sources]
    charts = [
        _chart("Validation loss of each source", losses, "step"),
        _chart("Validation bits per byte of each source", bits, "step"),
    ]
    return table(lines, header) + _grid(charts)


def _code(value: object) -> Raw:
    return Raw(f"<code>{escape(value)}</code>" if value is not None else "–")


def _facts(facts: dict[str, Any]) -> str:
    """A name and a value a line; trees are flattened to `outer.inner`."""
    return table([(name, _code(value)) for name, value in _flat(facts)]) if facts else ""


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            pairs += _flat(value, f"{name}.")
        else:
            joined = " ".join(str(item) for item in value) if isinstance(value, list | tuple) else value
            pairs.append((name, joined))
    return pairs


def _folded(name: str, facts: dict[str, Any]) -> str:
    return f"<details><summary>{escape(name)}</summary>{_facts(facts)}</details>" if facts else ""


def _environment(run: RunFolder) -> dict[str, Any]:
    return read_json(run.environment) if run.environment.exists() else {}


def _next(summary: RunSummary) -> str:
    return f"<pre>{escape(chr(10).join(summary.next_commands))}</pre>" if summary.next_commands else ""


def _newest(rows: list[Row], key: str) -> Any:
    return next((row[key] for row in reversed(rows) if key in row), None)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
