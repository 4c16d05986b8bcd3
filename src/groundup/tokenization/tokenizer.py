"""Text to ids and back: one class for every tokenizer, whoever trained it.

The `tokenizers` library is the reference for what a `tokenizer.json` means; `fast.py` does the same work faster where
that is proved, and `sentencepiece_ids.py` asks SentencePiece where only it gives SentencePiece's ids. Text is from people
and stays text: `encode` never makes a special id, even from the characters of a special token's name, unless asked with
`allow_special`. The ids of a text are its own: nothing (no beginning of text, no template) is put around them.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from groundup.core.device import n_cores
from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_atomically
from groundup.tokenization.fast import (
    FastEncoder,
    Ids,
    fast_encoder,
    has_added_words,
    is_char,
    merge_pairs,
    reference_ids,
)
from groundup.tokenization.folder import (
    IDS_FROM,
    MODEL_FILE,
    chat_template_of,
    model_beside,
    settings_beside,
    write_settings,
)
from groundup.tokenization.guard import description_for_people, vocabulary_of
from groundup.tokenization.patterns import MayCut, cut_rule, find_pattern, never_cut, slices
from groundup.tokenization.sentencepiece_ids import SentencePieceIds
from groundup.tokenization.special import SPECIAL_TOKENS
from groundup.tokenization.spelling import Spelling, estimated_bytes, find_spelling, is_byte_name
from groundup.tokenization.streaming import TextStream
from groundup.tokenization.texts import checked, in_groups

# Texts shorter than this many characters do not wait for the fast encoder to be built and proved.
_SHORT = 20_000
# A long text is encoded in slices of about this many characters, so that memory stays near the size of the ids.
_SLICE = 1 << 20


class Tokenizer:
    """Ids are 0 to `vocab_size` - 1. Make one by `Tokenizer.load(folder)` or `training.train_tokenizer(texts)`."""

    def __init__(self, tokenizer_json: str, config: dict[str, Any], sentencepiece_model: bytes | None = None) -> None:
        """Take the contents of a `tokenizer.json` (kept to the byte, for `save`) and of a `tokenizer_config.json`.

        With a `sentencepiece_model` (the file's content) the ids are from it: `sentencepiece_ids.py` says when and why.
        """
        self._json = tokenizer_json
        self.sentencepiece_model = sentencepiece_model
        self.description: dict[str, Any] = json.loads(tokenizer_json)
        self.config = config
        if (IDS_FROM in config) != (sentencepiece_model is not None):
            raise GroundupError(
                f"a tokenizer whose config has {IDS_FROM} takes a sentencepiece_model, and no other does"
            )
        added = self.description.get("added_tokens") or []
        self._added = {token["content"]: int(token["id"]) for token in added}
        # The tokenizer for text of people, which knows no special tokens (guard.py).
        self._ordinary = description_for_people(self.description)
        self._reference = tokenizers.Tokenizer.from_str(json.dumps(self._ordinary))
        self._reference.encode_special_tokens = True
        self._vocabulary = vocabulary_of(self.description)
        self.vocab_size = max(self._vocabulary.values()) + 1
        self.special_ids = frozenset(int(token["id"]) for token in added if token["special"])
        self.eos_id, self.bos_id, self.pad_id, self.unk_id = (self._role(role) for role in ("eos", "bos", "pad", "unk"))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Open a `tokenizer.json`, or the one in a folder, written by Groundup or by others.

        Raises `GroundupError` when it is missing or broken.
        """
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise GroundupError(
                f"there is no tokenizer at {path}: {file} is missing; "
                "make one with `groundup tokenizer train TEXTS --out FOLDER`"
            )
        description = read_json(file)
        if not isinstance(description, dict) or not isinstance(description.get("model"), dict):
            raise GroundupError(f"{file} is not a tokenizer.json: it has no `model`; get it again or train a new one")
        config = settings_beside(file)
        model = model_beside(file, config)
        try:
            return cls(file.read_text(encoding="utf-8"), config, model)
        except Exception as error:  # the library raises bare Exception; a broken file is KeyError or TypeError here
            raise GroundupError(
                f"{file} cannot be used as a tokenizer ({error or type(error).__name__}); get it again or train one"
            ) from error

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json`, chat template and model file; `AutoTokenizer` opens them."""
        folder = Path(folder)
        write_atomically(folder / "tokenizer.json", self._json)
        if self.sentencepiece_model is not None:
            write_atomically(folder / MODEL_FILE, self.sentencepiece_model)
        write_settings(folder, self.config)

    @property
    def chat_template(self) -> str | None:
        """The Jinja source by which conversations are written for the model, if it came with one."""
        return chat_template_of(self.config)

    def with_chat_template(self, source: str) -> Tokenizer:
        """The same tokenizer, which is saved with another chat template."""
        return Tokenizer(self._json, self.config | {"chat_template": source}, self.sentencepiece_model)

    # ---- text to ids

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of `text`; with `allow_special`, names of special tokens in it become their ids."""
        if allow_special and self._by_sentencepiece is not None:
            return self._by_sentencepiece.ids_around(self._added, self._with_special, checked(text)).tolist()
        if allow_special:
            return self._with_special.encode(checked(text), add_special_tokens=False).ids
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> Ids:
        """The ids of `text` as uint32; fastest for long texts. Raises `GroundupError` on half a surrogate pair."""
        checked(text)
        if len(text) < _SHORT and "_fast" not in self.__dict__ and self.sentencepiece_model is None:
            return self._slow(text)
        encode = self._fast or self._slow
        parts = [encode(part) for part in self.slices(text)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint32), *parts])

    def prepare(self) -> None:
        """Build the fast encoder now, which otherwise the first long text waits for."""
        _ = self._fast

    def encode_many(self, texts: Iterable[str], n_threads: int | None = None) -> Iterator[Ids]:
        """The ids of each text, in order, by `n_threads` (all cores by default).

        Texts are read only a few megabytes ahead of what is taken, so memory stays bounded.
        """
        n_threads = n_threads or n_cores()
        self.prepare()  # once, before the threads want it
        if n_threads == 1:
            for group in in_groups(texts, _SLICE):
                yield from self._encode_group(group)
            return
        with ThreadPoolExecutor(n_threads) as pool:
            waiting: deque[Any] = deque()
            for group in in_groups(texts, _SLICE):
                waiting.append(pool.submit(self._encode_group, group))
                if len(waiting) > 2 * n_threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _encode_group(self, texts: list[str]) -> list[Ids]:
        if self._fast and max(map(len, texts)) <= _SLICE:
            return self._fast.encode_group([checked(text) for text in texts])
        return [self.encode_array(text) for text in texts]

    def safe_cut(self, text: str, near: int) -> int:
        """The greatest position up to `near` found where both halves have together the ids of the whole; 0 if none.

        Positions are looked for between neighbouring characters whose border no word crosses: before whitespace that
        follows a word, after a line break (`patterns.py` says why that is exact). A text with none, such as a
        megabyte of one letter, must stay whole.
        """
        near = max(0, min(near, len(text)))
        if near == len(text):
            return near
        may_cut = self._may_cut
        return next((i for i in range(near, 0, -1) if may_cut(text[i - 1], text[i])), 0)

    def slices(self, text: str, length: int = _SLICE) -> Iterator[str]:
        """Cut `text` at safe places into parts of about `length` characters: their ids joined are the ids of `text`."""
        return slices(text, length, self._may_cut)

    @cached_property
    def _may_cut(self) -> MayCut:
        if self._is_char:
            return lambda before, after: True
        if self.sentencepiece_model is not None:
            return never_cut
        # Of added words that are looked for across word borders nothing is promised.
        return never_cut if has_added_words(self._ordinary) else cut_rule(self.description)

    @cached_property
    def _by_sentencepiece(self) -> SentencePieceIds | None:
        model = self.sentencepiece_model
        return None if model is None else SentencePieceIds(model, self._ordinary, self._vocabulary, self._reference)

    @cached_property
    def _fast(self) -> FastEncoder | None:
        if self._by_sentencepiece is not None:
            return self._by_sentencepiece.encoder()
        return fast_encoder(self._ordinary, self._reference)

    def _slow(self, text: str) -> Ids:
        try:
            return reference_ids(self._reference, text)
        except BaseException as error:  # what the library's compiled part throws when it stops is no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise GroundupError(
                f"the tokenizers library stops on this text ({error}), a fault in how it carries out this tokenizer.json; if "
                "the tokenizer was made by SentencePiece, import its .model file instead (`groundup tokenizer import`)"
            ) from None

    @cached_property
    def _with_special(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(self._json)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def words(self, text: str) -> list[str]:
        """The words `text` is split into before pieces are looked for, as the model sees them (bytes in disguise)."""
        normalizer, splitter = self._reference.normalizer, self._reference.pre_tokenizer
        text = normalizer.normalize_str(checked(text)) if normalizer else checked(text)
        return [word for word, _ in splitter.pre_tokenize_str(text)] if splitter else [text]

    def cut_word(self, word: str) -> list[int]:
        """The ids of one of the `words`."""
        return [piece.id for piece in self._reference.model.tokenize(word)]

    # ---- ids to text

    def decode(
        self, ids: Sequence[int] | npt.NDArray[Any], *, skip_special: bool = False, continued: bool = False
    ) -> str:
        """The text of `ids`; bytes that are no UTF-8 (half a character) show as U+FFFD.

        SentencePiece puts a space before a text, which its first piece spells and decoding takes away again. `continued`
        says that other text came before these ids, so that their first space is kept.
        """
        checked = [self._checked_id(id) for id in ids]
        if skip_special:
            checked = [id for id in checked if id not in self.special_ids]
        if self.spelling is None:
            return self._with_special.decode(checked, skip_special_tokens=False)
        table = self.spelling.table
        text = b"".join([table[id] for id in checked]).decode("utf-8", errors="replace")
        if self.spelling.drops_space and not continued:
            text = text.removeprefix(" ")
        return text

    def stream(self, *, skip_special: bool = False, continued: bool = False) -> TextStream:
        """Decode ids one by one as they are generated: `push(id)` and, at the end, `flush()`."""
        return TextStream(self, skip_special=skip_special, continued=continued)

    def pieces(self, text: str) -> list[tuple[int, str, bytes]]:
        """For display: each id of `text`, its piece as text (stray bytes as `\\xe4`), and the bytes it stands for.

        Pieces of `wordpiece` and of words have no bytes of their own: they are shown as the vocabulary writes them.
        """
        table, ids = self.bytes_table(), self.encode(text)
        if table is None:
            return [(id, self.token_of(id), self.token_of(id).encode("utf-8")) for id in ids]
        return [(id, table[id].decode("utf-8", errors="backslashreplace"), table[id]) for id in ids]

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """How many UTF-8 bytes each id stands for, int32 [vocab_size]; 0 for special tokens, the unknown one too.

        An estimate for `wordpiece` and for words, whose pieces have no bytes of their own (`spelling.py`). SentencePiece's
        space before a text counts, so a text may come out one byte longer than it is.
        """
        table = self.bytes_table()
        if table is None:
            prefix = self.description["model"].get("continuing_subword_prefix") or ""
            lengths = np.zeros(self.vocab_size, dtype=np.int32)
            for token, id in self._vocabulary.items():
                lengths[id] = estimated_bytes(token, prefix)
        else:
            lengths = np.array([len(piece) for piece in table], dtype=np.int32)
        lengths[list(self.special_ids)] = 0
        return lengths

    def bytes_table(self) -> list[bytes] | None:
        """The bytes of each id, or None for a tokenizer whose pieces have none of their own."""
        return self.spelling.table if self.spelling else None

    def token_of(self, id: int) -> str:
        """An id's token as the vocabulary writes it, such as `##ing`, `▁the` or `<0xE4>`."""
        return self._tokens[self._checked_id(id)]

    def library_offsets(self, text: str) -> list[tuple[int, int]]:
        """The places (start, end) of the tokens of `text`, in characters, as the library keeps count of them."""
        if self._by_sentencepiece is not None:
            return self._by_sentencepiece.places(checked(text))
        return self._reference.encode(checked(text), add_special_tokens=False).offsets

    @cached_property
    def _tokens(self) -> list[str]:
        tokens = [""] * self.vocab_size
        for token, id in self._vocabulary.items():
            tokens[id] = token
        return tokens

    @cached_property
    def spelling(self) -> Spelling | None:
        """What the ids spell, byte for byte; None for a tokenizer whose pieces have no bytes of their own."""
        return find_spelling(self.description, self._vocabulary, self._added)

    def _checked_id(self, id: Any) -> int:
        if not 0 <= id < self.vocab_size:
            raise GroundupError(f"id {id} is not of this tokenizer, whose ids are 0 to {self.vocab_size - 1}")
        return int(id)

    # ---- what it is

    def id_of(self, token: str) -> int | None:
        """The id of one token by its name, as `<|im_start|>`; None when the vocabulary does not have it."""
        return self._vocabulary.get(token)

    @property
    def algorithm(self) -> str:
        """`bpe`, `wordpiece`, `unigram`, `char` or `word`."""
        kind = str(self.description["model"]["type"]).lower()
        return "char" if self._is_char else "word" if kind == "wordlevel" else kind

    def joinable_ids(self) -> set[int]:
        """The ids that byte pairs can be made of: no special tokens, no added words, no bytes spelled `<0xE4>`."""
        named_bytes = {id for token, id in self._vocabulary.items() if is_byte_name(token)}
        return set(self._vocabulary.values()) - set(self._added.values()) - named_bytes

    def to_json(self) -> str:
        """The contents of `tokenizer.json`."""
        return self._json

    @cached_property
    def stoi(self) -> dict[str, int]:
        """String to id, as textbooks name it: each token as the vocabulary writes it, in the order of the ids."""
        return dict(sorted(self._vocabulary.items(), key=lambda entry: entry[1]))

    @cached_property
    def itos(self) -> dict[int, str]:
        """Id to string: the reverse of `stoi`."""
        return {id: token for token, id in self.stoi.items()}

    @property
    def library(self) -> str:
        """What long texts are encoded by: `gigatoken`, `tiktoken`, `numpy`, `sentencepiece` or `tokenizers`."""
        return self._fast.library if self._fast else "tokenizers"

    @property
    def is_fast(self) -> bool:
        """Whether long texts go through the fast encoder; False when it is not proved equal to `tokenizers`."""
        return self._fast is not None

    @property
    def pattern(self) -> str | None:
        """The name of the pre-splitting pattern of a byte-pair tokenizer (`patterns.py`), or None when it is none of ours."""
        pattern = find_pattern(self.description.get("pre_tokenizer"))
        return pattern.name if pattern else None

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides which ids stand for which text; formatting and padding options do not."""
        model = self.description["model"] | {"merges": merge_pairs(self.description["model"])}
        parts = {key: self.description.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")}
        content = parts | {"model": model, "added_tokens": self._added}
        if self.sentencepiece_model is not None:
            content["ids_from"] = hashlib.sha256(self.sentencepiece_model).hexdigest()
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    @cached_property
    def _is_char(self) -> bool:
        return is_char(self.description)

    def _role(self, role: str) -> int | None:
        """The id of a role: as the config says; where it says nothing, our own name for it if it is a special token."""
        key = f"{role}_token"
        if key not in self.config:
            id = self._added.get(getattr(SPECIAL_TOKENS, role))
            return id if id in self.special_ids else None
        token = self.config[key]
        return self._vocabulary.get(token["content"] if isinstance(token, dict) else token)


def check_place(folder: str | Path) -> None:
    """Refuse to write a vocabulary into a model folder, whose weights are for the one that lies there."""
    if (Path(folder) / "config.json").exists():
        raise GroundupError(f"{folder} holds a model, whose tokenizer this one would replace; choose another folder")
