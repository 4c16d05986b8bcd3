"""What the tests of this room share: splits written from plain lists, and a tiny stand-in for the tokenizer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from groundup.core.progress import Reporter
from groundup.data.store import Shard, TokenSplit, write_shard

EOS = 99


@pytest.fixture
def make_split(tmp_path: Path) -> Callable[..., TokenSplit]:
    """A real split on disk from documents (lists of ids, end of text appended here), cut into shards of any size."""

    def make(documents: list[list[int]], tokens_per_shard: int = 10**9, eos_at_the_end: bool = True) -> TokenSplit:
        tokens, starts = [], []
        for document in documents:
            starts.append(len(tokens))
            tokens += [*document, EOS]
        if not eos_at_the_end:
            tokens.pop()
        shards = []
        for k, at in enumerate(range(0, max(len(tokens), 1), tokens_per_shard)):
            part = np.array(tokens[at : at + tokens_per_shard])
            here = [s - at for s in starts if at <= s < at + tokens_per_shard]
            path = tmp_path / f"split-{len(list(tmp_path.glob('split-*')))}-{k:05d}.tokens"
            write_shard(path, [part], np.uint16, here)
            shards.append(Shard(path))
        return TokenSplit("train", shards, n_bytes=len(tokens), eos_id=EOS)

    return make


class Listening(Reporter):
    """Keeps what is said and warned."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str = "") -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


class WordTokenizer:
    """Stands in for the tokenizer: one id for every run of letters or other characters, by a hash; end of text is 0.

    Like real ones it looks at a space together with the word after it, so that a cut in a wrong place changes ids.
    """

    algorithm = "words"
    vocab_size = 5000
    eos_id = 0
    pieces = re.compile(r" ?[^\W_]+|\n+|\s+(?!\S)|\s|[^\w\s]+|_+")

    def __init__(self, name: str = "words") -> None:
        self.sha256 = hashlib.sha256(name.encode()).hexdigest()
        self.n_encoded = 0

    def encode(self, text: str) -> list[int]:
        return [1 + hash_of(piece) % (self.vocab_size - 1) for piece in self.pieces.findall(text)]

    def encode_many(self, texts: Iterable[str], n_threads: int | None = None) -> Iterator[np.ndarray]:
        for text in texts:
            self.n_encoded += 1
            yield np.array(self.encode(text), np.uint32)

    def safe_cut(self, text: str, near: int) -> int:
        """After a single line end between two letters, or before a single space between two letters."""
        for at in range(near, 1, -1):
            around = text[at - 2 : at + 2]
            if len(around) == 4 and around[1] == "\n" and around[0].isalnum() and around[2].isalnum():
                return at
            if len(around) >= 4 and around[2] == " " and around[1].isalnum() and around[3].isalnum():
                return at
        return 0

    def save(self, folder: Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "tokenizer.json").write_text(json.dumps({"sha256": self.sha256}))


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer()


@pytest.fixture
def another_tokenizer() -> WordTokenizer:
    return WordTokenizer("another")
