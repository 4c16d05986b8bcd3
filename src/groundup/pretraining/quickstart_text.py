"""The text every Python carries: the manual's topics and the standard library's docstrings, as documents.

`groundup quickstart` needs real text on a machine with no network and no licence question. The interpreter ships some:
`pydoc_data.topics` is the language reference behind `help("if")`, and the standard library's own sources are full of
documentation. The sources are parsed, never imported: nothing runs, and nothing depends on what is installed beside
them. The same Python gives the same bytes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.files import folder_written_atomically, readable_bytes

SHORTEST_DOCUMENT = 400  # characters; below this a "document" is a title and a sentence, and teaches where to stop
SHORTEST_DOCSTRING = 60  # characters; "See base class." and its kin
LEFT_OUT = {
    "__pycache__",
    "ensurepip",  # carries another project's wheels
    "idlelib",  # an application, not a library
    "lib2to3",
    "pydoc_data",  # is read as topics
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}

_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`[~.]?([^`<]+?)(?:\s*<[^`>]*>)?`")  # :class:`~a.B`, and :ref:`title <label>`
_LITERAL = re.compile(r"``([^`\n]+)``|`([^`'\n]+)[`']")  # ``code``, `name` and the older `name'
_TABLE_LINE = re.compile(r"\s*[+|].*[+|]\s*")  # the frames and rows of text tables
_DOCTEST = re.compile(r"\s*(>>>|\.\.\. |\.\.\.$)")


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class QuickstartText:
    """What `write_quickstart_text` wrote, and what this Python did not have."""

    folder: Path
    n_topics: int
    n_modules: int
    n_bytes: int
    n_unreadable: int  # sources of the standard library that could not be read or parsed
    missing: tuple[str, ...]  # parts of a full Python that are absent here

    def __str__(self) -> str:
        parts = f"{self.n_topics} topics of the Python manual and the docstrings of {self.n_modules} modules"
        left_out = f"; {self.n_unreadable} sources could not be read" if self.n_unreadable else ""
        absent = f"; this Python lacks {' and '.join(self.missing)}" if self.missing else ""
        return f"{readable_bytes(self.n_bytes)} of text ({parts}){left_out}{absent}"


def write_quickstart_text(folder: str | Path) -> QuickstartText:
    """Write the documentation of the running Python into `folder`, one `.txt` file a document, and say what was found.

    Files are named `topics/NAME.txt` and `library/MODULE.txt`. What a slimmed-down Python lacks (some distributions
    leave out `pydoc_data` or ship the library compiled only) is counted and named in the summary. A folder written
    here before is replaced. Raises `GroundupError` when there is no text at all, and when `folder` holds anything else.
    """
    folder = Path(folder)
    if not _may_be_replaced(folder):
        raise GroundupError(
            f"{folder} holds other files, which the text would replace; choose an empty or a new folder"
        )
    topics = manual_topics()
    library = Path(sysconfig.get_path("stdlib"))
    modules: dict[str, str] = {}
    n_unreadable = 0
    for name, path in library_sources(library):
        try:
            text = module_document(name, path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):  # ValueError: not UTF-8, or a null byte in the source
            n_unreadable += 1
            continue
        if text is not None:
            modules[name] = text
    if not topics and not modules:
        raise GroundupError(
            f"this Python carries no documentation (no pydoc_data, no sources in {library}); "
            "use another Python or your own text: groundup pretrain YOUR_TEXT"
        )
    n_bytes = 0
    with folder_written_atomically(folder) as temporary:
        for kind, documents in (("topics", topics), ("library", modules)):
            (temporary / kind).mkdir()
            for name, text in documents.items():
                data = text.encode("utf-8")
                (temporary / kind / f"{name}.txt").write_bytes(data)
                n_bytes += len(data)
    missing = (("the manual's topics (pydoc_data)",) if not topics else ()) + (
        ("the sources of the standard library",) if not modules else ()
    )
    return QuickstartText(folder, len(topics), len(modules), n_bytes, n_unreadable, missing)


def _may_be_replaced(folder: Path) -> bool:
    """Whether there is nothing in `folder` but text as it is written here."""
    if not folder.is_dir():
        return True
    parts = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name in ("topics", "library")]
    inside = [entry for part in parts for entry in part.iterdir()]
    return len(parts) == len(list(folder.iterdir())) and all(entry.suffix == ".txt" for entry in inside)


def manual_topics() -> dict[str, str]:
    """The language reference behind `help()`: a document a topic, in the order of their names; empty when absent."""
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return {}
    documents = {}
    for name in sorted(topics):
        lines = (line.rstrip() for line in topics[name].splitlines())
        text = _squeeze("\n".join(line for line in lines if not _TABLE_LINE.fullmatch(line)))
        if len(text) >= SHORTEST_DOCUMENT:
            documents[name] = text
    return documents


def library_sources(library: Path) -> Iterator[tuple[str, Path]]:
    """(module name, file) of every public module under `library`, in the order of their paths."""
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if not LEFT_OUT.intersection(parts) and not re.search(r"(^|\.)_", name):
            yield name, path


def module_document(name: str, source: str) -> str | None:
    """The documentation in a module's `source` as one text, public names only; None when there is too little of it."""
    tree = ast.parse(source)
    sections = [f"The {name} module"]
    if (text := _documentation(tree)) is not None:
        sections.append(text)
    sections += _members(tree, prefix="")
    document = _squeeze("\n\n".join(sections))
    return document if len(document) >= SHORTEST_DOCUMENT else None


def _members(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    """Heading and documentation of each public class, function and method of `parent`, in the order of the source."""
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        text = _documentation(node)
        if isinstance(node, ast.ClassDef):
            if text is not None:
                yield f"class {prefix}{node.name}\n\n{text}"
            yield from _members(node, prefix=f"{prefix}{node.name}.")
        elif text is not None:
            arguments = ast.unparse(node.args).removeprefix("self").removeprefix("cls").removeprefix(", ")
            yield f"{prefix}{node.name}({arguments})\n\n{text}"


def _documentation(node: Documented) -> str | None:
    """The docstring of `node` as plain prose; None when too short."""
    text = plain_docstring(node)
    return text if text is not None and len(text) >= SHORTEST_DOCSTRING else None


def plain_docstring(node: Documented) -> str | None:
    """The docstring of `node` as `plain_prose`; None when it has none."""
    docstring = ast.get_docstring(node, clean=False)
    return None if docstring is None else plain_prose(docstring)


def plain_prose(docstring: str) -> str:
    """A docstring without roles, tables and interpreter sessions."""
    lines: list[str] = []
    in_session = False  # a session runs from its first >>> to the next blank line: what it printed goes with it
    for line in inspect.cleandoc(docstring).splitlines():
        in_session = bool(line.strip()) and (in_session or _DOCTEST.match(line) is not None)
        if not in_session and not _TABLE_LINE.fullmatch(line):
            lines.append(line.rstrip())
    text = _LITERAL.sub(lambda found: f'"{found[1] or found[2]}"', _ROLE.sub(r'"\1"', "\n".join(lines)))
    return _squeeze(text.replace("::\n", ":\n"))


def _squeeze(text: str) -> str:
    """At most one blank line between paragraphs, none around, a newline at the end of the last line only."""
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")
