"""A `.tiktoken` file: tokens in base64, each with its rank, which is its id (github.com/openai/tiktoken).

The file holds only tokens and ranks. Two things are missing that ids depend on: the pattern that splits text into words and the
special tokens. For the files OpenAI published both are known, by the file's SHA-256 as tiktoken's own source pins it
(tiktoken_ext/openai_public.py). A list of merges, which `tokenizer.json` wants, follows from the ranks: the two parts a token
was made of are what its bytes come to when only tokens of a lower rank may be made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError, unknown_name
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.imports.byte_level import added_token, byte_level_description, split_by
from groundup.tokenization.patterns import PATTERNS

_END = "<|endoftext|>"


@dataclass(frozen=True)
class Known:
    """What a published file does not say of itself."""

    name: str
    pattern: str
    special: dict[str, int]


KNOWN = {
    "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930": Known("r50k_base", "gpt2", {_END: 50256}),
    "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069": Known("p50k_base", "gpt2", {_END: 50256}),
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7": Known(
        "cl100k_base",
        "gpt4",
        {
            _END: 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d": Known(
        "o200k_base", "o200k", {_END: 199999, "<|endofprompt|>": 200018}
    ),
}


def looks_like_ranks(data: bytes) -> bool:
    """Whether the first lines are base64 and a number."""
    lines = data[:2000].splitlines()[:5]
    return bool(lines) and all(_is_rank(line) for line in (lines[:-1] or lines))


def ranks_description(
    data: bytes, path: Path, *, pattern: str | None, special: Sequence[str] = (), reporter: Reporter = QUIET
) -> tuple[dict[str, Any], dict[str, Any], Callable[[str], list[int]]]:
    """The contents of `tokenizer.json` and `tokenizer_config.json`, and tiktoken's own encoder of the same ranks.

    Raises `GroundupError` on a damaged file, and on one that is not known when no `pattern` is given.
    """
    ranks = _read(data, path)
    known = KNOWN.get(hashlib.sha256(data).hexdigest())
    if known and (pattern in (None, known.pattern)) and not special:
        reporter.say(f"read as tiktoken ranks: {known.name}, {len(ranks):,} tokens, pattern {known.pattern}")
        pattern, names = known.pattern, known.special
    elif pattern is None:
        raise GroundupError(
            f"{path} holds {len(ranks):,} tiktoken ranks but is none of the files known by their content "
            f"({', '.join(one.name for one in KNOWN.values())}), and ranks do not say how text is split into words; "
            f"give --pattern, one of {', '.join(sorted(PATTERNS))}"
        )
    else:
        if pattern not in PATTERNS:
            raise unknown_name("pre-splitting pattern", pattern, PATTERNS)
        first = max(ranks.values()) + 1
        names = {name: first + i for i, name in enumerate(special)}
        reporter.say(f"read as tiktoken ranks: {len(ranks):,} tokens, pattern {pattern}, {len(names)} special tokens")
    alphabet = {byte: character for character, byte in byte_alphabet().items()}
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise GroundupError(f"{path} has no token for byte {missing[0]} and {len(missing) - 1} others; get it again")

    def spelled(token: bytes) -> str:
        return "".join([alphabet[byte] for byte in token])

    merges, n_unreached = [], 0
    with reporter.bar("merges from ranks", len(ranks)) as bar:
        for done, (token, rank) in enumerate(sorted(ranks.items(), key=lambda item: item[1])):
            if done % 5000 == 0:
                bar.set(done)
            if len(token) < 2:
                continue
            parts = _parts(ranks, token, rank)
            if len(parts) == 2:
                merges.append([spelled(parts[0]), spelled(parts[1])])
            else:
                n_unreached += 1
    description = byte_level_description(
        # The special tokens' ids have gaps before them, so they must stand among the others to keep them.
        {spelled(token): rank for token, rank in ranks.items()} | names,
        merges,
        [added_token(id, name) for name, id in sorted(names.items(), key=lambda item: item[1])],
        split_by(PATTERNS[pattern].regex),
        # tiktoken looks a whole word up first, which matters where merges alone do not reach a token.
        ignore_merges=n_unreached > 0,
    )
    end = _END if _END in names else None
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": end, "eos_token": end}
    config |= {"pad_token": None, "unk_token": None, "clean_up_tokenization_spaces": False}
    return description, config, _tiktoken(ranks, pattern)


def _is_rank(line: bytes) -> bool:
    parts = line.split()
    try:
        return len(parts) == 2 and parts[1].isdigit() and bool(base64.b64decode(parts[0], validate=True))
    except binascii.Error:
        return False


def _read(data: bytes, path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        if not _is_rank(line):
            raise GroundupError(f"{path}, line {number}: {line[:40]!r} is not a token in base64 and its rank")
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    if len(set(ranks.values())) < len(ranks):
        raise GroundupError(f"{path}: two tokens have the same rank; get the file again")
    return ranks


def _parts(ranks: dict[bytes, int], token: bytes, rank: int) -> list[bytes]:
    """What the bytes of `token` come to with the tokens below `rank`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = (ranks.get(left + right, rank) for left, right in itertools.pairwise(parts))
        lowest, place = min((pair, i) for i, pair in enumerate(pairs))
        if lowest >= rank:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def _tiktoken(ranks: dict[bytes, int], pattern: str) -> Callable[[str], list[int]]:
    import tiktoken

    encoding = tiktoken.Encoding(
        "imported",
        pat_str=PATTERNS[pattern].regex,
        mergeable_ranks=ranks,
        special_tokens={"<|never|>": max(ranks.values()) + 1},
    )
    return encoding.encode_ordinary
