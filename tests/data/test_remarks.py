from __future__ import annotations

from collections import Counter

import pytest

from groundup.core.errors import GroundupError
from groundup.data.remarks import MOST_PLACES, Remarks, count_first, counted, documents, reject_row


def test_the_first_place_is_kept_and_all_are_counted() -> None:
    remarks: Counter[str] = Counter()
    for place in ("a:1", "b:2", "c:3"):
        count_first(remarks, "odd rows", place)
    count_first(remarks, "odd rows of another kind", "d:4")
    assert remarks == {"odd rows (first: a:1)": 3, "odd rows of another kind (first: d:4)": 1}


def test_a_million_bad_rows_fill_no_memory() -> None:
    remarks = Remarks()
    for number in range(5000):
        reject_row(remarks, f"a:{number}", "not valid JSON", f": row {number}", on_bad_row="skip")
    assert remarks == {"rows rejected: not valid JSON (first: a:0)": 5000}
    assert remarks.n_rejected == 5000
    assert len(remarks.rejected) == MOST_PLACES
    assert remarks.rejected[1] == ("a:1", "not valid JSON: row 1")


def test_stopping_names_the_row_and_the_way_out() -> None:
    with pytest.raises(GroundupError, match=r"a:7: no output \(x\); name it; or leave such rows out, counted"):
        reject_row(Counter(), "a:7", "no output", " (x)", "name it")


def test_remarks_of_later_files_are_added_and_the_first_place_stays() -> None:
    from groundup.data.remarks import add_remarks

    remarks: Counter[str] = Counter({"rows rejected: no text (first: a:3)": 2, "empty files": 1})
    add_remarks(remarks, {"rows rejected: no text (first: b:1)": 5, "empty files": 2, "rows (first: c:9)": 1})
    assert remarks == {"rows rejected: no text (first: a:3)": 7, "empty files": 3, "rows (first: c:9)": 1}


def test_one_and_several() -> None:
    assert counted(1, "empty files, left out") == "1 empty file, left out"
    assert counted(2, "empty files, left out") == "2 empty files, left out"
    assert counted(1, "rows rejected: no rows") == "1 row rejected: no rows"
    assert counted(1, "profiles") == "1 profiles"  # no word of ours
    assert documents(1) == "1 document"
    assert documents(12_000) == "12,000 documents"
