"""Labelled texts in a run folder: read once, named labels, and which side of training, validation and test each is on.

One idea: the side follows from the text. Texts are ordered by a keyed hash of themselves, class by class, and the first of
each class are the test's, the next the validation's. So a split is the same for the same texts and seed, in whatever order the
files hold them; every class is on every side in its share (stratified); and a text that comes twice is on one side.

A text with several labels counts as its rarest. Labels are names, sorted; numbers are theirs in that order.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from groundup.core.errors import GroundupError
from groundup.core.files import file_written_atomically, folder_written_atomically, read_json, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.data.reading_records import read_records
from groundup.data.records import BETWEEN_LABELS, LabelledText
from groundup.data.sources import hash_sources

SIDES = ("train", "validation", "test")
MOST_REJECTED = 0.05  # share of rows; a table with more of them is not what its reader thinks it is
LEFT_OUT = len(SIDES)  # rows that balancing takes away


@dataclass(frozen=True)
class Splitting:
    """How rows are shared out: what goes to validation and test where no files for them are given."""

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    multi_label: bool = False
    undersample: bool = False  # every class cut to as many texts as the rarest has


@dataclass(frozen=True)
class Example:
    """A text, the numbers of its labels, and where it stood."""

    text: str
    labels: tuple[int, ...]
    place: str


class LabelledTexts:
    """What `collect_labelled` wrote, opened: the labels' names, and the texts of each side as a stream."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_json(folder / "manifest.json")
        self.labels: tuple[str, ...] = tuple(self.manifest["labels"])
        self._sides = np.fromfile(folder / "sides.bin", np.uint8)

    def n_rows(self, side: str) -> int:
        """Texts on a side."""
        return int((self._sides == SIDES.index(side)).sum())

    def rows(self, side: str) -> Iterator[Example]:
        """The texts of a side, in the order they were read."""
        wanted = SIDES.index(side)
        with open(self.folder / "rows.jsonl", encoding="utf-8") as file:
            for line, on in zip(file, self._sides.tolist(), strict=True):
                if on == wanted:
                    values = json.loads(line)
                    yield Example(values["text"], tuple(values["labels"]), values["place"])

    def truth(self, side: str) -> npt.NDArray[np.bool_]:
        """Which text has which label [N, C]."""
        table = np.zeros((self.n_rows(side), len(self.labels)), bool)
        for row, example in zip(table, self.rows(side), strict=True):
            row[list(example.labels)] = True
        return table

    @property
    def sha256(self) -> str:
        """The fingerprint of what was read and how it was shared out."""
        return self.manifest["sha256"]


def collect_labelled(
    folder: Path,
    paths: Mapping[str, Sequence[str]],
    splitting: Splitting,
    *,
    reading: dict[str, Any],
    reporter: Reporter = QUIET,
) -> LabelledTexts:
    """Read the files of `paths` (train, and validation and test where a person has them) and share them out, into `folder`.

    `reading` are the settings of `read_records`. Raises GroundupError for files without labelled rows, a single class, a
    class too rare to be split, and a label that only a validation or test file knows.
    """
    if (folder / "manifest.json").is_file():
        return LabelledTexts(folder)
    with folder_written_atomically(folder) as place:
        rows = _read(place / "raw.jsonl", paths, splitting, reading, reporter)
        names = sorted({name for names in rows.sets for name in names})
        _check_labels(names, rows, splitting)
        side = _sides(rows, splitting, reporter)
        counts = {each: _counts(rows, side == index, names) for index, each in enumerate(SIDES)}
        _check_sides(counts, names)
        digest = _write_rows(place, side, names)
        n_left_out = int((side == LEFT_OUT).sum())
        if splitting.undersample:
            reporter.say(f"balanced    {n_left_out:,} texts of the larger classes are left out (--balance undersample)")
        manifest = {
            "labels": names,
            "counts": counts,
            "texts": {each: int((side == index).sum()) for index, each in enumerate(SIDES)},
            "left_out": n_left_out,
            "sources": rows.sources,
            "split": vars(splitting),
            "remarks": rows.remarks,
            "sha256": digest,
        }
        write_json(place / "manifest.json", manifest)
    return LabelledTexts(folder)


@dataclass
class _Rows:
    """What is remembered of every row: its text's hash, its set of labels, the side a person gave it (or none)."""

    keys: array[int]
    kinds: array[int]  # numbers of label sets
    given: bytearray
    sets: list[tuple[str, ...]]
    sources: list[dict[str, Any]]
    remarks: list[str]


def _read(
    file: Path, paths: Mapping[str, Sequence[str]], splitting: Splitting, reading: dict[str, Any], reporter: Reporter
) -> _Rows:
    rows, numbers = _Rows(array("Q"), array("I"), bytearray(), [], [], []), {}
    key = (splitting.seed % (1 << 64)).to_bytes(8, "little")
    n_joined = 0
    with open(file, "w", encoding="utf-8") as out:
        for side, given in paths.items():
            if not given:
                continue
            records = read_records(list(given), "labelled", **reading)
            for record in records:
                assert isinstance(record, LabelledText)
                several = tuple(sorted({part.strip() for part in record.label.split(BETWEEN_LABELS)} - {""}))
                n_joined += BETWEEN_LABELS in record.label
                names = several if splitting.multi_label else (record.label.strip(),)
                number = numbers.setdefault(names, len(numbers))
                text_key = hashlib.blake2b(record.text.strip().encode("utf-8", "surrogatepass"), digest_size=8, key=key)
                rows.keys.append(int.from_bytes(text_key.digest(), "little"))
                rows.kinds.append(number)
                rows.given.append(SIDES.index(side) if side != "train" else LEFT_OUT)
                place = f"{record.source}, row {record.index + 1}"
                out.write(json.dumps({"text": record.text, "labels": names, "place": place}) + "\n")
            for line in records.summary():
                reporter.say(line)
                rows.remarks.append(line)
            # `n_rows` counts whole files only, so not one whose every row was rejected.
            n_rows = max(records.n_rows, records.n_rejected)
            if records.n_rejected > MOST_REJECTED * n_rows:
                where, why = records.rejections[0]
                raise GroundupError(
                    f"{records.n_rejected:,} of {n_rows:,} rows cannot be used, more than {MOST_REJECTED:.0%}; the first is "
                    f"{where}: {why}; put them right, or take them out"
                )
            hashes = hash_sources(records.sources)
            for source, digest in zip(records.sources, hashes, strict=True):
                rows.sources.append({"path": str(source), "n_bytes": source.n_bytes, "sha256": digest, "for": side})
    rows.sets = list(numbers)
    if n_joined and not splitting.multi_label:
        reporter.warn(
            f"{n_joined:,} rows have a label with {BETWEEN_LABELS!r} in it, taken as one name; "
            "--multi-label makes several labels of it"
        )
    return rows


def _check_labels(names: list[str], rows: _Rows, splitting: Splitting) -> None:
    least = 1 if splitting.multi_label else 2
    if "" in names:
        raise GroundupError("a row has an empty list of labels, which only --multi-label knows; leave it out")
    if len(names) < least:
        raise GroundupError(
            f"all {len(rows.keys):,} rows have the same label, {names[0]!r}; a classifier needs two classes to tell apart"
            if names
            else "no row has a text and a label"
        )


def _sides(rows: _Rows, splitting: Splitting, reporter: Reporter) -> npt.NDArray[np.uint8]:
    """The side of each row."""
    keys, kinds = np.array(rows.keys, np.uint64), np.array(rows.kinds, np.int64)
    side = np.frombuffer(bytes(rows.given), np.uint8).copy()
    free = side == LEFT_OUT  # rows that nobody has put on a side
    counts = Counter({name: 0 for names in rows.sets for name in names})
    for number, count in enumerate(np.bincount(kinds[free], minlength=len(rows.sets)).tolist()):
        counts.update(dict.fromkeys(rows.sets[number], count))
    # The class a set of labels counts as: its rarest label.
    rarest = [min(names, key=lambda name: (counts[name], name), default="") for names in rows.sets]
    classes = sorted(set(rarest))
    class_of = np.array([classes.index(name) for name in rarest])[kinds]
    # A text that comes twice is one: it goes by its first row, and by its first label.
    _, first, text_of = np.unique(keys, return_index=True, return_inverse=True)
    taken = np.zeros(len(first), bool)  # texts that a given file holds
    taken[text_of[~free]] = True
    class_of_text = class_of[first]
    side_of_text = np.full(len(first), SIDES.index("train"), np.uint8)
    is_free = np.zeros(len(first), bool)
    is_free[text_of[free]] = True
    texts = [np.flatnonzero(is_free & (class_of_text == each)) for each in range(len(classes))]
    least = min((len(each) for each in texts if len(each)), default=0)
    has = {name: bool((~free & (side == SIDES.index(name))).any()) for name in SIDES[1:]}
    shares = {name: 0.0 if has[name] else getattr(splitting, name) for name in SIDES[1:]}
    n_needed = 1 + sum(share > 0 for share in shares.values())
    asked = ["training", *(name for name, share in shares.items() if share > 0)]
    for number, members in enumerate(texts):
        if not len(members):
            continue
        if len(members) < n_needed:
            raise GroundupError(
                f"the class {classes[number]!r} has {len(members)} different text{'s' * (len(members) != 1)}; it takes "
                f"{n_needed} to have one each for {', '.join(asked)}; add rows, join it with another class, or give files of "
                "your own by --validation-data and --test-data"
            )
        if splitting.undersample:
            side_of_text[members[least:]] = LEFT_OUT
            members = members[:least]
        start = 0
        for name in ("test", "validation"):
            n = max(1, round(shares[name] * len(members))) if shares[name] else 0
            side_of_text[members[start : start + n]] = SIDES.index(name)
            start += n
    side[free] = side_of_text[text_of[free]]
    # Training on what a person tests with would be measuring memory.
    leaked = free & taken[text_of]
    if n := int((leaked & (side == SIDES.index("train"))).sum()):
        side[leaked] = LEFT_OUT
        reporter.warn(
            f"{n:,} rows of the data are in the validation or test files too, and are left out of the training"
        )
    return side


def _counts(rows: _Rows, mask: npt.NDArray[np.bool_], names: list[str]) -> list[int]:
    found: Counter[str] = Counter()
    for number, count in enumerate(
        np.bincount(np.array(rows.kinds, np.int64)[mask], minlength=len(rows.sets)).tolist()
    ):
        for name in rows.sets[number]:
            found[name] += count
    return [found[name] for name in names]


def _check_sides(counts: dict[str, list[int]], names: list[str]) -> None:
    for name, there, *others in zip(names, *(counts[side] for side in SIDES), strict=True):
        if not there:
            where = " and ".join(side for side, n in zip(SIDES[1:], others, strict=True) if n)
            raise GroundupError(
                f"the label {name!r} is in the {where} texts only, so nothing could learn it; give rows of it to train on, or "
                "take it out there"
            )
    for side in SIDES:
        if not any(counts[side]):
            raise GroundupError(f"no row is left for {side}; give more rows")


def _write_rows(place: Path, side: npt.NDArray[np.uint8], names: list[str]) -> str:
    """The rows with their labels as numbers, and their sides; gives the hash of both."""
    number_of, digest = {name: number for number, name in enumerate(names)}, hashlib.sha256()
    with file_written_atomically(place / "rows.jsonl") as out, open(place / "raw.jsonl", encoding="utf-8") as raw:
        for line in raw:
            values = json.loads(line)
            values["labels"] = [number_of[name] for name in values["labels"]]
            written = (json.dumps(values, ensure_ascii=True) + "\n").encode()
            digest.update(written)
            out.write(written)
    (place / "raw.jsonl").unlink()
    side.tofile(place / "sides.bin")
    digest.update(side.tobytes())
    return digest.hexdigest()
