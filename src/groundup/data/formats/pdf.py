"""PDF: the text of its pages in one, by pypdf.

One idea: a page is where paper ended, not where a sentence did. Words divided at the end of a line are joined, and a line
goes on where the next one begins with a small letter; a sentence may so run over to the next page. What has no text in
it (scanned pages) or may not be opened is refused with the reason, never read as nothing.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO

from groundup.core.errors import missing_extra
from groundup.core.files import readable_bytes
from groundup.data.remarks import Unreadable, count_first
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

LARGEST_PDF = 1 << 29

_DIVIDED = re.compile(r"([^\W\d_])[-\u00ad]\n([^\W\d_])")
_GOES_ON = re.compile(r"([^\s.!?:;])[ \t]*\n([^\W\d_])")


def pdf_text(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> str:
    """The text of a PDF. Raises `GroundupError` when it is encrypted, damaged, or pictures only."""
    try:
        import pypdf
        from pypdf.errors import DependencyError
    except ImportError:
        raise missing_extra("pypdf", "formats", f"reading {source}") from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # small faults it mends by itself
    content = file.read(LARGEST_PDF + 1)
    if len(content) > LARGEST_PDF:
        raise Unreadable(source, f"larger than {readable_bytes(LARGEST_PDF)}; divide it")
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(source, "encrypted: it needs a password; save it without one")
        pages = [page.extract_text().strip() for page in reader.pages]
    except Unreadable:
        raise
    except DependencyError as error:
        raise Unreadable(source, f"encrypted: {error}") from error
    except Exception as error:  # whatever a damaged or hostile file makes the parser raise
        raise Unreadable(source, f"damaged or no PDF ({type(error).__name__}: {error})") from error
    n_empty = sum(not page for page in pages)
    if n_empty == len(pages):
        raise Unreadable(
            source, f"no text on its {len(pages)} pages: pictures of pages? Recognise the text first (OCR)"
        )
    for _ in range(n_empty):
        count_first(remarks, "pages without text, as pictures of pages are", source)
    text = "\n".join(page + ("\n" if page.endswith((".", "!", "?")) else "") for page in pages if page)
    return joined_lines(text)


def joined_lines(text: str) -> str:
    """Words divided at line ends made whole, and lines that go on joined; a line before a capital or a number stays."""
    text = _DIVIDED.sub(lambda found: found[1] + found[2] if found[2].islower() else found[0], text)
    return _GOES_ON.sub(lambda found: f"{found[1]} {found[2]}" if found[2].islower() else found[0], text)
