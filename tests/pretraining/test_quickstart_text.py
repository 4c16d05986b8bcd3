"""The text that every Python carries becomes readable documents, whatever this Python lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.pretraining import quickstart_text
from groundup.pretraining.quickstart_text import (
    SHORTEST_DOCUMENT,
    library_sources,
    manual_topics,
    module_document,
    write_quickstart_text,
)

PROSE = "It reads what it is given and hands back what was asked for, and says so when it cannot. " * 6


def test_this_python_gives_a_megabyte_of_the_manual(tmp_path: Path):
    summary = write_quickstart_text(tmp_path / "text")
    files = sorted((tmp_path / "text").rglob("*.txt"))
    assert summary.n_topics + summary.n_modules == len(files)
    assert summary.n_bytes == sum(file.stat().st_size for file in files) > 1_000_000
    assert summary.missing == ()
    assert "conditional execution" in (tmp_path / "text" / "topics" / "if.txt").read_text(encoding="utf-8")
    library = tmp_path / "text" / "library"
    assert 'Serialize "obj" as a JSON formatted stream' in (library / "json.txt").read_text(encoding="utf-8")
    assert not [file for file in files if file.stat().st_size < SHORTEST_DOCUMENT]
    everything = "".join(file.read_text(encoding="utf-8") for file in files)
    assert ">>> " not in "".join(file.read_text(encoding="utf-8") for file in library.iterdir())
    assert ":class:`" not in everything
    assert "\n\n\n" not in everything


def test_writing_again_replaces_the_folder_with_the_same_bytes(tmp_path: Path):
    first = write_quickstart_text(tmp_path / "text")
    content = {file.name: file.read_bytes() for file in (tmp_path / "text").rglob("*.txt")}
    (tmp_path / "text" / "topics" / "stray.txt").write_text("left from before")
    assert write_quickstart_text(tmp_path / "text") == first
    assert {file.name: file.read_bytes() for file in (tmp_path / "text").rglob("*.txt")} == content


@pytest.mark.parametrize("mine", ["notes.txt", "topics/notes.doc", "photos/cat.txt", "topics"])
def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, mine: str):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    with pytest.raises(GroundupError, match="holds other files"):
        write_quickstart_text(tmp_path)
    assert (tmp_path / mine).read_text() == "mine"
    assert len(list(tmp_path.rglob("*.*"))) == (mine != "topics")


def test_a_module_reads_as_its_manual():
    source = f'''
"""A parser of dates.

{PROSE}

    >>> parse("1 May")
    (5, 1)

See :class:`~dates.Date`, :ref:`the grammar <grammar>`, ``strftime`` and `locale'.
"""

class Date:
    """A day of a year, {PROSE}"""

    def week(self, first: int = 1, *, iso=True) -> int:
        """The number of the week it lies in, counted as the calendar on the wall counts it::

            date.week()

        Weeks begin on Monday.
        """

    def _secret(self):
        """{PROSE}"""

def parse(text): "Short."

async def later(when, /):
    r"""Wait for a day in the future, \\d days away, and then say which one of them it was."""
'''
    prose = PROSE.strip()
    assert module_document("dates", source) == (
        f"The dates module\n\nA parser of dates.\n\n{prose}\n\n"
        'See "dates.Date", "the grammar", "strftime" and "locale".\n\n' + f"class Date\n\nA day of a year, {prose}\n\n"
        "Date.week(first: int=1, *, iso=True)\n\n"
        "The number of the week it lies in, counted as the calendar on the wall counts it:\n\n"
        "    date.week()\n\nWeeks begin on Monday.\n\n"
        "later(when, /)\n\n"
        "Wait for a day in the future, \\d days away, and then say which one of them it was."
    )


def test_tables_and_tiny_modules_are_left_out():
    table = "+------+-----+\n| name | use |\n+======+=====+\n| a    | b   |\n+------+-----+\n"
    document = module_document("m", f'"""{PROSE}\n\n{table}\nThe end."""')
    assert document is not None
    assert "|" not in document
    assert "+--" not in document
    assert document.endswith("\n\nThe end.")
    assert module_document("tiny", '"""Nothing to see here, move along please, there is nothing."""') is None


def test_only_public_modules_in_the_order_of_their_paths(tmp_path: Path):
    for name in ("b.py", "a/__init__.py", "a/_c.py", "a/d.py", "_e.py", "test/f.py", "site-packages/g.py", "h.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert [name for name, _ in library_sources(tmp_path)] == ["a", "a.d", "b"]


def test_what_a_slim_python_lacks_is_named_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    library = tmp_path / "lib"
    library.mkdir()
    (library / "good.py").write_text(f'"""{PROSE}"""')
    (library / "bad.py").write_text("def (:")
    (library / "binary.py").write_bytes(b'"""\xff\xfe"""')
    monkeypatch.setattr(quickstart_text.sysconfig, "get_path", lambda _: str(library))
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)  # importing it now raises ImportError
    assert manual_topics() == {}
    summary = write_quickstart_text(tmp_path / "text")
    assert (summary.n_topics, summary.n_modules, summary.n_unreadable) == (0, 1, 2)
    assert "2 sources could not be read" in str(summary)
    assert "lacks the manual's topics" in str(summary)


def test_a_python_without_any_text_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(quickstart_text.sysconfig, "get_path", lambda _: str(tmp_path / "lib"))
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ValueError, match="groundup pretrain YOUR_TEXT"):
        write_quickstart_text(tmp_path / "text")
    assert not (tmp_path / "text").exists()
