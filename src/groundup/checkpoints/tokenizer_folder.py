"""Where a tokenizer lies: people name a tokenizer, model, data or run folder, and mean the tokenizer in it."""

from __future__ import annotations

from pathlib import Path

from groundup.core.errors import GroundupError

PLACES = (".", "model", "tokenizer", "data/tokenizer")


def resolve_tokenizer(name: str | Path) -> Path:
    """The folder that holds `tokenizer.json` for a tokenizer, model, prepared data or run folder.

    Raises `GroundupError` when there is none, saying where was looked.
    """
    path = Path(name)
    if path.is_file():
        return path
    for place in PLACES:
        if (path / place / "tokenizer.json").is_file():
            return path / place
    if not path.exists():
        raise GroundupError(f"there is no folder {path}; make a tokenizer with `groundup tokenizer train`")
    looked = ", ".join(str(path / place / "tokenizer.json") for place in PLACES)
    raise GroundupError(f"{path} holds no tokenizer (looked for {looked}); name the folder that tokenizer.json lies in")
