"""What lies beside a `tokenizer.json`: the roles of special tokens, and the template conversations are written by.

`chat_template.jinja` is where a template lies by now; older folders have it in `tokenizer_config.json`, as a text or as a
list of named ones (`default`, `tool_use`). It is kept as one text and written as the file, so that there are never two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_atomically, write_json

TEMPLATE_FILE = "chat_template.jinja"


def settings_beside(file: Path) -> dict[str, Any]:
    """The settings of the folder `file` lies in; empty where it has none."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (file.parent / name).is_file():
            values = read_json(file.parent / name)
            if not isinstance(values, dict):
                raise GroundupError(f"{file.parent / name} holds no settings (a JSON object); get it again")
            config |= values
    template = file.parent / TEMPLATE_FILE
    if template.is_file():
        config["chat_template"] = template.read_text(encoding="utf-8")
    return config


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
    write_json(folder / "tokenizer_config.json", config)


def chat_template_of(config: dict[str, Any]) -> str | None:
    """The template in some settings; of several named ones the `default`."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {each["name"]: each["template"] for each in found if isinstance(each, dict) and "template" in each}
        found = named.get("default", next(iter(named.values()), None))
    return found if isinstance(found, str) and found else None
