"""The table of shapes, in the order they are tried; and rows that are texts, with a label or without."""

from __future__ import annotations

from groundup.data.fields import label_field, text_fields
from groundup.data.formats.rows import Row
from groundup.data.records import BETWEEN_LABELS, Document, LabelledText, Record
from groundup.data.remote import Place
from groundup.data.shapes.base import Rejected, Shape, text_of
from groundup.data.shapes.conversations import CONVERSATIONS
from groundup.data.shapes.preferences import PREFERENCES


def _is_labelled(row: Row) -> bool:
    return label_field(row) is not None and len(text_fields(row)) == 1


def _labelled(row: Row, source: Place, index: int) -> list[Record]:
    name, label = next(iter(text_fields(row)), None), label_field(row)
    if name is None or label is None:
        raise Rejected("no text with a label")
    value = row[label]
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Rejected("no label")
    if isinstance(value, list | tuple):  # several labels, or none of them
        if not all(
            isinstance(each, str | int) and BETWEEN_LABELS not in str(each) and str(each).strip() for each in value
        ):
            raise Rejected("the labels are no list of words", f" but {value!r}")
        return [LabelledText(text_of(row, name), BETWEEN_LABELS.join(map(str, value)), source, index)]
    if not isinstance(value, str | int | float):
        raise Rejected("the label is no word or number", f" but {value!r}")
    return [LabelledText(text_of(row, name), str(value), source, index)]


def _is_document(row: Row) -> bool:
    return len(text_fields(row)) == 1


def _document(row: Row, source: Place, index: int) -> list[Record]:
    name = next(iter(text_fields(row)), None)
    if name is None:
        raise Rejected("no text")
    return [Document(text_of(row, name), source, index)]


TABLE = (
    *PREFERENCES,
    *CONVERSATIONS,
    Shape("labelled", "labelled", _is_labelled, _labelled),
    Shape("documents", "document", _is_document, _document),
)
SHAPES = {shape.name: shape for shape in TABLE}


def shape_of(row: Row, kind: str | None = None) -> Shape | None:
    """The first shape a row fits, of those that give `kind`; None when it fits none."""
    return next((shape for shape in TABLE if (kind is None or shape.kind == kind) and shape.fits(row)), None)
