from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data import decoding
from groundup.data import split as split_module
from groundup.data.formats import text as text_files
from groundup.data.reading import Reading
from groundup.data.sources import list_sources
from groundup.data.split import Survey, sided_pieces, survey


def write_rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def divide(paths, **how) -> tuple[list[str], list[str], Survey]:
    """The documents (or parts of them) of both sides; a part that is not closed by end of text ends with a mark."""
    separator = how.pop("separator", None)
    sources, reading = list_sources(paths), Reading(None, separator)
    found = survey(sources, reading, **how)
    parts: tuple[list[str], list[str]] = ([], [])
    current = ["", ""]
    for side, text, ends in sided_pieces(sources, reading, found):
        current[side] += text
        if ends:
            parts[side].append(current[side])
            current[side] = ""
    for side, text in enumerate(current):
        if text:
            parts[side].append(text + "|not closed|")
    return *parts, found


def story(i: int, n: int = 300) -> str:
    chance = random.Random(i)
    return " ".join(chance.choice(["one", "two", "three", "four", "five", "six", "seven"]) for _ in range(n))


def test_by_document_takes_the_wanted_share(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [f"{i:04d}" + "x" * 96 for i in range(1000)])
    train, validation, found = divide(path)
    assert (len(train), len(validation)) == (900, 100)
    assert sorted(train + validation) == sorted(f"{i:04d}" + "x" * 96 for i in range(1000))
    assert (found.by, found.n_documents, found.n_bytes) == ("document", 1000, 100_000)
    assert len(divide(path, fraction=0.25)[1]) == 250
    assert len(divide(path, fraction=0.0)[1]) == 0


def test_ten_equal_documents_give_one(tmp_path: Path) -> None:
    train, validation, _ = divide(write_rows(tmp_path / "a.jsonl", [f"document {i}" for i in range(10)]))
    assert (len(train), len(validation)) == (9, 1)


def test_the_default_is_at_most_20_megabytes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(split_module, "DEFAULT_MOST_BYTES", 500)
    path = write_rows(tmp_path / "a.jsonl", [f"{i:04d}" + "x" * 96 for i in range(100)])
    assert len(divide(path)[1]) == 5
    assert len(divide(path, fraction=0.1)[1]) == 10  # what was asked for is done


def test_one_giant_among_many_is_not_all_of_the_validation(tmp_path: Path) -> None:
    """Whatever its hash: the giant alone is most of the text."""
    texts = ["y" * 100_000, *(f"{i:04d}" + "x" * 96 for i in range(100))]
    for seed in range(20):
        _, validation, _ = divide(write_rows(tmp_path / "a.jsonl", texts), seed=seed)
        assert validation
        assert sum(map(len, validation)) <= 11_000


def test_the_side_follows_from_the_text_alone(tmp_path: Path) -> None:
    """Other order, other files, other kinds: the same documents are kept, as long as the amounts are the same."""
    texts = [story(i) for i in range(60)]
    _, first, _ = divide(write_rows(tmp_path / "a.jsonl", texts))
    (tmp_path / "b").mkdir()
    for i, text in enumerate(texts[30:]):
        (tmp_path / "b" / f"{i}.txt").write_text(text)
    write_rows(tmp_path / "b" / "rest.jsonl", texts[:30][::-1])
    _, second, _ = divide(tmp_path / "b")
    assert set(first) == set(second)
    assert set(divide(tmp_path / "a.jsonl", seed=1)[1]) != set(first)


def test_exact_duplicates_fall_on_one_side(tmp_path: Path) -> None:
    texts = [story(i % 40) for i in range(200)]
    write_rows(tmp_path / "a.jsonl", texts)
    for i in range(40):
        (tmp_path / f"copy-{i}.txt").write_text(story(i))
    train, validation, _ = divide(tmp_path)
    assert len(train) + len(validation) == 240
    assert validation
    assert not set(train) & set(validation)


def test_long_duplicates_too_whatever_pieces_they_come_in(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 300)
    monkeypatch.setattr(text_files, "HEAD_CHARACTERS", 64)
    monkeypatch.setattr(split_module, "HEAD_CHARACTERS", 64)
    texts = [story(i) + "ü" for i in range(20)]
    write_rows(tmp_path / "a.jsonl", texts)
    (tmp_path / "b.txt").write_text("\n--\n".join(texts))
    train, validation, _ = divide(tmp_path, separator="--")
    assert len(train) + len(validation) == 40
    assert sorted(set(validation) | set(train)) == sorted(texts)
    assert validation
    assert not set(train) & set(validation)


def test_one_document_is_cut_at_a_line(tmp_path: Path) -> None:
    text = "".join(f"Line {i:03d} of the book.\n" for i in range(100))
    (tmp_path / "book.txt").write_text(text)
    train, validation, found = divide(tmp_path / "book.txt")
    assert found.by == "block"
    assert train == ["".join(f"Line {i:03d} of the book.\n" for i in range(90)) + "|not closed|"]
    assert validation == ["".join(f"Line {i:03d} of the book.\n" for i in range(90, 100))]


def test_a_few_documents_give_their_tails_and_are_kept_apart(tmp_path: Path) -> None:
    """Each head but the last is closed by end of text, or two documents would be one to attention."""
    texts = [f"a{i} line\n" * 200 for i in range(3)]
    train, validation, found = divide(write_rows(tmp_path / "a.jsonl", texts), fraction=0.2)
    assert len(found.borders) == 3
    assert train == [
        texts[0][: found.borders[0]],
        texts[1][: found.borders[1]],
        texts[2][: found.borders[2]] + "|not closed|",
    ]
    assert validation == [text[at:] for text, at in zip(texts, found.borders, strict=True)]
    assert all(0.19 < len(tail) / len(text) < 0.22 for tail, text in zip(validation, texts, strict=True))


@pytest.mark.parametrize("block", [1, 3, 50, 1 << 18])
def test_blocks_do_not_depend_on_the_pieces(tmp_path: Path, monkeypatch, block: int) -> None:
    (tmp_path / "a.txt").write_text("wörd " * 100 + "\n" + "tail " * 11)
    whole = divide(tmp_path / "a.txt")
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    assert divide(tmp_path / "a.txt") == whole


def test_without_lines_the_cut_is_before_a_word_and_never_far_off(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("title\n" + "wordword " * 200)
    train, validation, _ = divide(tmp_path / "a.txt")
    assert train[0].startswith("title")
    assert validation[0].startswith("wordword")
    assert 0.09 < len(validation[0]) / 1806 < 0.16
    (tmp_path / "b.txt").write_text("x" * 1000)
    assert [len(v) for v in divide(tmp_path / "b.txt")[1]] == [100]


@pytest.mark.parametrize("n", [1, 2, 4, 9, 10, 30])
def test_texts_too_short_to_cut_lose_nothing(tmp_path: Path, n: int) -> None:
    (tmp_path / "a.txt").write_text("x" * n)
    train, validation, _ = divide(tmp_path / "a.txt")
    assert "".join(train + validation).replace("|not closed|", "") == "x" * n
    assert train


def test_ten_documents_each_over_the_share_are_cut(tmp_path: Path, monkeypatch) -> None:
    path = write_rows(tmp_path / "a.jsonl", [story(i) for i in range(12)])
    _, validation, found = divide(path, fraction=0.01)
    assert found.by == "block"
    assert len(validation) == 12
    assert sum(map(len, validation)) < 0.02 * found.n_bytes


def test_all_documents_alike(tmp_path: Path, monkeypatch) -> None:
    path = write_rows(tmp_path / "a.jsonl", ["the same text, and so on"] * 30)
    train, validation, found = divide(path)
    assert found.by == "block"
    assert len(train) == len(validation) == 30
    monkeypatch.setattr(split_module, "_MOST_TO_CUT", 20)
    with pytest.raises(GroundupError, match="all 30 documents are the same text"):
        divide(path)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 3])
def test_a_fraction_that_is_none(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(GroundupError, match=r"validation_fraction is .* at least 0 and less than 1"):
        divide(write_rows(tmp_path / "a.jsonl", ["x"]), fraction=fraction)


def test_nothing_but_empty_rows(tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match=r"a\.jsonl: no text in there"):
        divide(write_rows(tmp_path / "a.jsonl", ["", ""]))


def test_a_text_that_spells_end_of_text_is_remarked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one<|endoftext|>two<|endoftext|>")
    remarks: Counter[str] = Counter()
    survey(list_sources(tmp_path), Reading(), remarks=remarks)
    ((what, count),) = remarks.items()
    assert count == 2
    assert "<|endoftext|>" in what
    remarks.clear()
    survey(list_sources(tmp_path), Reading(separator="<|endoftext|>"), remarks=remarks)
    assert not remarks


def test_a_file_that_changes_meanwhile_stops_the_work(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [story(i) for i in range(20)])
    sources = list_sources(path)
    found = survey(sources, Reading())
    write_rows(path, [story(i) for i in range(21)])
    with pytest.raises(GroundupError, match=r"a\.jsonl changed while it was being read"):
        list(sided_pieces(sources, Reading(), found))


def test_progress_adds_up_to_the_bytes_of_the_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(split_module, "_TELL_EVERY", 1000)
    write_rows(tmp_path / "a.jsonl", [story(i) for i in range(20)])
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(story(1).encode()))
    told: list[int] = []
    sources = list_sources(tmp_path)
    survey(sources, Reading(), advance=told.append)
    assert len(told) > 10
    assert min(told) > 0
    assert sum(told) == sum(source.n_bytes for source in sources)
