"""Speed of inspecting, a group of rules at a time: megabytes a second on one core.

    OMP_NUM_THREADS=1 python benchmarks/cleaning.py ../shared/data/corpora/{sotu_1790_2026,c4_demo_300}.jsonl

Each figure is the text's size over the median CPU time of three passes through the judge alone, in turn; reading,
the survey and the comparison of documents are measured by themselves.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from groundup.data.cleaning.documents import Corpus
from groundup.data.cleaning.judge import Judge
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.survey import survey
from groundup.data.duplicates.exact import ExactDuplicates
from groundup.data.duplicates.near import NearDuplicates
from groundup.data.reading import Reading
from groundup.data.sources import list_sources

SETS = {
    "default": ("default",),
    "repair": ("repair",),
    "hidden": ("hidden",),
    "privacy": ("privacy",),
    "gopher_quality": ("gopher_quality",),
    "gopher_repetition": ("gopher_repetition",),
    "c4": ("c4",),
    "fineweb": ("fineweb",),
    "symbols": ("symbols",),
    "language": ("language",),
    "boilerplate": ("boilerplate",),
    "perplexity, gibberish": ("perplexity", "gibberish"),
    "all of these": (
        "default",
        "gopher",
        "c4",
        "fineweb",
        "symbols",
        "language",
        "boilerplate",
        "perplexity",
        "gibberish",
    ),
}


def main() -> None:
    corpus = Corpus(list_sources([Path(path) for path in sys.argv[1:]]), Reading())
    began = time.process_time()
    texts = [document.text for document in corpus.documents()]
    seconds = time.process_time() - began
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {megabytes:.1f} MB")
    print(f"{'reading':<24}{megabytes / seconds:8.1f} MB/s")
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        groups = ("boilerplate", "perplexity")
        survey(corpus, groups, Path(folder), boilerplate_documents=10, seed=0, advance=lambda amount: None)
        print(f"{'survey':<24}{megabytes / (time.process_time() - began):8.1f} MB/s")
        judges = {name: Judge(CleanConfig(rules=rules), Path(folder), is_final=True) for name, rules in SETS.items()}
        times: dict[str, list[float]] = {name: [] for name in SETS}
        for _ in range(3):
            for name, judge in judges.items():
                began = time.process_time()
                for text in texts:
                    judge(text)
                times[name].append(time.process_time() - began)
    for name, found in times.items():
        print(f"{name:<24}{megabytes / statistics.median(found):8.1f} MB/s")
    began = time.process_time()
    exact = ExactDuplicates()
    for text in texts:
        exact.first_of(text)
    print(f"{'exact duplicates':<24}{megabytes / (time.process_time() - began):8.1f} MB/s")
    began = time.process_time()
    NearDuplicates().first_of_many(texts)
    print(f"{'near duplicates':<24}{megabytes / (time.process_time() - began):8.1f} MB/s")


if __name__ == "__main__":
    main()
