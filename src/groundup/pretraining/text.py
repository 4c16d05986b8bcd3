"""The first stage of a run: from what a person pointed at to token stores and their tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.core.files import folder_written_atomically
from groundup.core.progress import Reporter, SaidOnce
from groundup.data.mixture import Mixture
from groundup.data.prepare import prepare
from groundup.data.reading import Reading
from groundup.data.sources import described
from groundup.data.store import MANIFEST, TokenStore
from groundup.data.tokenizer_training import train_tokenizer
from groundup.pretraining.config import PretrainConfig
from groundup.tokenization.tokenizer import Tokenizer

READING = ("text_field", "separator", "format", "map", "encoding", "on_bad_row")
TEXT_SETTINGS = (*READING, "validation_fraction", "vocab_size")


def prepared_folder(config: PretrainConfig) -> Path | None:
    """The token store that `config.data` names, or None when it names text."""
    folders = [Path(path) for path in config.data if (Path(path) / MANIFEST).is_file()]
    if folders and len(config.data) > 1:
        raise GroundupError(
            f"{folders[0]} is prepared data and must be given alone; prepare all the text together with `groundup data prepare`"
        )
    return folders[0] if folders else None


def check_text(config: PretrainConfig) -> None:
    """Refuse, before anything is made, data that does not exist and settings that would have no effect."""
    if not config.data and not config.mix:
        raise GroundupError(
            "nothing to train on; name a prepared data folder, text files and folders, or a mixture with --mix"
        )
    if not config.mix and prepared_folder(config) is None:
        Reading(**_reading(config)).sources(list(config.data))
        return
    defaults = PretrainConfig()
    useless = [name for name in TEXT_SETTINGS if getattr(config, name) != getattr(defaults, name)]
    if config.tokenizer_algorithm != "bpe":
        useless.append("tokenizer_algorithm")
    if useless:
        raise GroundupError(
            f"{' and '.join(useless)} would have no effect: {config.data[0] if config.data else 'the mixture'} is prepared "
            "already; leave it out, or give the text"
        )


def vocab_size_for(n_bytes: int) -> int:
    """Entries of a tokenizer trained on so much text.

    Each entry must be seen often enough to be learned: about one entry for each kilobyte of text, between 1,024 and
    32,768, a power of two so that matrices stay in step with the hardware.
    """
    wanted = max(1024, min(32768, n_bytes // 1000))
    return 1 << (wanted.bit_length() - 1)


def text_stage(config: PretrainConfig, folder: Path, reporter: Reporter) -> tuple[Mixture, Tokenizer]:
    """Open the prepared data of a run; straight from text, train the tokenizer and prepare the text first.

    Each part is made once: a run that was killed here goes on where it stood. Raises `GroundupError` when the data was
    prepared with another tokenizer than the one asked for.
    """
    if config.mix:
        asked = Tokenizer.load(config.tokenizer).sha256 if config.tokenizer else None
        mixture = Mixture.open(config.mix, config.mix_alpha, tokenizer_sha=asked)
        return mixture, _tokenizer_of(mixture.store)
    prepared = prepared_folder(config)
    own = folder / "data"
    if prepared is None and (own / MANIFEST).is_file():
        prepared = own
    if prepared is None:
        prepared, reporter = own, SaidOnce(reporter)  # the tokenizer's training and preparing read the same files
        tokenizer = _tokenizer_for_text(config, folder, reporter)
        prepare(
            list(config.data),
            tokenizer,
            own,
            validation_fraction=config.validation_fraction,
            **_reading(config),
            n_threads=config.threads,
            reporter=reporter,
        )
    # A run that prepared its own text has a copy of the tokenizer; the one it came from may be gone.
    asked = open_tokenizer(config.tokenizer) if config.tokenizer and prepared != own else None
    store = TokenStore.open(prepared, tokenizer_sha=asked.sha256 if asked else None)
    return Mixture.of(store), _tokenizer_of(store)


def _tokenizer_of(store: TokenStore) -> Tokenizer:
    """The store's copy of its tokenizer, which must still be the one it was prepared with."""
    tokenizer = Tokenizer.load(store.tokenizer_folder)
    if tokenizer.sha256 != store.manifest["tokenizer"]["sha256"]:
        raise GroundupError(
            f"{store.tokenizer_folder} is not the tokenizer that {store.folder} was prepared with "
            f"({tokenizer.sha256[:12]}, not {store.manifest['tokenizer']['sha256'][:12]}); put the old one back, or prepare again"
        )
    return tokenizer


def _tokenizer_for_text(config: PretrainConfig, run: Path, reporter: Reporter) -> Tokenizer:
    """The tokenizer asked for, the one an earlier attempt of this run trained, or a new one."""
    if config.tokenizer:
        return open_tokenizer(config.tokenizer)
    folder = run / "tokenizer"
    if not folder.is_dir():
        sources = Reading(**_reading(config)).sources(list(config.data))
        n_bytes = sum(source.n_bytes for source in sources)
        vocab_size = config.vocab_size or vocab_size_for(n_bytes)
        reporter.say(f"reading     {described(sources)}")
        tokenizer = train_tokenizer(
            list(config.data),
            algorithm=config.tokenizer_algorithm,
            vocab_size=vocab_size,
            byte_fallback=None if config.byte_fallback else False,
            exact=config.vocab_size is not None,
            **_reading(config),
            validation_fraction=config.validation_fraction,
            reporter=reporter,
        )
        with folder_written_atomically(folder) as place:
            tokenizer.save(place)
    return Tokenizer.load(folder)


def _reading(config: PretrainConfig) -> dict[str, Any]:
    """The settings of how files are read, as the functions of the data room take them."""
    return {name: getattr(config, name) for name in READING}
