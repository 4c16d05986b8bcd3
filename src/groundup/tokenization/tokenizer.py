"""Text to ids and back: one class for every tokenizer, whoever trained it.

The `tokenizers` library is the reference for what a `tokenizer.json` means; `fast.py` does the same work faster where
that is proved. Text is from people and stays text: `encode` never makes a special id, even from the characters of
a special token's name, unless asked with `allow_special`. The ids of a text are its own: nothing (no beginning of
text, no template) is put around them.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_atomically, write_json
from groundup.tokenization.fast import (
    FastEncoder,
    Ids,
    byte_alphabet,
    fast_encoder,
    has_added_words,
    is_char,
    merge_pairs,
    reference_ids,
)
from groundup.tokenization.patterns import MayCut, cut_rule, find_pattern, never_cut, slices
from groundup.tokenization.special import SPECIAL_TOKENS

# Texts shorter than this many characters do not wait for the fast encoder to be built and proved.
_SHORT = 20_000
# A long text is encoded in slices of about this many characters, so that memory stays near the size of the ids.
_SLICE = 1 << 20

# The decoder of vocabularies whose pieces are what they spell, and `<0x41>` a byte.
_SPELLED_OUT = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
_BYTE_NAME = re.compile(r"<0x([0-9A-F]{2})>")


class Tokenizer:
    """Ids are 0 to `vocab_size` - 1. Make one by `Tokenizer.load(folder)` or `training.train_tokenizer(texts)`."""

    def __init__(self, tokenizer_json: str, config: dict[str, Any]) -> None:
        """Take the contents of a `tokenizer.json` (kept to the byte, for `save`) and of a `tokenizer_config.json`."""
        self._json = tokenizer_json
        self._description: dict[str, Any] = json.loads(tokenizer_json)
        self.config = config
        added = self._description.get("added_tokens") or []
        self._added = {token["content"]: int(token["id"]) for token in added}
        # What a text can never become: special tokens, and names in brackets that a family did not mark as special but
        # that give a conversation its structure all the same (`<tool_call>` of Qwen3).
        ordinary = self._description | {
            "added_tokens": [token | {"special": token["special"] or _is_markup(token["content"])} for token in added],
            "truncation": None,
            "padding": None,
        }
        self._ordinary = ordinary
        self._reference = tokenizers.Tokenizer.from_str(json.dumps(ordinary))
        self._reference.encode_special_tokens = True
        self._vocabulary = self._reference.get_vocab(with_added_tokens=True)
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
        config: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (file.parent / name).is_file():
                values = read_json(file.parent / name)
                if not isinstance(values, dict):
                    raise GroundupError(f"{file.parent / name} holds no settings (a JSON object); get it again")
                config |= values
        template = file.parent / "chat_template.jinja"
        if template.is_file():
            config["chat_template"] = template.read_text(encoding="utf-8")
        try:
            return cls(file.read_text(encoding="utf-8"), config)
        except Exception as error:  # the library raises bare Exception; a broken file is KeyError or TypeError here
            raise GroundupError(
                f"{file} cannot be used as a tokenizer ({error or type(error).__name__}); get it again or train one"
            ) from error

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `transformers.AutoTokenizer` opens."""
        folder = Path(folder)
        write_atomically(folder / "tokenizer.json", self._json)
        write_json(folder / "tokenizer_config.json", self.config)

    # ---- text to ids

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of `text`; with `allow_special`, names of special tokens in it become their ids."""
        if allow_special:
            return self._with_special.encode(_checked(text), add_special_tokens=False).ids
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> Ids:
        """The ids of `text` as uint32; fastest for long texts. Raises `GroundupError` on half a surrogate pair."""
        _checked(text)
        if len(text) < _SHORT and "_fast" not in self.__dict__:
            return self._slow(text)
        encode = self._fast or self._slow
        parts = [encode(part) for part in self.slices(text)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint32), *parts])

    def encode_many(self, texts: Iterable[str], n_threads: int | None = None) -> Iterator[Ids]:
        """The ids of each text, in order, by `n_threads` (all cores by default).

        Texts are read only a few megabytes ahead of what is taken, so memory stays bounded.
        """
        n_threads = n_threads or _n_cores()
        _ = self._fast  # built once, before the threads want it
        if n_threads == 1:
            for group in _groups(texts, _SLICE):
                yield from self._encode_group(group)
            return
        with ThreadPoolExecutor(n_threads) as pool:
            waiting: deque[Any] = deque()
            for group in _groups(texts, _SLICE):
                waiting.append(pool.submit(self._encode_group, group))
                if len(waiting) > 2 * n_threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _encode_group(self, texts: list[str]) -> list[Ids]:
        if self._fast and max(map(len, texts)) <= _SLICE:
            return self._fast.encode_group([_checked(text) for text in texts])
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
        # Of added words that are looked for across word borders nothing is promised.
        return never_cut if has_added_words(self._ordinary) else cut_rule(self._description)

    @cached_property
    def _fast(self) -> FastEncoder | None:
        return fast_encoder(self._ordinary, self._reference)

    def _slow(self, text: str) -> Ids:
        return reference_ids(self._reference, text)

    @cached_property
    def _with_special(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(self._json)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    # ---- ids to text

    def decode(self, ids: Sequence[int] | npt.NDArray[Any], *, skip_special: bool = False) -> str:
        """The text of `ids`; bytes that are no UTF-8 (half a character) show as U+FFFD."""
        checked = [self._checked_id(id) for id in ids]
        if skip_special:
            checked = [id for id in checked if id not in self.special_ids]
        if self._pieces is None:
            return self._reference.decode(checked, skip_special_tokens=False)
        return b"".join([self._pieces[id] for id in checked]).decode("utf-8", errors="replace")

    def stream(self, *, skip_special: bool = False) -> TextStream:
        """Decode ids one by one as they are generated: `push(id)` and, at the end, `flush()`."""
        return TextStream(self, skip_special=skip_special)

    def pieces(self, text: str) -> list[tuple[int, str, bytes]]:
        """For display: each id of `text`, its piece as text (stray bytes as `\\xe4`), and the bytes it stands for."""
        table = self._bytes_table()
        return [(id, table[id].decode("utf-8", errors="backslashreplace"), table[id]) for id in self.encode(text)]

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """How many UTF-8 bytes each id stands for, int32 [vocab_size]; 0 for special tokens."""
        lengths = np.array([len(piece) for piece in self._bytes_table()], dtype=np.int32)
        lengths[list(self.special_ids)] = 0
        return lengths

    def _bytes_table(self) -> list[bytes]:
        if self._pieces is None:
            raise GroundupError(
                f"the pieces of this {self.algorithm} tokenizer do not stand for fixed bytes; "
                "use one that works on bytes or characters"
            )
        return self._pieces

    @cached_property
    def _pieces(self) -> list[bytes] | None:
        """The bytes of each id, or None for a tokenizer whose pieces have none of their own."""
        decoder = json.dumps(self._description.get("decoder"))
        if self._is_char or self._description.get("decoder") == _SPELLED_OUT:
            spell = _spell_character
        elif '"ByteLevel"' in decoder and '"Sequence"' not in decoder:
            alphabet = byte_alphabet()

            def spell(token: str) -> bytes:
                try:
                    return bytes([alphabet[character] for character in token])
                except KeyError:  # no bytes in disguise: the library gives such a token out as it is written
                    return token.encode("utf-8")
        else:
            return None
        table = [b""] * self.vocab_size
        for token, id in self._vocabulary.items():
            table[id] = token.encode("utf-8") if token in self._added else spell(token)
        return table

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
        kind = str(self._description["model"]["type"]).lower()
        return "char" if self._is_char else "word" if kind == "wordlevel" else kind

    @cached_property
    def stoi(self) -> dict[str, int]:
        """String to id, as textbooks name it: each token as the vocabulary writes it, in the order of the ids."""
        return dict(sorted(self._vocabulary.items(), key=lambda entry: entry[1]))

    @cached_property
    def itos(self) -> dict[int, str]:
        """Id to string: the reverse of `stoi`."""
        return {id: token for token, id in self.stoi.items()}

    @property
    def is_fast(self) -> bool:
        """Whether long texts go through the fast encoder; False when it is not proved equal to `tokenizers`."""
        return self._fast is not None

    @property
    def library(self) -> str:
        """What long texts are encoded by: `gigatoken`, `tiktoken`, `numpy` or `tokenizers`."""
        return self._fast.library if self._fast else "tokenizers"

    @property
    def pattern(self) -> str | None:
        """The name of the pre-splitting pattern of a byte-pair tokenizer (`patterns.py`), or None when it is none of ours."""
        pattern = find_pattern(self._description.get("pre_tokenizer"))
        return pattern.name if pattern else None

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides which ids stand for which text; formatting and padding options do not."""
        model = self._description["model"] | {"merges": merge_pairs(self._description["model"])}
        parts = {key: self._description.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")}
        content = parts | {"model": model, "added_tokens": self._added}
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    @cached_property
    def _is_char(self) -> bool:
        return is_char(self._description)

    def _role(self, role: str) -> int | None:
        """The id of a role: as the config says; where it says nothing, our own name for it if it is a special token."""
        key = f"{role}_token"
        if key not in self.config:
            id = self._added.get(getattr(SPECIAL_TOKENS, role))
            return id if id in self.special_ids else None
        token = self.config[key]
        return self._vocabulary.get(token["content"] if isinstance(token, dict) else token)


class TextStream:
    """Turns ids into text one at a time and never gives out part of a character.

    The texts of all `push` calls and of `flush`, joined, are what `decode` gives for all ids together.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ids: list[int] = []
        self._given = ""

    def push(self, id: int) -> str:
        """Take one id; give the text that is certain now, possibly none."""
        pieces = self._tokenizer._pieces
        self._tokenizer._checked_id(id)
        if self._skip_special and id in self._tokenizer.special_ids:
            return ""
        if pieces is not None:
            return self._utf8.decode(pieces[id])
        self._ids.append(id)
        return self._new_text(self._tokenizer.decode(self._ids).rstrip("\ufffd"))

    def flush(self) -> str:
        """The end: what was held back, with U+FFFD for a character that never became whole."""
        if self._tokenizer._pieces is not None:
            return self._utf8.decode(b"", final=True)
        return self._new_text(self._tokenizer.decode(self._ids))

    def _new_text(self, text: str) -> str:
        new, self._given = text[len(self._given) :], text
        return new


def _is_markup(token: str) -> bool:
    return token[0] + token[-1] in ("<>", "[]")


def _spell_character(token: str) -> bytes:
    byte = _BYTE_NAME.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.encode("utf-8")


def _checked(text: str) -> str:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise GroundupError(
                f"character {error.start} of the text is half a surrogate pair ({text[error.start]!r}), which no "
                "encoding can hold; read the file as UTF-8 without errors='surrogateescape'"
            ) from None
    return text


def _groups(texts: Iterable[str], n_characters: int) -> Iterator[list[str]]:
    """Texts gathered until they are worth a thread's while."""
    group, size = [], 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= n_characters:
            yield group
            group, size = [], 0
    if group:
        yield group


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
