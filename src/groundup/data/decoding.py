"""Decoding: from the bytes of a file to text, a block at a time, and never by a silent guess.

One idea: UTF-8 proves itself (a text of another encoding all but never passes for it), so it is tried first and
strictly. The first byte that fails decides. Where only ASCII was handed on before and most of what is beyond ASCII around
that byte is broken, the file is in some older encoding, all of which share ASCII, and a library says which; what it says
is told with its confidence and proved strictly to the end of the file. Else the file is damaged, and nothing is guessed.

The library is chardet: on 23 files of 15 languages in 13 encodings (tests/data/test_decoding.py makes them) its answer
decodes all 23 to the right text, charset-normalizer's 20. Of 200 pieces of real text in 20 languages, 150 characters
and longer, it was right on all and surer than 0.1 on 198; on noise it was at most 0.06: hence `LEAST_CONFIDENCE`.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from groundup.core.errors import GroundupError, missing_extra
from groundup.data.remarks import Remarks, Unreadable, count_first
from groundup.data.sources import Source, check_is_text

BLOCK_BYTES = 1 << 18
LEAST_CONFIDENCE = 0.1
LONGEST_LINE = 1 << 28  # characters: a "row" longer than this is no row

_SAMPLE_BYTES = 1 << 16
_LEAST_BYTES = 100  # fewer tell nothing, however sure the library is
_MARKS = {  # longest first: UTF-16's mark begins UTF-32's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def check_encoding(name: str) -> str:
    """Python's name of a text encoding. Raises `GroundupError` for one it does not know."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)  # refuses the codecs that are no text encodings (base64, rot13)
    except LookupError:
        raise GroundupError(
            f"unknown encoding {name!r}; common ones are utf-8, cp1252, latin-1, utf-16, shift_jis, euc_jp, gb18030, "
            "big5, euc_kr, cp1251"
        ) from None
    return info.name


def decoded(
    source: Source,
    file: BinaryIO,
    remarks: Counter[str],
    *,
    encoding: str | None = None,
    declared: str | None = None,
) -> Iterator[str]:
    """The text of `file` in blocks, without byte order mark.

    `encoding` is taken as said by a person; `declared` is what the file says of itself (a page's charset), believed when
    it is not UTF-8. Raises `GroundupError` naming the byte that is not of the encoding.
    """
    blocks = _blocks(file)
    if encoding is not None:
        yield from _strict(source, b"", blocks, check_encoding(encoding), 0, "as was asked")
        return
    first = next(blocks)
    for mark, name in _MARKS.items():
        if first.startswith(mark):
            _tell(remarks, source, name, f"files read as {name}, as their byte order mark says")
            yield from _strict(source, first, blocks, name, 0, "as its byte order mark says")
            return
    yield from _utf8(source, first, blocks, remarks, declared)


def whole_lines(source: Source, blocks: Iterable[str]) -> Iterator[str]:
    """The same text in blocks that end with a line (but the last may not): a row of any length is in one piece."""
    parts: list[str] = []
    n_held = 0
    for block in blocks:
        cut = block.rfind("\n") + 1
        if cut:
            yield "".join((*parts, block[:cut])) if parts else block[:cut]
            parts, n_held = [], 0
        if cut < len(block):
            parts.append(block[cut:])
            n_held += len(block) - cut
            if n_held > LONGEST_LINE:
                raise Unreadable(
                    source, f"no line end in {n_held:,} characters, so these are no rows; is it this format?"
                )
    if parts:
        yield "".join(parts)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
    yield b""


def _utf8(
    source: Source, first: bytes, blocks: Iterator[bytes], remarks: Counter[str], declared: str | None
) -> Iterator[str]:
    position, tail, block, is_first, is_ascii = 0, b"", first, True, True
    while True:
        data = tail + block if tail else block
        try:
            text, used = codecs.utf_8_decode(data, "strict", not block)
        except UnicodeDecodeError as error:
            break_at, is_cut = error.start, error.reason == "unexpected end of data"
            break
        if text:
            if is_first:
                check_is_text(source, data[: 1 << 12])
                text, is_first = text.removeprefix("\ufeff"), False
            is_ascii = is_ascii and text.isascii()
            yield text
        if not block:
            return
        position, tail = position + used, data[used:]
        block = next(blocks)
    if is_cut or not is_ascii or _is_mostly_utf8(data):
        raise Unreadable(
            source,
            f"not UTF-8: byte {position + break_at:,} is 0x{data[break_at]:02x}, after text that was UTF-8, so it is "
            "damaged, cut off or mixed; repair it (iconv -f UTF-8 -t UTF-8 -c drops such bytes), or give its encoding",
        )
    if is_first:
        check_is_text(source, data[: 1 << 12])
    encoding, why, data = _detect(source, data, position + break_at, blocks, remarks, declared)
    yield from _strict(source, data, chain(blocks, [b""]), encoding, position, why)


def _detect(
    source: Source, data: bytes, position: int, blocks: Iterator[bytes], remarks: Counter[str], declared: str | None
) -> tuple[str, str, bytes]:
    """The encoding of `data`, which is not UTF-8; how that is known; and `data` with what was read beyond it."""
    byte = next(value for value in data if value > 127)
    if declared is not None and _is_known(declared):
        name = check_encoding(declared)
        _tell(remarks, source, name, f"files read as {name}, as they say of themselves")
        return name, "as it says of itself", data
    begin = next(place for place, value in enumerate(data) if value > 127)
    begin = data.rfind(b"\n", 0, begin) + 1 if begin else 0
    while len(data) - begin < _SAMPLE_BYTES and (block := next(blocks, b"")):
        data += block
    sample = data[begin : begin + _SAMPLE_BYTES]
    if len(sample) == _SAMPLE_BYTES and (cut := sample.rfind(b"\n") + 1) > _SAMPLE_BYTES // 2:
        sample = sample[:cut]  # no character is cut in two
    try:
        import chardet
    except ImportError:
        raise missing_extra("chardet", "formats", f"telling the encoding of {source} (or say it: encoding)") from None
    found = chardet.detect(sample)
    name, confidence = found["encoding"], float(found["confidence"] or 0)
    if name is None or confidence < LEAST_CONFIDENCE or len(sample) < _LEAST_BYTES or not _shares_ascii(name):
        guess = f" ({name} is likeliest, with confidence {confidence:.2f})" if name else ""
        raise Unreadable(
            source,
            f"not UTF-8: byte {position:,} is 0x{byte:02x}, and its encoding cannot be told{guess}; give it by "
            "encoding (cp1252 is that of Western Windows)",
        )
    name = check_encoding(name)
    what = f"files read as {name}, detected with confidence {confidence:.2f} (encoding overrides)"
    _tell(remarks, source, name, what)
    return name, f"detected with confidence {confidence:.2f}", data


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether more characters beyond ASCII are whole than broken: damage; in another encoding a few are whole by chance."""
    text = data.decode("utf-8", "replace")
    n_broken = text.count("\ufffd")
    return len(text) - len(text.encode("ascii", "ignore")) - n_broken >= n_broken


def _shares_ascii(name: str) -> bool:
    """Whether ASCII means in this encoding what it means in UTF-8, as which the text before was handed on."""
    ascii = bytes(range(32, 127))
    return _is_known(name) and ascii.decode(name, "replace") == ascii.decode()


def _is_known(name: str) -> bool:
    try:
        check_encoding(name)
    except GroundupError:
        return False
    return True


def _tell(remarks: Counter[str], source: Source, name: str, what: str) -> None:
    count_first(remarks, what, source)
    if isinstance(remarks, Remarks):
        remarks.encodings[str(source)] = name


def _strict(
    source: Source, held: bytes, blocks: Iterator[bytes], encoding: str, position: int, why: str
) -> Iterator[str]:
    """Decode what is held and what follows; a byte that is not of the encoding is named by its place in the file."""
    decoder, is_first = codecs.getincrementaldecoder(encoding)("strict"), True
    for block in chain([held] if held else [], blocks):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise Unreadable(
                source,
                f"not {encoding} ({why}): byte {position - pending + error.start:,} is "
                f"0x{error.object[error.start]:02x}; give the encoding it was written in",
            ) from None
        except UnicodeError as error:  # utf-16 and utf-32 without the mark that tells the order of their bytes
            way_out = f"give {encoding}-le or {encoding}-be, or the encoding it was written in"
            raise Unreadable(source, f"not {encoding} ({why}): {error}; {way_out}") from None
        position += len(block)
        if text:
            yield text.removeprefix("\ufeff") if is_first else text
            is_first = False
