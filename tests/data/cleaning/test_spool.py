"""Documents set down, and taken up again without the passages that repeat."""

from __future__ import annotations

from pathlib import Path

from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.spool import Spool
from groundup.data.cleaning.together import Item

PASSAGE = "all of this stands in two of the documents word for word"


def test_a_passage_is_cut_between_words_from_all_documents_but_the_first(tmp_path: Path) -> None:
    texts = [
        f"One begins, then {PASSAGE} ends.",
        "Nothing like it.",
        f"Three begins otherwise: {PASSAGE}, and goes on.",
    ]
    spool = Spool(tmp_path / "kept.jsonl", 40)
    for number, text in enumerate(texts):
        spool.add(Item(Document(number, "a.txt", number, text), Verdict(text), []))
    found = list(spool.cut())
    assert [item.document.text for item, _ in found] == texts
    assert [len(passages) for _, passages in found] == [0, 0, 1]
    assert [item.verdict.text for item, _ in found][:2] == texts[:2]
    item, (passage,) = found[2]
    assert passage.strip() == PASSAGE
    assert item.verdict.text.split() == ["Three", "begins", "otherwise:", ",", "and", "goes", "on."]
    assert item.verdict.edits["substrings"] == 1
