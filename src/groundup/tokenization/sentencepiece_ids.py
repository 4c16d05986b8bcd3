"""Ids by the `sentencepiece` library itself, for models whose ids no `tokenizer.json` can give to the last token.

One idea: SentencePiece's Unigram search adds scores in 32 bits from the beginning of the text, and where two ways to cut it are
equally likely up to rounding, the sum so far decides (unigram_model.cc, `EncodeOptimized`). `tokenizers` adds in 64 bits from the
beginning of a word. So the model file stays beside `tokenizer.json`, `tokenizer_config.json` names it under `ids_from`, and
our one class asks the library it was made for. What a folder's ids are never depends on what is installed: without the library
there are none, and the file is part of the tokenizer's hash.

That file and `tokenizer.json` belong together is checked when the library is first asked: by every piece, and on samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers

from groundup.core.errors import GroundupError, missing_extra
from groundup.tokenization.fast import SAMPLES, FastEncoder, Ids, reference_ids
from groundup.tokenization.folder import MODEL_FILE, WAY_OUT
from groundup.tokenization.spelling import is_byte_name

Places = list[tuple[int, int]]


class SentencePieceIds:
    """Encodes by the library; raises `GroundupError` where it is not installed, or the model is not `description`'s."""

    def __init__(
        self,
        model: bytes,
        description: dict[str, Any],
        vocabulary: dict[str, int],
        reference: tokenizers.Tokenizer,
    ) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise missing_extra("sentencepiece", "sentencepiece", "encoding by this tokenizer") from None
        try:
            self._processor = SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise GroundupError(f"{MODEL_FILE} is no SentencePiece model ({error}); get the file again") from None
        self._words = {
            token["content"]: int(token["id"])
            for token in description.get("added_tokens") or ()
            if not token["special"] and int(token["id"]) >= len(self._processor)
        }
        self._reference = reference
        self._check(description["model"], vocabulary)

    def encoder(self) -> FastEncoder:
        """As the class wants it."""
        return FastEncoder("sentencepiece", self.ids, self.ids_of_many)

    def ids(self, text: str) -> Ids:
        """The ids of one text, whole: where it is cut depends on all that came before."""
        if any(word in text for word in self._words):
            return self.ids_around(self._words, self._reference, text)
        return np.array(self._processor.encode(text), np.uint32)

    def ids_of_many(self, texts: list[str]) -> list[Ids]:
        """The ids of each text."""
        if self._words:
            return [self.ids(text) for text in texts]
        return [np.array(ids, np.uint32) for ids in self._processor.encode(texts, num_threads=1)]

    def ids_around(self, names: dict[str, int], finder: tokenizers.Tokenizer, text: str) -> Ids:
        """The ids of a text where `finder` finds added tokens, `names`; what stands between them is a text of its own."""
        content = {id: name for name, id in names.items()}
        found, parts, at = finder.encode(text, add_special_tokens=False), [], 0
        for id, (start, end) in zip(found.ids, found.offsets, strict=True):
            # The unknown's id is also that of characters which are no name.
            if id in content and text[start:end].strip() == content[id].strip():
                parts += [self._between(text[at:start]), np.array([id], np.uint32)]
                at = end
        return np.concatenate([*parts, self._between(text[at:])])

    def _between(self, text: str) -> Ids:
        return np.array(self._processor.encode(text) if text else [], np.uint32)

    def places(self, text: str) -> Places:
        """Where in `text` each token begins and ends, in characters; all bytes of a character have its place."""
        pieces = self._processor.encode(text, out_type="proto").pieces
        ends = np.cumsum([len(character.encode("utf-8")) for character in text])  # in bytes, as the library counts
        starts_at = np.searchsorted(ends, [piece.begin for piece in pieces], "right").tolist()
        ends_at = np.searchsorted(ends, [piece.end for piece in pieces], "right").tolist()
        places = list(zip(starts_at, ends_at, strict=True))
        for i in range(len(places) - 2, -1, -1):
            start, end = places[i]
            if start == end and is_byte_name(pieces[i].piece) and is_byte_name(pieces[i + 1].piece):
                places[i] = places[i + 1]  # the library gives the character to the last of its bytes
        return places

    def _check(self, model: dict[str, Any], vocabulary: dict[str, int]) -> None:
        for id in range(len(self._processor)):
            piece = self._processor.id_to_piece(id)
            if vocabulary.get(piece) != id:
                raise GroundupError(
                    f"{MODEL_FILE} and tokenizer.json are not of one tokenizer: id {id} is {piece!r} in the first, and that "
                    f"is {vocabulary.get(piece, 'nothing')} in the second; get the folder again, or {WAY_OUT}"
                )
        if model["type"] != "Unigram":
            return
        for text in SAMPLES:
            ids, expected = self.ids(text).tolist(), reference_ids(self._reference, text).tolist()
            if ids != expected and not same_score(model, ids, expected):
                raise GroundupError(
                    f"{MODEL_FILE} and tokenizer.json cut {text[:40]!a} into ids that are not equally likely "
                    f"({ids[:8]} and {expected[:8]}); import the model again (`groundup tokenizer import`)"
                )


def same_score(model: dict[str, Any], ids: Sequence[int], others: Sequence[int]) -> bool:
    """Whether a `Unigram` model finds two ways to cut a text equally likely, up to rounding in 32 bits."""
    first, second = (sum(model["vocab"][id][1] for id in way) for way in (ids, others))
    return abs(first - second) <= 2.0**-22 * (abs(first) + abs(second)) * max(1, len(ids)) ** 0.5
