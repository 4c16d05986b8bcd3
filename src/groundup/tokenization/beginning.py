"""Whether a text of a model's begins with a token of its own: some models were trained so, and read badly without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer


def adds_bos(tokenizer: Tokenizer) -> bool:
    """Whether other tools put the beginning of text before a text: as the settings say, or the template of `tokenizer.json`."""
    if tokenizer.bos_id is None:
        return False
    if "add_bos_token" in tokenizer.config:
        return bool(tokenizer.config["add_bos_token"])
    after: dict[str, Any] = tokenizer.description.get("post_processor") or {}
    steps = after["processors"] if after.get("type") == "Sequence" else [after]
    firsts = [part for step in steps if step.get("type") == "TemplateProcessing" for part in step["single"][:1]]
    return any(part.get("SpecialToken", {}).get("id") == tokenizer.itos[tokenizer.bos_id] for part in firsts)
