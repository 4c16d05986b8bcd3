from __future__ import annotations

from pathlib import Path

import pytest

from groundup.cli import main


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for i in range(12):
        (folder / f"{i:02d}.txt").write_text(f"the cat number {i} sees the dog, and the dog sees it. " * 20)
    return folder


@pytest.fixture(scope="module")
def tokenizer(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "tok"
    assert run("tokenizer", "train", text, "--vocab-size", 280, "--out", out) == 0
    return out


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_workers_make_the_same_folder(text: Path, tokenizer: Path, tmp_path: Path, capsys) -> None:
    said = []
    for name, flags in (("one", ()), ("two", ("--workers", 2))):
        assert run("data", "prepare", text, "--tokenizer", tokenizer, "--out", tmp_path / name, *flags) == 0
        said.append([line for line in capsys.readouterr().out.splitlines() if line.startswith(("train", "validation"))])
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert said[0] == said[1] and len(said[0]) == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--text-field", ""], "the text field is empty"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--slurm", "cpu"], "--slurm cpu: write KEY=VALUE"),
        (["--slurm", "partition=cpu"], "slurm needs time"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_flags_that_cannot_be(
    text: Path, tokenizer: Path, tmp_path: Path, capsys, flags: list[str], words: str
) -> None:
    pytest.importorskip("datatrove")
    assert run("data", "prepare", text, "--tokenizer", tokenizer, "--out", tmp_path / "data", *flags) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
