"""Characters: every character of the text is a token.

With byte fallback (SentencePiece: Kudo and Richardson 2018, arXiv:1808.06226), a character that was not seen is spelled
by its UTF-8 bytes, so nothing is unknown. Without, ids are the places in the sorted list of characters, as
textbooks write it (`stoi = {c: i for i, c in enumerate(sorted(set(text)))}`), and what was not seen is lost.
"""

from __future__ import annotations

from collections import Counter

import tokenizers
from tokenizers import decoders, models

from groundup.core.errors import GroundupError
from groundup.tokenization.algorithms._text import CountedTexts, Request
from groundup.tokenization.special import SPECIAL_TOKENS

OPTIONS = {"byte_fallback": True, "min_frequency": 1}
SPECIAL = SPECIAL_TOKENS
MOST_BYTES = 300_000_000


def train(texts: CountedTexts, request: Request) -> tokenizers.Tokenizer:
    """All characters seen, or the most frequent ones when there are more than `request.n_learned` has room for."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    texts.check_not_empty()
    bytes_ = byte_names() if request.byte_fallback else []
    room = request.n_learned - len(bytes_)
    if room < 1:
        raise GroundupError(
            f"vocab_size {request.vocab_size} leaves no room for characters beside "
            f"{len(bytes_)} bytes and {len(request.special.names())} special tokens; ask for more"
        )
    often = sorted(character for character, n in counts.items() if n >= request.min_frequency)
    kept = sorted(often, key=counts.__getitem__, reverse=True)[:room]
    if len(kept) < len(often):
        request.reporter.warn(
            f"{len(often):,} different characters but room for {len(kept):,}; the rarest are "
            + ("spelled by their bytes" if request.byte_fallback else f"read as {request.special.unk}")
        )
    # The library wants the name of the unknown token among the tokens, so the special ones are listed here too.
    tokens = [*bytes_, *sorted(kept), *request.special.names()]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab={token: id for id, token in enumerate(tokens)},
            merges=[],
            byte_fallback=request.byte_fallback,
            unk_token=None if request.byte_fallback else request.special.unk,
        )
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def byte_names() -> list[str]:
    """How SentencePiece writes the 256 bytes in a vocabulary of characters: `<0x00>` to `<0xFF>`."""
    return [f"<0x{byte:02X}>" for byte in range(256)]
