"""Duplicates among short documents: seconds, memory, recall and precision, beside the libraries alone.

    python benchmarks/duplicates.py [--documents 1000000] [--peers] [TEXT ...]

Documents of 20 to 120 words are dealt from the sentences of the TEXTs (by default the interpreter's documentation and
sources). Every fifth is a copy of an earlier one in which a share of the words, from none to a fifth, is changed,
dropped or added. Every contender reads the same file in a process of its own. Recall: of the copies whose true Jaccard
similarity (5-word runs) to their original reaches 0.8, and whose original was kept, the share that is called near.
Precision: of the documents called near, the share whose true similarity to the document named reaches 0.8. `--peers`
adds rensa's own deduplicator and datasketch (install them).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

READ = r"""
import json, re, sys, time
path, result = sys.argv[1:]
def read():
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
def batches():
    batch = []
    for text in read():
        batch.append(text)
        if len(batch) == 8192:
            yield batch
            batch = []
    yield batch
def shingles(text):
    words = re.sub(r"[^\w\s]|_", " ", text.replace("'", "").lower()).split()  # as Groundup sees them
    return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}
kept_bytes, found = None, {}  # number of a document -> number of the earlier one it is near
began = time.perf_counter()
"""

CONTENDERS = {
    "reading alone": "for text in read(): pass",
    "exact": """
from groundup.data.duplicates.exact import ExactDuplicates
duplicates = ExactDuplicates()
for number, text in enumerate(read()):
    of = duplicates.first_of(text)
    if of is not None:
        found[number] = of
kept_bytes = duplicates.n_bytes
""",
    "near": """
from groundup.data.duplicates.near import NearDuplicates
duplicates, number = NearDuplicates(), 0
for batch in batches():
    for near in duplicates.first_of_many(batch):
        if near:
            found[number] = near.of
        number += 1
kept_bytes = duplicates.n_bytes
""",
    "substrings": """
from groundup.data.duplicates.substrings import repeated_spans
n_characters = 0
for number, spans in enumerate(repeated_spans(read)):
    if spans:
        found[number] = -1
        n_characters += sum(end - start for start, end in spans)
""",
    "contamination": """
from groundup.data.duplicates.contamination import EvaluationIndex
index = EvaluationIndex.from_texts("evaluation", [text for number, text in enumerate(read()) if number % 50 == 1])
number = 0
for batch in batches():
    for leaks in index.matches_many(batch):
        if leaks:
            found[number] = leaks[0].index * 50 + 1
        number += 1
""",
}
PEERS = {
    "rensa's deduplicator": """
from rensa import RMinHash, RMinHashDeduplicator
duplicates = RMinHashDeduplicator(threshold=0.8, num_perm=126, use_lsh=True, num_bands=21)
number = 0
for batch in batches():
    for sketch in RMinHash.from_token_sets([shingles(text) for text in batch], 126, 42):
        same = duplicates.get_duplicates(sketch)
        if same:
            found[number] = min(map(int, same))
        else:
            duplicates.add(str(number), sketch)
        number += 1
""",
    "datasketch": """
from datasketch import MinHash, MinHashLSH
index, sketches, number = MinHashLSH(num_perm=126, params=(21, 6)), {}, 0
for batch in batches():
    tokens = [[one.encode() for one in shingles(text)] for text in batch]
    for sketch in MinHash.generator(tokens, num_perm=126):
        same = [key for key in index.query(sketch) if sketches[key].jaccard(sketch) >= 0.8]
        if same:
            found[number] = min(same)
        else:
            index.insert(number, sketch)
            sketches[number] = sketch
        number += 1
""",
}

WRITE = """
seconds, cpu_seconds = time.perf_counter() - began, time.process_time()
with open("/proc/self/status") as file:  # ru_maxrss would count the parent's memory, too
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
with open(result, "w") as file:
    answer = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "kept_bytes": kept_bytes}
    json.dump(answer | {"found": list(found.items())}, file)
"""

EDIT_RATES = (0, 0.01, 0.02, 0.05, 0.1, 0.2)
SAMPLE = 20_000


def sentences(paths: list[Path]) -> list[str]:
    texts = [path.read_text(encoding="utf-8", errors="ignore") for path in paths]
    if not texts:
        import pydoc_data.topics

        texts = list(pydoc_data.topics.topics.values())
        library = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
        texts += [path.read_text(encoding="utf-8", errors="ignore") for path in library if "test" not in path.parts]
    words = (sentence.split() for text in texts for sentence in text.replace("\n", " ").split(". "))
    return sorted({" ".join(some) for some in words if 5 <= len(some) <= 60})


def edited(chance: random.Random, words: list[str], rate: float, vocabulary: list[str]) -> list[str]:
    result = []
    for word in words:
        if chance.random() >= rate:
            result.append(word)
        else:
            result += ([], [chance.choice(vocabulary)], [word, chance.choice(vocabulary)])[chance.randrange(3)]
    return result


def documents(n: int, pool: list[str]) -> Iterator[tuple[str, tuple[int, float] | None]]:
    """Texts, with the number of the original and the edit rate where they are copies. Originals are among the last 50,000."""
    chance = random.Random(0)
    vocabulary = sorted({word for sentence in pool for word in sentence.split()})
    originals: list[tuple[int, list[str]]] = []
    for number in range(n):
        if number % 5 == 4:
            of, words = chance.choice(originals)
            rate = chance.choice(EDIT_RATES)
            yield " ".join(edited(chance, words, rate, vocabulary)), (of, rate)
            continue
        size = chance.randint(20, 120)
        words = []
        while len(words) < size:
            words += chance.choice(pool).split()
        if len(originals) < 50_000:
            originals.append((number, words))
        else:
            originals[chance.randrange(50_000)] = (number, words)
        yield " ".join(words), None


def runs_of(text: str) -> set[tuple[int, ...]]:
    """The document's set, by the words Groundup sees: what is measured is the search, not the notion of a word."""
    from groundup.data.duplicates.words import hash_words

    words = hash_words([text]).hashes.tolist()
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def similarity(one: str, other: str) -> float:
    left, right = runs_of(one), runs_of(other)
    return len(left & right) / len(left | right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="*", type=Path)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", help="the contenders to run, with commas")
    arguments = parser.parse_args()
    contenders = CONTENDERS | (PEERS if arguments.peers else {})
    if arguments.only:
        contenders = {name: contenders[name] for name in arguments.only.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / "documents.jsonl", Path(folder) / "result.json"
        copies: dict[int, tuple[int, float]] = {}
        n_words = 0
        with open(path, "w", encoding="utf-8") as file:
            for number, (text, copy) in enumerate(documents(arguments.documents, sentences(arguments.text))):
                file.write(json.dumps(text) + "\n")
                n_words += text.count(" ") + 1
                if copy:
                    copies[number] = copy
        megabytes = path.stat().st_size / 1e6
        print(f"{arguments.documents:,} documents, {n_words / arguments.documents:.0f} words each, {megabytes:.0f} MB")
        print(
            f"{'':22} {'seconds':>8} {'CPU s':>8} {'CPU us/document':>16} {'peak MB':>8} {'kept B/document':>16} {'found':>9}"
        )
        answers = {}
        for name, body in contenders.items():
            subprocess.run([sys.executable, "-c", READ + body + WRITE, path, result], check=True)
            answer = json.loads(result.read_text())
            answers[name] = dict(answer["found"])
            kept = f"{answer['kept_bytes'] / arguments.documents:.0f}" if answer["kept_bytes"] else ""
            each = answer["cpu_seconds"] / arguments.documents * 1e6
            print(
                f"{name:22} {answer['seconds']:8.1f} {answer['cpu_seconds']:8.1f} {each:16.1f} "
                f"{answer['peak_bytes'] / 1e6:8.0f} {kept:>16} {len(answer['found']):9,}",
                flush=True,
            )
        print_recall(path, copies, {name: found for name, found in answers.items() if name in ("near", *PEERS)})


def print_recall(path: Path, copies: dict[int, tuple[int, float]], answers: dict[str, dict[int, int]]) -> None:
    chance = random.Random(1)
    sample = sorted(chance.sample(sorted(copies), min(SAMPLE, len(copies))))
    named = {name: chance.sample(sorted(found), min(SAMPLE, len(found))) for name, found in answers.items()}
    pairs = {(number, copies[number][0]) for number in sample}
    pairs |= {(number, answers[name][number]) for name, some in named.items() for number in some}
    wanted, texts = {number for pair in pairs for number in pair}, {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number in wanted:
                texts[number] = json.loads(line)
    truth = {pair: similarity(texts[pair[0]], texts[pair[1]]) for pair in sorted(pairs)}
    for name, found in answers.items():
        right = sum(truth[number, found[number]] >= 0.8 for number in named[name])
        print(f"\n{name}: precision {right / max(1, len(named[name])):.4f} of {len(named[name]):,} called near")
        print(f"{'edited words':>14} {'copies':>8} {'mean similarity':>16} {'looked for':>10} {'recall':>8}")
        for rate in (*EDIT_RATES, None):
            some = [number for number in sample if rate is None or copies[number][1] == rate]
            similar = [number for number in some if truth[number, copies[number][0]] >= 0.8]
            similar = [number for number in similar if copies[number][0] not in found]
            mean = sum(truth[number, copies[number][0]] for number in some) / max(1, len(some))
            recall = f"{sum(number in found for number in similar) / len(similar):.4f}" if similar else ""
            label = "all" if rate is None else f"{rate:.0%}"
            print(f"{label:>14} {len(some):8,} {mean:16.3f} {len(similar):10,} {recall:>8}")


if __name__ == "__main__":
    main()
