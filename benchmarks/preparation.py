"""How fast text becomes tokens: `python benchmarks/preparation.py [TEXT ...] [--megabytes 100 1000] [--workers N]`.

Without TEXT it makes its own from what every Python carries: the standard library's sources and the interpreter's
documentation, their paragraphs dealt out anew until there is enough (so no two files are alike). Three forms of the
same text: many files, one file, and JSON lines of about 300 bytes, where overhead for each document would show.

Each form is prepared in a process of its own, `--repeats` times in turn; printed are the median seconds (survey,
encoding and writing included; the tokenizer is trained before, off the clock), the CPU time of the whole process,
MB/s and its peak memory (with `--workers`, that of the process that leads and of all workers, each as if it were the
largest). Several sizes show whether memory grows with the text. On a machine that others use, seconds are theirs too;
CPU seconds / cores is what an idle one could reach, and the load before each size is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
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
text, tokenizer, out, n_threads, n_workers = sys.argv[1:]
n_workers = int(n_workers) or None
tokenizer = Tokenizer.load(tokenizer)
began = time.perf_counter()
store = prepare(text, tokenizer, out, n_threads=1 if n_workers else int(n_threads), n_workers=n_workers)
seconds = time.perf_counter() - began
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu_seconds = sum(each.ru_utime + each.ru_stime for each in used)
splits = store.split("train"), store.split("validation")
found = {name: sum(getattr(split, name) for split in splits) for name in ("n_bytes", "n_tokens", "n_documents")}
peak_rss_bytes = 1024 * (used[0].ru_maxrss + (n_workers or 0) * used[1].ru_maxrss)
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


def make_corpora(folder: Path, n_bytes: int, forms: list[str]) -> dict[str, Path]:
    """The same text in each of `forms`, under `folder`."""
    paths = {"many files": folder / "files", "one file": folder / "one.txt", "300-byte rows": folder / "rows.jsonl"}
    paths["files of rows"] = folder / "tables"
    (folder / "files").mkdir(parents=True)
    (folder / "tables").mkdir()
    with open(paths["one file"], "w") as one, open(paths["300-byte rows"], "w") as table:
        for i, text in enumerate(dealt(n_bytes)):
            if "many files" in forms:
                (folder / "files" / f"{i:05d}.txt").write_text(text)
            if "one file" in forms:
                one.write(text)
            lines = [json.dumps({"id": i, "text": row}, ensure_ascii=False) + "\n" for row in rows(text)]
            if "300-byte rows" in forms:
                table.writelines(lines)
            if "files of rows" in forms:
                with open(folder / "tables" / f"{i % 40:02d}.jsonl", "a") as part:
                    part.writelines(lines)
    return {form: paths[form] for form in forms}


FORMS = ("many files", "one file", "300-byte rows", "files of rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS[:3]))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--workers", type=int, default=0, help="processes instead of threads")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=8192)
    arguments = parser.parse_args()

    from groundup.data.tokenizer_training import train_tokenizer

    by = f"{arguments.workers} workers" if arguments.workers else f"{arguments.threads} threads"
    print(f"{by}, vocabulary {arguments.vocab_size:,}, {arguments.repeats} repeats")
    print(
        f"{'text':16} {'MB':>7} {'documents':>10} {'tokens':>12} {'seconds':>8} {'CPU s':>6} {'MB/s':>6} {'peak MB':>8} "
        f"{'load':>5}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sample = folder / "sample.txt"
        sample.write_text("\n\n".join(dealt(5_000_000)))
        train_tokenizer(sample, vocab_size=arguments.vocab_size, out=folder / "tokenizer")
        if arguments.text:
            measure({str(path): path for path in arguments.text}, folder, arguments)
            return
        for megabytes in arguments.megabytes:
            place = folder / "text"
            measure(make_corpora(place, megabytes * 10**6, arguments.forms), folder, arguments)
            shutil.rmtree(place)


def measure(corpora: dict[str, Path], folder: Path, arguments: argparse.Namespace) -> None:
    results: dict[str, list[dict]] = {name: [] for name in corpora}
    load = os.getloadavg()[0]
    for repeat in range(arguments.repeats):
        for name, path in corpora.items():
            out = folder / f"out-{repeat}"
            command = [
                sys.executable,
                "-c",
                CHILD,
                path,
                folder / "tokenizer",
                out,
                arguments.threads,
                arguments.workers,
            ]
            results[name].append(json.loads(subprocess.check_output([str(part) for part in command])))
            shutil.rmtree(out)
    for name, found in results.items():
        seconds = statistics.median(result["seconds"] for result in found)
        cpu_seconds = statistics.median(result["cpu_seconds"] for result in found)
        peak = max(result["peak_rss_bytes"] for result in found)
        first = found[0]
        megabytes = first["n_bytes"] / 1e6
        print(
            f"{name:16} {megabytes:7.1f} {first['n_documents']:10,} {first['n_tokens']:12,} "
            f"{seconds:8.2f} {cpu_seconds:6.1f} {megabytes / seconds:6.1f} {peak / 1e6:8.0f} {load:5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
