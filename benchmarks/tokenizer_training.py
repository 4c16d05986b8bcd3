"""Training byte-pair tokenizers: seconds and memory of Groundup and of other libraries on the same documents.

    python benchmarks/tokenizer_training.py [TEXT ...] [--megabytes 65] [--vocab-size 8192] [--pattern gpt2]
                                            [--rounds 3] [--only groundup,tokenizers]

Every trainer runs in a process of its own, in turn in each round (A B C A B C ...), so that the machine's drift falls on
all alike. A process reads the documents, then learns; printed are the median seconds of the learning, the range, the
median of the round-by-round ratios to `tokenizers`, the median seconds of processor time (all threads; on a busy machine
the steadier figure), the process's peak memory beside what it had with the documents read, and how many of the merges
are those of `tokenizers`, from the first on.

What is not alike, because the libraries are not: `gigabpe (lines)` is that library's own reading of files, which takes
each line as a text (as `tokenizers` does with files), so no merge holds a line break and the indentation after it; `sentencepiece`
has no expressions and splits at spaces; `rustbpe` decides ties otherwise and counts single pairs. TEXT are files and
folders of .txt .md .py .rst, or .jsonl with a `text`; without it, the sources and documentation of this Python.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from encoding import read_documents

Merges = list[tuple[bytes, bytes]]


def groundup(documents: list[str], vocab_size: int, pattern: str) -> Merges:
    """Our one class, by the fastest trainer that is installed and equal."""
    from groundup.tokenization import train_tokenizer

    return _merges(train_tokenizer(documents, vocab_size=vocab_size + 9, pattern=pattern)._json)


def tokenizers(documents: list[str], vocab_size: int, pattern: str) -> Merges:
    """The reference, given whole documents."""
    import tokenizers as library

    from groundup.tokenization.patterns import PATTERNS

    split = library.pre_tokenizers.Split(library.Regex(PATTERNS[pattern].regex), "isolated")
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([split, byte_level])
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return _merges(tokenizer.to_str())


def gigabpe_lines(documents: list[str], vocab_size: int, pattern: str) -> Merges:
    """gigabpe's own reading of a file, line by line, always with GPT-2's pattern; writing the file is not timed elsewhere."""
    import gigabpe

    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("\n".join(documents))
        file.flush()
        _, merges = gigabpe.train_bpe([file.name], vocab_size, min_frequency=2, pretokenizer="bytelevel")
    return _merges(json.dumps({"model": {"merges": merges}}))


def rustbpe(documents: list[str], vocab_size: int, pattern: str) -> Merges:
    """rustbpe with the same expression."""
    import rustbpe as library

    from groundup.tokenization.patterns import PATTERNS

    tokenizer = library.Tokenizer()
    tokenizer.train_from_iterator(documents, vocab_size=vocab_size, pattern=PATTERNS[pattern].regex)
    return [(b"", bytes(token)) for token, rank in tokenizer.get_mergeable_ranks() if rank >= 256]


def sentencepiece(documents: list[str], vocab_size: int, pattern: str) -> Merges:
    """sentencepiece's byte pairs, on all cores, with its own splitting."""
    import sentencepiece as library

    sentences = (line for document in documents for line in document.split("\n") if line)
    with tempfile.TemporaryDirectory() as folder:
        library.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_prefix=f"{folder}/model",
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            minloglevel=2,
        )
    return []


TRAINERS: dict[str, tuple[str, Callable[[list[str], int, str], Merges]]] = {
    "tokenizers": ("tokenizers", tokenizers),
    "groundup": ("tokenizers", groundup),
    "gigabpe (lines)": ("gigabpe", gigabpe_lines),
    "rustbpe": ("rustbpe", rustbpe),
    "sentencepiece": ("sentencepiece", sentencepiece),
}


def _merges(tokenizer_json: str) -> Merges:
    from groundup.tokenization.fast import byte_alphabet, merge_pairs

    alphabet = byte_alphabet()
    pairs = merge_pairs(json.loads(tokenizer_json)["model"])
    return [(bytes(alphabet[c] for c in left), bytes(alphabet[c] for c in right)) for left, right in pairs]


def run_one(name: str, options: argparse.Namespace) -> None:
    """In a process of its own: read, learn, print what it took and the tokens made, as JSON."""
    documents = read_documents(options.text, int(options.megabytes * 1e6))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, begun_cpu = time.perf_counter(), time.process_time()
    merges = TRAINERS[name][1](documents, options.vocab_size, options.pattern)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = [(left + right).hex() for left, right in merges]
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "before": before * 1024,
                "peak": peak * 1024,
                "tokens": tokens,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="*", type=Path, default=[Path(json.__file__).parent.parent])
    parser.add_argument("--megabytes", type=float, default=65)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--pattern", default="gpt2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options)
        return

    names = [name for name, (library, _) in TRAINERS.items() if importlib.util.find_spec(library)]
    if options.only:
        names = [name for name in names if name.split(" ")[0] in options.only.split(",")]
    found: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))

    documents = read_documents(options.text, int(options.megabytes * 1e6))
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    print(f"{len(documents):,} documents, {megabytes:.1f} MB; {options.vocab_size:,} tokens, pattern {options.pattern}")
    base = found.get("tokenizers", found[names[0]])
    for name, rounds in found.items():
        seconds = [one["seconds"] for one in rounds]
        ratio = statistics.median(b["seconds"] / one["seconds"] for one, b in zip(rounds, base, strict=True))
        memory = f"{rounds[0]['peak'] / 1e6:,.0f} MB ({rounds[0]['before'] / 1e6:,.0f} with the text)"
        alike = next(
            (i for i, (a, b) in enumerate(zip(rounds[0]["tokens"], base[0]["tokens"], strict=False)) if a != b),
            len(rounds[0]["tokens"]),
        )
        print(
            f"{name:16} {statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  x {ratio:.2f}  "
            f"{statistics.median(one['cpu_seconds'] for one in rounds):6.2f} s of processor  "
            f"{memory:32} first {alike:,} merges equal"
        )


if __name__ == "__main__":
    main()
