from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from groundup.data.reading_records import read_records
from groundup.inspect.corpus_files import corpus_terminal, look_at_files


def shown(records, looks) -> str:
    console = Console(width=160, no_color=True)
    with console.capture() as capture:
        console.print(corpus_terminal(looks, records))
    return capture.get()


def test_every_file_is_told_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Plain [bold]text[/bold]\x1b[31m.")
    (tmp_path / "b.jsonl").write_text(
        "\n".join(json.dumps({"instruction": "Add", "output": str(i) if i else None}) for i in range(4))
    )
    (tmp_path / "c.csv").write_text("a,b\n1,2\n")
    (tmp_path / "d.pdf").write_bytes(b"%PDF nothing")
    records = read_records(tmp_path)
    told = []
    looks = look_at_files(records, told.append)
    found = {
        Path(look.name).name: (look.format, look.kind, look.n_rows, look.n_rejected) for look in looks if not look.error
    }
    assert found == {"a.txt": ("text", "document", 1, 0), "b.jsonl": ("alpaca", "conversation", 4, 1)}
    errors = {Path(look.name).name: look.error for look in looks if look.error}
    assert errors["c.csv"].startswith("rows of no shape that is known; they have 'a', 'b'")
    assert errors["d.pdf"].startswith("damaged or no PDF")
    assert sum(told) == sum(path.stat().st_size for path in tmp_path.iterdir())
    text = shown(records, looks)
    assert "2 files read, 2 not; 5 rows and documents, 1 rejected" in text
    assert f"rejected    {tmp_path}/b.jsonl:1: no output" in text
    assert "Plain [bold]text[/bold]" in text and "\x1b" not in text
    assert "user: Add" in text and "assistant: 1" in text


def test_rows_of_a_file_of_nothing_else_are_counted_as_rejected(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text("[1]\n2\n")
    (tmp_path / "none.jsonl").write_text('{"instruction": "Add", "output": null}\n')
    records = read_records(tmp_path)
    looks = look_at_files(records)
    assert [(look.n_rows, look.n_rejected, bool(look.error)) for look in looks] == [(0, 2, True), (0, 1, True)]
    text = shown(records, looks)
    assert "0 files read, 2 not; 0 rows and documents, 3 rejected" in text
    assert text.count("rejected    ") == 3


def test_many_files_alike_are_one_row(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number:02d}.txt").write_text(f"Text {number}")
    records = read_records(tmp_path)
    text = shown(records, look_at_files(records))
    assert "(60 files)" in text
    assert len(text.splitlines()) < 12
