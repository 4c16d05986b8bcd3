"""Boilerplate counted exactly in bounded memory, and C4's line rules."""

from __future__ import annotations

from collections import Counter

import numpy as np

from groundup.data.cleaning import lines
from groundup.data.cleaning.figures import Measured
from groundup.data.cleaning.lines import LineCounts, as_c4_keeps, line_number, without_lines

NOTICE = "This site uses cookies to make things better."


def test_lines_are_counted_once_a_document_and_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_HELD", 50)  # so that heaps are written many times
    counts, expected = LineCounts(tmp_path), Counter()
    for i in range(300):
        own = {f"a line of its own with the letter {chr(97 + i % 7)}{chr(97 + i % 11)}", NOTICE if i % 3 else "short"}
        counts.add("\n".join([*own, *own]))
        expected.update(line for line in own if len(line) >= lines.SHORTEST_LINE)
    assert expected[NOTICE] == 200
    for fewest in (1, 5, 10, 200, 201):
        frequent = counts.frequent(fewest)
        assert set(frequent.tolist()) == {line_number(line) for line, count in expected.items() if count >= fewest}
        assert (np.diff(frequent.astype(object)) > 0).all()


def test_digits_and_blanks_at_the_ends_do_not_tell_lines_apart():
    assert line_number("  Page 3 of 120, chapter 7") == line_number("Page 45 of 9, chapter 12 ")
    assert line_number("Page three of the chapter") != line_number("Page four of the chapter")
    assert line_number("too short") == 0


def test_frequent_lines_are_taken_out():
    frequent = np.array([line_number(NOTICE)], np.uint64)
    text = f"Text.\n{NOTICE}\nMore text.\n  {NOTICE}\n"
    left, taken = without_lines(text, frequent)
    assert left == "Text.\nMore text.\n"
    assert taken == [NOTICE, "  " + NOTICE]
    assert without_lines("Text.\n", frequent) == ("Text.\n", [])
    assert without_lines(text, np.zeros(0, np.uint64)) == (text, [])


def test_c4_keeps_lines_that_are_sentences():
    text = "\n".join(
        [
            "Home | About | Contact",
            "This sentence has more than five words in it.",
            "Four words only here.",
            "Please enable Javascript to see this page.",
            "Read our privacy policy before you go on.",
            "It trails off after five words or more...",
            "“Quoted speech is a sentence as well.”",
        ]
    )
    left, taken = as_c4_keeps(Measured(text))
    assert left.split("\n") == [
        "This sentence has more than five words in it.",
        "“Quoted speech is a sentence as well.”",
    ]
    assert len(taken) == 5


def test_c4_does_not_count_words_where_none_are_written():
    text = "吾輩は猫である。\n名前\nどこで生れたかとんと見当がつかぬ。"
    assert as_c4_keeps(Measured(text)) == ("吾輩は猫である。\nどこで生れたかとんと見当がつかぬ。", ["名前"])
