"""DOCX: paragraphs, headings, lists and tables in their order, as Markdown, by python-docx."""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO

from groundup.core.errors import missing_extra
from groundup.core.files import readable_bytes
from groundup.data.compression import DAMAGE, LARGEST_RATIO
from groundup.data.remarks import Unreadable
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

LARGEST_DOCX = 1 << 28  # unpacked: a document is held whole

_HEADING = re.compile(r"Heading (\d)")


def docx_text(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> str:
    """The text of a document. Raises `GroundupError` when it is damaged, encrypted, empty, or unpacks beyond reason."""
    try:
        import docx
    except ImportError:
        raise missing_extra("python-docx", "formats", f"reading {source}") from None
    content = file.read(LARGEST_DOCX + 1)
    _check_archive(source, content)
    try:
        document = docx.Document(io.BytesIO(content))
        blocks = [_block(item) for item in document.iter_inner_content()]
    except Exception as error:  # whatever a damaged or hostile file makes the parser raise
        raise Unreadable(source, f"damaged or no DOCX ({type(error).__name__}: {error})") from error
    text = ""
    for block in blocks:
        if block:
            between = "\n" if block.startswith("- ") and text.rpartition("\n")[2].startswith("- ") else "\n\n"
            text += (between if text else "") + block
    if not text:
        raise Unreadable(source, "a document without text")
    return text


def _check_archive(source: Source, content: bytes) -> None:
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable(source, "encrypted, or an old .doc; save it as .docx without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (*DAMAGE, ValueError) as error:
        raise Unreadable(source, f"damaged or no DOCX: {error}") from error
    if len(content) > LARGEST_DOCX or unpacked > LARGEST_DOCX:
        raise Unreadable(source, f"unpacks to {readable_bytes(unpacked)}, which no document is (at most 268 MB)")
    if unpacked > 50_000_000 and unpacked > LARGEST_RATIO * len(content):
        raise Unreadable(
            source, f"unpacks to more than {LARGEST_RATIO} times its size, as files made to fill memory do"
        )


def _block(item: Any) -> str:
    if hasattr(item, "rows"):
        return _table(item)
    text = item.text.strip()
    style = item.style.name if item.style is not None else ""
    if not text:
        return ""
    if style == "Title":
        return f"# {text}"
    if found := _HEADING.match(style):
        return f"{'#' * int(found[1])} {text}"
    return f"- {text}" if style.startswith("List") else text


def _table(table: Any) -> str:
    rows = [[cell.text.strip().replace("\n", " ").replace("|", "\\|") for cell in row.cells] for row in table.rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])
