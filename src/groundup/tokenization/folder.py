"""What lies beside a `tokenizer.json`: settings of roles, the chat template, and SentencePiece's model where ids are from it.

One idea: a setting that decides the ids is obeyed or refused, never passed over. `chat_template.jinja` is where a template lies
by now; older folders have it in `tokenizer_config.json`, as a text or as a list of named ones (`default`, `tool_use`). It is
kept as one text and written as the file, so that there are never two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_atomically, write_json

SETTINGS_FILE, MODEL_FILE, TEMPLATE_FILE = "tokenizer_config.json", "tokenizer.model", "chat_template.jinja"
# The setting that says ids are from the model file (sentencepiece_ids.py).
IDS_FROM = "ids_from"
WAY_OUT = f"take {IDS_FROM} out of {SETTINGS_FILE} for the ids of tokenizer.json, which may differ where cuts are tied"


def settings_beside(file: Path) -> dict[str, Any]:
    """What the files beside a `tokenizer.json` say of roles and of the chat template."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", SETTINGS_FILE):
        if (file.parent / name).is_file():
            values = read_json(file.parent / name)
            if not isinstance(values, dict):
                raise GroundupError(f"{file.parent / name} holds no settings (a JSON object); get it again")
            config |= values
    template = file.parent / TEMPLATE_FILE
    if template.is_file():
        config["chat_template"] = template.read_text(encoding="utf-8")
    return config


def model_beside(file: Path, config: dict[str, Any]) -> bytes | None:
    """The content of the SentencePiece model that the settings beside a `tokenizer.json` name; None where they name none.

    Raises `GroundupError` when it is missing.
    """
    if IDS_FROM not in config:
        return None
    settings, path = file.with_name(SETTINGS_FILE), file.with_name(MODEL_FILE)
    if config[IDS_FROM] != MODEL_FILE:
        raise GroundupError(
            f"{settings}: {IDS_FROM} is {config[IDS_FROM]!r}, but can only be {MODEL_FILE!r}; {WAY_OUT}"
        )
    if not path.is_file():
        raise GroundupError(
            f"{path} is missing, though {settings} says that the ids are from it; copy it from where the folder came "
            f"from, or {WAY_OUT}"
        )
    return path.read_bytes()


def write_settings(folder: Path, config: dict[str, Any]) -> None:
    """Write `tokenizer_config.json`, and `chat_template.jinja` when there is a template.

    A list of named templates stays in the settings, where `transformers` looks for one.
    """
    template = config.get("chat_template")
    if isinstance(template, str):
        write_atomically(folder / TEMPLATE_FILE, template)
        config = {name: value for name, value in config.items() if name != "chat_template"}
    else:
        (folder / TEMPLATE_FILE).unlink(missing_ok=True)  # another tokenizer's, which would go before ours
    write_json(folder / SETTINGS_FILE, config)


def chat_template_of(config: dict[str, Any]) -> str | None:
    """The template in some settings; of several named ones the `default`."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {each["name"]: each["template"] for each in found if isinstance(each, dict) and "template" in each}
        found = named.get("default", next(iter(named.values()), None))
    return found if isinstance(found, str) and found else None
