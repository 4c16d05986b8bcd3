"""Web pages: the main text as Markdown, without menus, scripts and footers.

trafilatura (Barbaresi 2021) finds it, as it did for RefinedWeb and FineWeb; headings, lists, tables and code blocks are kept.
A page in which it finds no main text (a short one) gives all the text that would be seen.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from groundup.core.errors import missing_extra
from groundup.core.files import readable_bytes
from groundup.data.decoding import decoded
from groundup.data.remarks import Unreadable
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

LARGEST_PAGE = 20_000_000  # characters; trafilatura's own limit

_CHARSET = re.compile(
    rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE
)


def html_text(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> str:
    """The main text of a page. Raises `GroundupError` for one that has none, or is too large to be a page."""
    try:
        import trafilatura
    except ImportError:
        # With pip before 24.1 `pip install trafilatura` leaves out a part of lxml, and the import fails: the extra names it.
        raise missing_extra("trafilatura lxml_html_clean", "formats", f"reading {source}") from None
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # what it cannot read is told here
    head = file.read(1 << 12)
    found = _CHARSET.search(head)
    declared = found[1].decode() if found and found[1].lower() not in (b"utf-8", b"utf8", b"utf-16") else None
    parts, size = [], 0
    for text in decoded(source, _Again(head, file), remarks, encoding=reading.encoding, declared=declared):  # type: ignore[arg-type]
        parts.append(text)
        size += len(text)
        if size > LARGEST_PAGE:
            raise Unreadable(source, f"larger than {readable_bytes(LARGEST_PAGE)}, which is no page; give its text")
    page = "".join(parts)
    if "<html" not in page[: 1 << 12].lower():  # a part of a page, which trafilatura would call none
        page = f"<html><body>{page}</body></html>"
    try:
        text = trafilatura.extract(page, output_format="markdown", include_comments=False, include_tables=True)
        text = text or trafilatura.html2txt(page)
    except RecursionError:
        text = None
    except Exception as error:  # whatever a hostile page makes the parser raise
        raise Unreadable(source, f"cannot be read as a page: {type(error).__name__}: {error}") from error
    if not text or not text.strip():
        raise Unreadable(source, "a page without text")
    return text


class _Again:
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._heads = chain([head])
        self._file = file

    def read(self, size: int) -> bytes:
        return next(self._heads, b"") or self._file.read(size)
