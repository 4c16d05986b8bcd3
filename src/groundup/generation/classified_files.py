"""A file of texts in, the same rows with their labels out.

One idea: a row keeps all it had. The answers are columns beside the user's own: `label`, `confidence`, and the probability of
each class; a column that has such a name already keeps it, and ours is called `predicted_label` and so on. A row without text
gets no label and is counted; it is not passed over, so that the rows of both files agree.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from groundup.core.errors import GroundupError
from groundup.core.files import file_written_atomically
from groundup.core.progress import QUIET, Reporter
from groundup.data.fields import text_fields
from groundup.data.formats.rows import Row, listed
from groundup.data.reading import ROW_READERS, Reading, read_rows
from groundup.data.remarks import Remarks
from groundup.data.sources import Source
from groundup.generation.text_classifier import TEXTS_AT_ONCE, Prediction, TextClassifier

FORMATS = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Classified:
    """What was done with a file."""

    n_rows: int
    n_empty: int  # rows without text
    n_rejected: int  # rows that could not be read
    counts: dict[str, int]  # texts by label


def classify_file(
    classifier: TextClassifier,
    path: str | Path,
    out: Path | TextIO,
    *,
    text_field: str | None = None,
    encoding: str | None = None,
    reporter: Reporter = QUIET,
) -> Classified:
    """Label every row of a table (csv, tsv, jsonl, parquet) or every line of a text file, into `out`.

    `out` is a file that ends in .csv, .tsv or .jsonl, whole or absent afterwards, or a stream that gets csv. `text_field` is the
    column of the texts where its name does not say so. Raises GroundupError for files of no known kind, naming their columns.
    """
    reading, remarks = Reading(text_field=text_field, encoding=encoding, on_bad_row="skip"), Remarks()
    [source] = reading.sources([path], remarks)
    if source.kind in ROW_READERS:
        rows = (row for _, row in read_rows(source, reading, remarks))
    elif source.kind in ("text", "markdown"):
        rows = _lines(source, encoding)
    else:
        raise GroundupError(
            f"{path}: a {source.kind} file is one text; give a table, or a text file with a text a line"
        )
    if not isinstance(out, Path):
        return _write(classifier, rows, _CsvRows(out, ","), str(source), text_field, remarks)
    if out.suffix not in FORMATS:
        raise GroundupError(f"--out {out}: the name must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if out.exists() and isinstance(source.path, Path) and out.samefile(source.path):
        raise GroundupError(f"--out {out} is the file that is read; give another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    with file_written_atomically(out) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        writer = _JsonRows(text) if out.suffix == ".jsonl" else _CsvRows(text, "," if out.suffix == ".csv" else "\t")
        done = _write(classifier, rows, writer, str(source), text_field, remarks)
        text.flush()
        text.detach()
    return done


def _write(
    classifier: TextClassifier,
    rows: Iterable[Row],
    writer: _CsvRows | _JsonRows,
    source: str,
    text_field: str | None,
    remarks: Remarks,
) -> Classified:
    rows, names, n_rows, n_empty, counts = iter(rows), None, 0, 0, {}
    field = text_field
    while group := list(islice(rows, TEXTS_AT_ONCE)):
        field = field or _text_field(group[0], source)
        if field not in group[0]:
            raise GroundupError(f"{source} has no column {field!r}; it has {listed(group[0])}")
        names = names or _names(group[0], classifier.labels)
        texts = [str(row.get(field) or "") for row in group]
        answers = iter(classifier.predict([text for text in texts if text.strip()]))
        for row, text in zip(group, texts, strict=True):
            answer = next(answers) if text.strip() else None
            n_empty += answer is None
            if answer is not None:
                counts[answer.label] = counts.get(answer.label, 0) + 1
            writer.write(dict(row) | _columns(answer, names))
        n_rows += len(group)
    if not n_rows:
        raise GroundupError(f"{source} holds no row to classify")
    return Classified(n_rows, n_empty, remarks.n_rejected, counts)


def _columns(answer: Prediction | None, names: dict[str, str]) -> dict[str, Any]:
    if answer is None:
        return dict.fromkeys(names.values())
    values = {"label": answer.label, "confidence": round(answer.confidence, 6)}
    values |= {f"probability_{label}": round(p, 6) for label, p in answer.probabilities.items()}
    return {names[key]: value for key, value in values.items()}


def _names(row: Row, labels: tuple[str, ...]) -> dict[str, str]:
    """What each of our columns is called beside those of a row."""
    ours = ["label", "confidence", *(f"probability_{label}" for label in labels)]
    return {name: f"predicted_{name}" if name in row else name for name in ours}


def _text_field(row: Row, source: str) -> str:
    found = text_fields(row)
    if len(found) != 1:
        raise GroundupError(f"{source}: which column holds the text? It has {listed(row)}; name it by --text-field")
    return found[0]


def _lines(source: Source, encoding: str | None) -> Iterator[Row]:
    if not isinstance(source.path, Path):
        raise GroundupError(f"{source}: copy the file here first; only tables are read from afar")
    with open(source.path, encoding=encoding or "utf-8-sig", errors="replace") as file:
        for line in file:
            yield {"text": line.rstrip("\n")}


class _CsvRows:
    """Rows as a table, whose columns are those of the first."""

    def __init__(self, out: TextIO, delimiter: str) -> None:
        self._out, self._delimiter = out, delimiter
        self._writer: csv.DictWriter[str] | None = None

    def write(self, row: dict[str, Any]) -> None:
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._out, list(row), delimiter=self._delimiter, extrasaction="ignore", restval="", lineterminator="\n"
            )
            self._writer.writeheader()
        self._writer.writerow(row)


class _JsonRows:
    """Rows as JSON, one a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, row: dict[str, Any]) -> None:
        self._out.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
