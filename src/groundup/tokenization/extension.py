"""More entries for a vocabulary that is already in use, learned from new text; what was there keeps its ids.

Byte pairs go on where their training ended: words of the new text are cut as the tokenizer cuts them now, and the most frequent
pair of neighbouring tokens is merged again and again (Gage 1994; Sennrich et al. 2016, arXiv:1508.07909). The new merges
stand behind the old ones, so a text is first cut as before and only then are its tokens joined further: every new token is a row
of old ones, and putting these back gives the old ids of any text. A character vocabulary takes the most frequent characters
that it has been spelling by bytes.

Not extended are `unigram`, whose pieces share one sum of probability, so that a new one changes what all others are worth;
`wordpiece`, which takes the longest entry that fits, so that a new one changes how known words are cut; and vocabularies of
whole words.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.tokenizer import Tokenizer

_LONGEST_WORD = 1000  # a longer "word" is no word (a file without spaces) and would fill the memory
_PART = 1 << 16


@dataclass(frozen=True)
class Extension:
    """The extended tokenizer, and of each new id, in order, the old ids whose bytes it stands for."""

    tokenizer: Tokenizer
    first_id: int
    old_pieces: list[list[int]]

    def old_ids(self, ids: Iterable[int]) -> list[int]:
        """Ids of the extended tokenizer as the old one would have cut the same text."""
        parts = ([id] if id < self.first_id else self.old_pieces[id - self.first_id] for id in ids)
        return list(itertools.chain.from_iterable(parts))


def extend_tokenizer(
    tokenizer: Tokenizer, texts: Iterable[str], n_added: int, *, reporter: Reporter = QUIET
) -> Extension:
    """Learn `n_added` more entries from `texts`, which are read once and not kept.

    The new ids follow the highest one there is; all others, special ones too, stay. Raises `GroundupError` when the
    algorithm cannot be extended, and when the text does not hold that many pairs (or characters) to add.
    """
    if n_added < 1:
        raise GroundupError(f"{n_added} entries cannot be added; ask for at least 1")
    _check_algorithm(tokenizer)
    learn = _new_characters if tokenizer.algorithm == "char" else _new_merges
    new = learn(tokenizer, texts, n_added, reporter)
    if len(new) < n_added:
        what = "characters that are not in the vocabulary" if tokenizer.algorithm == "char" else "pairs seen twice"
        raise GroundupError(
            f"the text has only {len(new):,} {what}, not {n_added:,}; ask for --add {len(new)} or fewer, or give more text"
            if new
            else f"the text has no {what}, so there is nothing to add"
        )
    extension = Extension(_extended(tokenizer, new), tokenizer.vocab_size, [entry.old_pieces for entry in new])
    reporter.say(
        f"extended    {tokenizer.vocab_size:,} entries by {n_added:,}: "
        + ", ".join(repr(_shown(tokenizer, entry)) for entry in new[:6])
        + (" …" if len(new) > 6 else "")
    )
    return extension


@dataclass(frozen=True)
class _Entry:
    token: str
    merge: tuple[str, str] | None
    old_pieces: list[int]


def _check_algorithm(tokenizer: Tokenizer) -> None:
    reasons = {
        "unigram": "its pieces share one sum of probability, so new ones change how every text is cut",
        "wordpiece": "it takes the longest entry that fits, so new ones change how known words are cut",
        "word": "it knows whole words only",
    }
    if tokenizer.algorithm in reasons:
        raise GroundupError(
            f"a {tokenizer.algorithm} tokenizer cannot be extended: {reasons[tokenizer.algorithm]}; train a new one with "
            "`groundup tokenizer train`, or start from a model whose tokenizer is byte pairs (bpe)"
        )
    if tokenizer.sentencepiece_model is not None:
        raise GroundupError(
            "the ids of this tokenizer are from SentencePiece's model file, to which nothing can be added"
        )
    if tokenizer.bytes_table() is None:
        raise GroundupError("this byte pair tokenizer has endings or prefixes on its pieces and cannot be extended")


def _new_characters(tokenizer: Tokenizer, texts: Iterable[str], n_added: int, reporter: Reporter) -> list[_Entry]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    unseen = [character for character in sorted(counts) if tokenizer.id_of(character) is None]
    unseen.sort(key=counts.__getitem__, reverse=True)
    return [_Entry(character, None, tokenizer.encode(character)) for character in unseen[:n_added]]


def _new_merges(tokenizer: Tokenizer, texts: Iterable[str], n_added: int, reporter: Reporter) -> list[_Entry]:
    counts: Counter[str] = Counter()
    for text in texts:
        for part in tokenizer.slices(text, _PART):
            counts.update(word for word in tokenizer.words(part) if 1 < len(word) <= _LONGEST_WORD)
    words = [(tokenizer.cut_word(word), count) for word, count in sorted(counts.items())]
    joinable = tokenizer.joinable_ids()
    names = {id: tokenizer.token_of(id) for id in joinable}
    taken = {tokenizer.token_of(id) for id in range(tokenizer.vocab_size)}
    pieces = {id: [id] for id in joinable}
    entries: list[_Entry] = []
    with reporter.bar("extending", n_added) as bar:
        for left, right in _best_pairs(words, tokenizer.vocab_size, n_added, names, taken):
            id = tokenizer.vocab_size + len(entries)
            pieces[id] = pieces[left] + pieces[right]
            entries.append(_Entry(names[id], (names[left], names[right]), pieces[id]))
            bar.advance()
    return entries


def _best_pairs(
    words: Sequence[tuple[list[int], int]], first_id: int, n_merges: int, names: dict[int, str], taken: set[str]
) -> Iterable[tuple[int, int]]:
    """The pairs to merge, the most frequent first, equal ones by their ids. `names` and `taken` grow with each.

    Only ids in `names` are joined, and never to a token that is there already (it has merges of its own).
    """
    sequences = [list(ids) for ids, _ in words]
    counts: dict[tuple[int, int], int] = defaultdict(int)
    places: dict[tuple[int, int], set[int]] = defaultdict(set)
    for index, (ids, count) in enumerate(words):
        for pair in itertools.pairwise(ids):
            if pair[0] in names and pair[1] in names:
                counts[pair] += count
                places[pair].add(index)
    waiting = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(waiting)
    n_made = 0
    while waiting and n_made < n_merges:
        count, pair = heapq.heappop(waiting)
        if -count != counts[pair]:
            if counts[pair] > 1:
                heapq.heappush(waiting, (-counts[pair], pair))
            continue
        if -count < 2:
            return
        token = names[pair[0]] + names[pair[1]]
        if token in taken:
            continue
        id = first_id + n_made
        names[id] = token
        taken.add(token)
        n_made += 1
        changed: set[tuple[int, int]] = set()
        for index in sorted(places.pop(pair)):
            before, weight = sequences[index], words[index][1]
            after = _joined(before, pair, id)
            sequences[index] = after
            for old in itertools.pairwise(before):
                if old in counts:
                    counts[old] -= weight
            for new in itertools.pairwise(after):
                if new[0] in names and new[1] in names:
                    counts[new] += weight
                    places[new].add(index)
                    if id in new:
                        changed.add(new)
        for new in changed:
            heapq.heappush(waiting, (-counts[new], new))
        yield pair


def _joined(ids: list[int], pair: tuple[int, int], id: int) -> list[int]:
    result, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            result.append(id)
            i += 2
        else:
            result.append(ids[i])
            i += 1
    return result


def _extended(tokenizer: Tokenizer, new: list[_Entry]) -> Tokenizer:
    description: dict[str, Any] = json.loads(tokenizer.to_json())
    model = description["model"]
    spaced = bool(model.get("merges")) and isinstance(model["merges"][0], str)
    # Special tokens stand in the vocabulary too: there they keep their ids, whatever is added behind them.
    vocab = model["vocab"] | {token["content"]: token["id"] for token in description.get("added_tokens") or ()}
    vocab |= {entry.token: tokenizer.vocab_size + i for i, entry in enumerate(new)}
    merges = [entry.merge for entry in new if entry.merge]
    model["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))
    model["merges"] = [*model["merges"], *(" ".join(merge) if spaced else list(merge) for merge in merges)]
    return Tokenizer(json.dumps(description, ensure_ascii=False, indent=1), tokenizer.config)


def _shown(tokenizer: Tokenizer, entry: _Entry) -> str:
    return tokenizer.decode(entry.old_pieces, continued=True)
