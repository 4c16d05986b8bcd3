"""Text to ids: megabytes a second of Groundup and of other libraries, with one vocabulary, on the same documents.

    python benchmarks/encoding.py [TEXT ...] [--vocab-size 8192 | --tokenizer FOLDER] [--megabytes 8] [--rounds 5]

Every encoder runs in turn in each round (A B C A B C ...), so that the machine's drift falls on all alike; printed are
the median over the rounds, the range, and the median of the round-by-round ratios to tiktoken on one thread. Ids are
compared before anything is timed. `gigatoken` and `snaptokens` take part where they are installed, each by its fastest way
from strings to arrays; Groundup with and without gigatoken. They and Groundup remember the words they have met, so the
rounds, which repeat one text, show them at their best: a first pass by fresh encoders (Groundup's compares its first 100,000
characters with `tokenizers` in it) is told apart. Without TEXT (files and folders of .txt .md .py .rst .jsonl) the documents
are the sources of Python's standard library.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tiktoken
import tokenizers

from groundup.tokenization import Tokenizer, fast, train_tokenizer
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.patterns import PATTERNS

ENDINGS = {".txt", ".md", ".py", ".rst", ".jsonl"}


def read_documents(paths: list[Path], n_bytes: int) -> list[str]:
    """Files of `paths` in order until `n_bytes` of text are together; the last one is cut."""
    documents, left = [], n_bytes
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if left > 0 and file.is_file() and (file == path or file.suffix in ENDINGS):
                for text in texts_of(file, left):
                    documents.append(text)
                    left -= len(text.encode("utf-8"))
                    if left <= 0:
                        break
    return documents


def texts_of(file: Path, n_bytes: int) -> Iterator[str]:
    """The documents of a file: the `text` (or the string) of each line of .jsonl, else the whole."""
    if file.suffix != ".jsonl":
        yield file.read_bytes()[:n_bytes].decode("utf-8", errors="ignore")
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield row if isinstance(row, str) else row["text"]


def encoders(ours: Tokenizer, folder: Path, documents: list[str]) -> dict[str, Callable[[], int]]:
    """Each encoder by name; called, it encodes all documents and gives the number of ids."""
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.encode_special_tokens = True  # special names in the text are text, as they are for the other two
    if ours.pattern is None:
        raise SystemExit(f"{folder}: the pattern of this tokenizer is not one that tiktoken is given here")
    alphabet, vocabulary = byte_alphabet(), library.get_vocab(with_added_tokens=False)
    theirs = tiktoken.Encoding(
        "benchmark",
        pat_str=PATTERNS[ours.pattern].regex,
        mergeable_ranks={bytes(alphabet[character] for character in token): id for token, id in vocabulary.items()},
        special_tokens={"<|never|>": ours.vocab_size},
    )
    for text in documents[:: max(1, len(documents) // 5000)]:
        ids = ours.encode(text)
        assert ids == library.encode(text).ids == theirs.encode_ordinary(text)

    with_tiktoken = Tokenizer.load(folder)
    with unittest.mock.patch.object(fast, "gigatoken_is_there", return_value=False):
        assert with_tiktoken.library == "tiktoken"
    expected = list(ours.encode_many(documents, n_threads=1))
    found: dict[str, Callable[[], int]] = {}
    if importlib.util.find_spec("gigatoken"):
        from gigatoken.gigatoken_rs import load_hf_json

        giga = load_hf_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
        for name, parallel in (("gigatoken, 1 thread", False), ("gigatoken, all threads", True)):
            found[name] = lambda parallel=parallel: len(giga.encode_batch(documents, parallel=parallel).layout.content)
        assert found["gigatoken, 1 thread"]() == sum(map(len, expected))
    if importlib.util.find_spec("snaptokens"):
        import snaptokens

        snap = snaptokens.Tokenizer.from_file(str(folder / "tokenizer.json"))
        found["snaptokens, its threads"] = lambda: len(snap.encode_batch_flat(documents)[0]) // 4
        assert snap.encode_batch_flat(documents)[0] == np.concatenate(expected).tobytes()

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return found | {
        "tiktoken, 1 thread": lambda: sum(len(theirs.encode_ordinary(text)) for text in documents),
        f"groundup ({ours.library}), 1 thread": lambda: sum(map(len, ours.encode_many(documents, n_threads=1))),
        "groundup (tiktoken), 1 thread": lambda: sum(map(len, with_tiktoken.encode_many(documents, n_threads=1))),
        "tokenizers, 1 thread": lambda: sum(len(library.encode(text).ids) for text in documents),
        f"tiktoken, {cores} threads": lambda: sum(map(len, theirs.encode_ordinary_batch(documents, num_threads=cores))),
        f"groundup ({ours.library}), {cores} threads": lambda: sum(map(len, ours.encode_many(documents, cores))),
        f"groundup (tiktoken), {cores} threads": lambda: sum(map(len, with_tiktoken.encode_many(documents, cores))),
        f"tokenizers, {cores} threads": lambda: sum(len(found.ids) for found in library.encode_batch(documents)),
    }


def first_passes(folder: Path, documents: list[str]) -> dict[str, Callable[[], float]]:
    """Encoders with a memory by name; called, one is made anew and gives the seconds of its first pass, one thread."""
    found: dict[str, Callable[[], float]] = {}

    def timed(encode: Callable[[], object]) -> float:
        begun = time.perf_counter()
        encode()
        return time.perf_counter() - begun

    def of_groundup() -> float:
        ours = Tokenizer.load(folder)
        ours.prepare()
        return timed(lambda: sum(map(len, ours.encode_many(documents, n_threads=1))))

    found["groundup"] = of_groundup
    if importlib.util.find_spec("gigatoken"):
        from gigatoken.gigatoken_rs import load_hf_json

        def of_gigatoken() -> float:
            giga = load_hf_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
            return timed(lambda: giga.encode_batch(documents, parallel=False))

        found["gigatoken"] = of_gigatoken
    if importlib.util.find_spec("snaptokens"):
        import snaptokens

        def of_snaptokens() -> float:
            snap = snaptokens.Tokenizer.from_file(str(folder / "tokenizer.json"))
            return timed(lambda: snap.encode_batch_flat(documents))

        found["snaptokens, its threads"] = of_snaptokens
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="*", type=Path, default=[Path(os.__file__).parent])
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--pattern", default="qwen2", choices=sorted(PATTERNS))
    parser.add_argument("--tokenizer", type=Path, help="folder of a byte-level BPE; else one is trained")
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    documents = read_documents(options.text, int(options.megabytes * 1e6))
    with tempfile.TemporaryDirectory() as temporary:
        if options.tokenizer:
            ours, folder = Tokenizer.load(options.tokenizer), options.tokenizer
        else:
            ours, folder = train_tokenizer(documents, vocab_size=options.vocab_size, pattern=options.pattern), temporary
            ours.save(folder)
        begun = time.perf_counter()
        assert ours.is_fast
        proof_seconds = time.perf_counter() - begun
        contestants = encoders(ours, Path(folder), documents)
        megabytes = sum(len(text.encode()) for text in documents) / 1e6
        first: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for name, encode in first_passes(Path(folder), documents).items():
                first.setdefault(name, []).append(megabytes / encode())

    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, encode in contestants.items():
            begun = time.perf_counter()
            encode()
            speeds[name].append(megabytes / (time.perf_counter() - begun))

    print(f"{len(documents)} documents, {megabytes:.1f} MB; vocabulary of {ours.vocab_size:,}, pattern {ours.pattern}")
    print(f"fast encoder built and proved in {proof_seconds:.2f} s; tiktoken {tiktoken.__version__}, ", end="")
    print(f"tokenizers {tokenizers.__version__}, {options.rounds} rounds")
    for name, found in first.items():
        print(
            f"{name + ', first pass':32} {statistics.median(found):7.1f} MB/s  ({min(found):.1f} to {max(found):.1f})"
        )
    base = speeds["tiktoken, 1 thread"]
    for name, found in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(found, base, strict=True))
        print(f"{name:32} {statistics.median(found):7.1f} MB/s  ({min(found):.1f} to {max(found):.1f})  x {ratio:.2f}")


if __name__ == "__main__":
    main()
