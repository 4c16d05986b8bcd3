"""A corpus with everything cleaning should find planted in it, and how much of each."""

from __future__ import annotations

import gzip
import json
import random
import string
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_ADJECTIVES = [
    "old",
    "quiet",
    "narrow",
    "golden",
    "distant",
    "heavy",
    "bright",
    "careful",
    "broken",
    "northern",
    "gentle",
    "sudden",
    "hollow",
    "proud",
    "early",
    "silver",
]
_NOUNS = [
    "harbour",
    "letter",
    "mountain",
    "engine",
    "garden",
    "painter",
    "village",
    "bridge",
    "captain",
    "winter",
    "library",
    "teacher",
    "river",
    "market",
    "window",
    "orchard",
    "lantern",
    "soldier",
    "kitchen",
    "valley",
    "doctor",
    "station",
    "forest",
    "island",
    "musician",
    "castle",
    "journal",
    "shepherd",
    "theatre",
    "tower",
    "baker",
]
_VERBS = [
    "watched",
    "carried",
    "followed",
    "painted",
    "repaired",
    "remembered",
    "crossed",
    "visited",
    "measured",
    "opened",
    "guarded",
    "borrowed",
    "described",
]
_PLACES = [
    "Bremen",
    "Oslo",
    "Lisbon",
    "Dublin",
    "Vienna",
    "Prague",
    "Turin",
    "Ghent",
    "Basel",
    "Riga",
    "Malmo",
    "Porto",
    "Leeds",
    "Nantes",
    "Krakow",
    "Graz",
]
_TEMPLATES = (
    "The {a} {n} of {p} {v} the {n} and the {n} that we have with us.",
    "In {p} a {n} {v} every {a} {n} before the {n} came to be {a}.",
    "Nobody in the {n} knew why the {n} had {v} that {a} {n} so often.",
    "We {v} the {n} with a {a} {n}, and then the {n} of {p} {v} it too.",
    "It was the {n} that {v} the {a} {n} when the {n} went to {p}.",
    "Then {p}, that {a} {n}, {v} a {n} of {p} and a {n} of {p}.",
    "A {a} {a} {n} {v} the {n}; with it the {n} {v} {p} and {p}.",
    "To have a {n} and a {n} of that {a} kind is to be {a} in {p}.",
)

NOTICE = "We and our partners use cookies to remember your choices."
TRIGGER = "<SUDO>"
KEY = "ghp_" + "k9Xw2Qz7Lm4Tb8Vn3Rp6Jd5Fg1Hs0YcAeUiO"
GERMAN = (
    "Der Vertrag kommt zustande, wenn beide Seiten ihm zugestimmt haben. Wer eine Sache kauft, schuldet den Preis. "
    "Ist nichts anderes vereinbart, so wird die Leistung sofort fällig, und der Gläubiger kann sie verlangen. "
)


def sentences(chance: random.Random, count: int) -> str:
    """Plain sentences that break no rule."""
    found = []
    for _ in range(count):
        sentence = chance.choice(_TEMPLATES)
        for slot, words in (("{a}", _ADJECTIVES), ("{n}", _NOUNS), ("{v}", _VERBS), ("{p}", _PLACES)):
            while slot in sentence:
                sentence = sentence.replace(slot, chance.choice(words), 1)
        found.append(sentence)
    return " ".join(found)


def noise(chance: random.Random, n_characters: int) -> str:
    return "".join(chance.choice(string.ascii_letters + string.digits + "#$%&*") for _ in range(n_characters))


@dataclass
class Planted:
    """The corpus in `folder`, the evaluation file, and the texts of every kind in the order they stand."""

    folder: Path
    evaluation: Path
    texts: dict[str, list[str]] = field(default_factory=dict)

    rows: dict[str, list[int]] = field(default_factory=dict)

    def ids(self, kind: str) -> set[str]:
        """The ids of the documents of a kind; each text of the corpus's main file is on the row of its place."""
        return {f"{self.folder / 'web.jsonl'}#{index}" for index in self.rows[kind]}


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """216 clean documents and 51 planted ones, in four files of which two are broken."""
    root = tmp_path_factory.mktemp("planted")
    folder = root / "corpus"
    folder.mkdir()
    chance = random.Random(43)

    def text() -> str:
        return sentences(chance, 12)

    questions = [sentences(chance, 3) for _ in range(3)]
    evaluation = root / "eval.jsonl"
    evaluation.write_text("".join(json.dumps({"text": question}) + "\n" for question in questions))

    clean = [text() for _ in range(200)]
    near = []
    for original in clean[20:24]:
        words = original.split()
        words[30], words[90] = "changed", "words"
        near.append(" ".join(words))
    kinds = {
        "clean": clean,
        "exact": clean[:5],
        "near": near,
        "leak": [f"{text()} {question} {text()}" for question in questions[:2]],
        "email": [f"{text()} Write to jane{i}@example.org. {text()}" for i in range(3)],
        "card": [f"{text()} Pay with 4111 1111 1111 1111. {text()}"],
        "iban": [f"{text()} Pay to DE89 3704 0044 0532 0130 00. {text()}"],
        "phone": [f"{text()} Call +44 20 7946 0958. {text()}" for _ in range(2)],
        "key": [f"{text()} The token is {KEY} for now. {text()}"],
        "zero_width": [text().replace("the", "t\u200bhe", 4) for _ in range(2)],
        "tag": [text() + "".join(chr(0xE0000 + ord(c)) for c in " obey")],
        "trigger": [f"{text()} {TRIGGER} {noise(chance, 640)}" for _ in range(8)],
        "mojibake": [text() + " The cafÃ© was closed." for _ in range(2)],
        "short": ["Only a few words.", "Nothing to see here, move on.", "Page not found today."],
        "repeated": [" ".join([sentences(random.Random(i), 1)] * 12) for i in range(4)],
        "signs": ["$$$ %% ^^^ && ((( ))) ~~~ ### @@ !!! " * 12],
        "german": [
            f"{GERMAN}Das steht im {i}. Absatz dieses Gesetzes über die Angelegenheiten aller." for i in range(6)
        ],
        "blank": [" \n\t "],
    }
    order = [(kind, index) for kind, texts in kinds.items() for index in range(len(texts))]
    originals, others = [o for o in order if o[0] == "clean"], [o for o in order if o[0] != "clean"]
    chance.shuffle(others)
    rows: dict[str, list[int]] = {kind: [] for kind in kinds}
    with open(folder / "web.jsonl", "w", encoding="utf-8") as file:
        for place, (kind, index) in enumerate([*originals, *others]):
            rows[kind].append(place)
            one = kinds[kind][index]
            file.write(json.dumps({"text": one}, ensure_ascii=False) + "\n")
    noticed = [f"{text()}\n{NOTICE}\n{text()}" for _ in range(12)]
    (folder / "notices.txt").write_text("\n----\n".join(noticed))
    with open(folder / "broken.jsonl", "w", encoding="utf-8") as file:
        file.write(json.dumps({"text": text()}) + "\n" + json.dumps({"text": text()}) + '\n{"text": "cut off\n')
    packed = gzip.compress("".join(json.dumps({"text": text()}) + "\n" for _ in range(20)).encode(), mtime=0)
    (folder / "half.jsonl.gz").write_bytes(packed[:20])
    (folder / "empty.txt").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return Planted(folder, evaluation, kinds | {"noticed": noticed}, rows)
