"""Text of people stays text: the `tokenizer.json` with everything taken out that could turn text into structure.

A special token's name can reach a text in two ways. The library looks for the names of added tokens before anything
else; and the model itself can find a name among its pieces (SentencePiece's `</s>` is a piece like any other, with a score; a
word-level vocabulary holds `[UNK]` as a word). So both take a name that nobody can know, and that no merge makes. Names of
one character stay: they are letters first.
"""

from __future__ import annotations

import secrets
from typing import Any


def is_markup(token: str) -> bool:
    """Whether an added token is structure by its look, such as `<tool_call>`, though no flag says so."""
    return token[0] + token[-1] in ("<>", "[]")


def description_for_people(description: dict[str, Any]) -> dict[str, Any]:
    """A parsed `tokenizer.json` that gives text the same ids, but never one of a special token.

    Load it with `encode_special_tokens` set, for names of one character.
    """
    added = description.get("added_tokens") or []
    special = {token["content"] for token in added if token["special"] or is_markup(token["content"])}
    names = special | {_unknown(description["model"])}
    hidden = {name: f"{secrets.token_hex(16)} {name}" for name in names if len(name) > 1}
    return description | {
        # They keep their places in the list, which decide the ids of the others.
        "added_tokens": [
            token | {"content": hidden.get(token["content"], token["content"]), "special": token["content"] in special}
            for token in added
        ],
        "model": _renamed(hidden, description["model"]),
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }


def _unknown(model: dict[str, Any]) -> str:
    if model.get("unk_id") is not None:
        return model["vocab"][model["unk_id"]][0]
    return model.get("unk_token") or ""


def vocabulary_of(description: dict[str, Any]) -> dict[str, int]:
    """Every token of a parsed `tokenizer.json`, added ones too, with its id."""
    vocab = description["model"]["vocab"]
    tokens = vocab if isinstance(vocab, dict) else {entry[0]: id for id, entry in enumerate(vocab)}
    return tokens | {token["content"]: int(token["id"]) for token in description.get("added_tokens") or ()}


def _renamed(hidden: dict[str, str], model: dict[str, Any]) -> dict[str, Any]:
    vocab = model["vocab"]
    if not any(token in hidden for token in (vocab if isinstance(vocab, dict) else (entry[0] for entry in vocab))):
        return model
    if isinstance(vocab, dict):
        changed: dict[str, Any] = {"vocab": {hidden.get(token, token): id for token, id in vocab.items()}}
    else:
        changed = {"vocab": [[hidden.get(token, token), score] for token, score in vocab]}
    if model.get("unk_token") in hidden:
        changed["unk_token"] = hidden[model["unk_token"]]
    if model.get("merges"):
        changed["merges"] = [merge for merge in model["merges"] if not _touches(merge, hidden)]
    return model | changed


def _touches(merge: str | list[str], names: dict[str, str]) -> bool:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left in names or right in names or left + right in names
