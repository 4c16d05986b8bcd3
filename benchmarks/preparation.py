"""How fast text becomes tokens: `python benchmarks/preparation.py [TEXT ...] [--megabytes 100] [--threads N]`.

Without TEXT it makes its own from what every Python carries: the standard library's sources and the interpreter's
documentation, their paragraphs dealt out anew until there is enough (so no two files are alike). Three forms of the
same text: many files, one file, and JSON lines of about 300 bytes, where overhead for each document would show.

Each form is prepared in a process of its own, `--repeats` times in turn; printed are the median seconds (survey,
encoding and writing included; the tokenizer is trained before, off the clock), the CPU time of the whole process,
MB/s and its peak memory. On a machine that others use, seconds are theirs too; CPU seconds / threads is what an idle
one could reach.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHILD = """
import json, resource, sys, time
from groundup.data.prepare import prepare
from groundup.tokenization.tokenizer import Tokenizer
text, tokenizer, out, n_threads = sys.argv[1:]
tokenizer = Tokenizer.load(tokenizer)
began = time.perf_counter()
store = prepare(text, tokenizer, out, n_threads=int(n_threads))
seconds = time.perf_counter() - began
cpu_seconds = time.process_time()
splits = store.split("train"), store.split("validation")
found = {name: sum(getattr(split, name) for split in splits) for name in ("n_bytes", "n_tokens", "n_documents")}
peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps(found | {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_rss_bytes": peak_rss_bytes}))
"""


def paragraphs() -> list[str]:
    """The paragraphs of the standard library's sources and of the interpreter's documentation."""
    import pydoc_data.topics

    found = list(pydoc_data.topics.topics.values())
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts and "test" not in path.parts:
            found.append(path.read_text(encoding="utf-8", errors="ignore"))
    return [paragraph for text in found for paragraph in text.split("\n\n") if paragraph.strip()]


def dealt(n_bytes: int) -> Iterator[str]:
    """Texts of about 50 kB until `n_bytes` are there: every round deals all paragraphs in another order."""
    chance, deck, given = random.Random(0), paragraphs(), 0
    while True:
        chance.shuffle(deck)
        hand: list[str] = []
        size = 0
        for paragraph in deck:
            hand.append(paragraph)
            size += len(paragraph.encode()) + 2
            if size >= 50_000:
                yield "\n\n".join(hand) + "\n"
                given += size
                hand, size = [], 0
                if given >= n_bytes:
                    return


def rows(text: str) -> Iterator[str]:
    """About 300 bytes of whole lines a row."""
    row = ""
    for line in text.splitlines(keepends=True):
        row += line
        if len(row) >= 260:
            yield row
            row = ""
    if row.strip():
        yield row


def make_corpora(folder: Path, n_bytes: int) -> dict[str, Path]:
    (folder / "files").mkdir()
    with open(folder / "one.txt", "w") as one, open(folder / "rows.jsonl", "w") as table:
        for i, text in enumerate(dealt(n_bytes)):
            (folder / "files" / f"{i:05d}.txt").write_text(text)
            one.write(text)
            for row in rows(text):
                table.write(json.dumps({"id": i, "text": row}, ensure_ascii=False) + "\n")
    return {"many files": folder / "files", "one file": folder / "one.txt", "300-byte rows": folder / "rows.jsonl"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=8192)
    arguments = parser.parse_args()

    from groundup.data.tokenizer_training import train_tokenizer

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpora = {str(path): path for path in arguments.text} or make_corpora(folder, arguments.megabytes * 10**6)
        sample = folder / "sample.txt"
        sample.write_text("\n\n".join(dealt(5_000_000)))
        train_tokenizer(sample, vocab_size=arguments.vocab_size, out=folder / "tokenizer")

        results: dict[str, list[dict]] = {name: [] for name in corpora}
        for repeat in range(arguments.repeats):
            for name, path in corpora.items():
                out = folder / f"out-{repeat}"
                command = [sys.executable, "-c", CHILD, path, folder / "tokenizer", out, arguments.threads]
                results[name].append(json.loads(subprocess.check_output([str(part) for part in command])))
                subprocess.run(["rm", "-r", str(out)], check=True)

    print(f"{arguments.threads} threads, vocabulary {arguments.vocab_size:,}, {arguments.repeats} repeats")
    print(
        f"{'text':16} {'MB':>7} {'documents':>10} {'tokens':>12} {'seconds':>8} {'CPU s':>6} {'MB/s':>6} {'peak MB':>8}"
    )
    for name, found in results.items():
        seconds = statistics.median(result["seconds"] for result in found)
        cpu_seconds = statistics.median(result["cpu_seconds"] for result in found)
        peak = max(result["peak_rss_bytes"] for result in found)
        first = found[0]
        megabytes = first["n_bytes"] / 1e6
        print(
            f"{name:16} {megabytes:7.1f} {first['n_documents']:10,} {first['n_tokens']:12,} "
            f"{seconds:8.2f} {cpu_seconds:6.1f} {megabytes / seconds:6.1f} {peak / 1e6:8.0f}"
        )


if __name__ == "__main__":
    main()
