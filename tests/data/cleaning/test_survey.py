"""The first look: what is counted, what is sampled, what is left for the judges."""

from __future__ import annotations

import json

import numpy as np

from groundup.data.cleaning import survey as survey_module
from groundup.data.cleaning.documents import Corpus
from groundup.data.cleaning.lines import line_number
from groundup.data.cleaning.survey import load_findings, survey
from groundup.data.reading import Reading
from groundup.data.sources import list_sources

NOTICE = "Copyright by the owners of this page, all rights reserved."


def corpus_of(folder, n_documents: int) -> Corpus:
    texts = [
        f"{NOTICE}\nDocument {i} has words enough of its own, number {i * 7}, to be told from all others. " * 2
        for i in range(n_documents)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus(list_sources(folder / "a.jsonl"), Reading())


def looked(tmp_path, n_documents, groups=("boilerplate", "perplexity"), **settings):
    findings = tmp_path / "findings"
    findings.mkdir(exist_ok=True)
    told: list[float] = []
    settings = {"boilerplate_documents": 10, "seed": 0} | settings
    found = survey(corpus_of(tmp_path, n_documents), groups, findings, advance=told.append, **settings)
    assert sum(told) == (tmp_path / "a.jsonl").stat().st_size
    return found, findings


def test_what_is_found_is_what_is_loaded(tmp_path):
    found, findings = looked(tmp_path, 100)
    frequent, reference = load_findings(findings)
    assert found.n_documents == 100
    assert line_number(NOTICE) in frequent.tolist() and (frequent == found.frequent_lines).all()
    assert reference is not None and found.reference is not None
    assert (reference.usual == found.reference.usual).all()


def test_fewer_documents_than_asked_for_make_no_boilerplate(tmp_path):
    found, _ = looked(tmp_path, 9)
    assert len(found.frequent_lines) == 0 and found.reference is None
    assert looked(tmp_path, 9, boilerplate_documents=9)[0].frequent_lines.size > 0


def test_the_sample_is_bounded_and_the_seed_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(survey_module, "SAMPLE_CHARACTERS", 5000)
    first, again, other = (looked(tmp_path, 400, seed=seed)[0] for seed in (0, 0, 1))
    assert 10 < first.n_sampled < 100
    assert first.sample_words == again.sample_words != other.sample_words


def test_nothing_asked_nothing_found(tmp_path):
    found, findings = looked(tmp_path, 20, groups=())
    assert found.reference is None and found.n_sampled == 0 and found.frequent_lines.dtype == np.uint64
    assert load_findings(findings)[1] is None
