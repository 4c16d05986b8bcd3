"""Stop strings are found wherever the pieces are cut, and no other text is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.generation.stops import StopStrings


def run(stops: list[str], pieces: list[str]) -> tuple[list[str], str | None]:
    """What is shown after each piece and at the end, and the stop that was met."""
    watcher = StopStrings(stops)
    shown = [watcher.push(piece) for piece in pieces]
    return [*shown, watcher.flush()], watcher.met


def by_reading_characters(stops: list[str], text: str) -> tuple[str, str | None]:
    """The plain meaning: read one character at a time, end when the text ends with a stop; the longest if several."""
    for end in range(1, len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            longest = max(met, key=len)
            return text[: end - len(longest)], longest
    return text, None


@pytest.mark.parametrize(
    ("stops", "pieces", "shown", "met"),
    [
        (["1,2"], ["1", ",", "1", ",", "2", "x"], ["", "", "1,", "", "", "", ""], "1,2"),
        (["END"], ["so E", "N", "D of"], ["so ", "", "", ""], "END"),
        (["END"], ["so E", "N", "T"], ["so ", "", "ENT", ""], None),
        (["END"], ["the E", "N"], ["the ", "", "EN"], None),
        (["aab"], ["a", "a", "a", "b"], ["", "", "a", "", ""], "aab"),
        (["abcd", "bc"], ["abcd"], ["a", ""], "bc"),
        (["bc", "abc"], ["abcd"], ["", ""], "abc"),
        (["x"], ["one", "", " two"], ["one", "", " two", ""], None),
        ([], ["any", "thing"], ["any", "thing", ""], None),
        (["\n\n"], ["line\n", "\nmore"], ["line", "", ""], "\n\n"),
    ],
)
def test_known_cases(stops, pieces, shown, met):
    assert run(stops, pieces) == (shown, met)


def test_nothing_comes_after_a_stop():
    watcher = StopStrings(["!"])
    assert [watcher.push("a!b"), watcher.push("c"), watcher.flush()] == ["a", "", ""]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.text("ab,", min_size=1, max_size=4), max_size=3),
    st.lists(st.text("ab,", max_size=5), max_size=10),
)
def test_pieces_make_no_difference(stops, pieces):
    shown, met = run(stops, pieces)
    assert ("".join(shown), met) == by_reading_characters(stops, "".join(pieces))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), st.text("ab", max_size=20))
def test_text_is_held_back_only_while_a_stop_may_begin_in_it(stops, text):
    watcher, shown = StopStrings(stops), ""
    for end, character in enumerate(text, start=1):
        shown += watcher.push(character)
        if watcher.met is not None:
            break
        held = text[len(shown) : end]
        assert not held or any(stop.startswith(held) for stop in stops)
