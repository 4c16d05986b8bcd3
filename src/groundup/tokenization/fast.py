r"""The fast paths from text to ids, each used only where it is known to equal the reference, the `tokenizers` library.

Byte pairs are merged by `tiktoken`, several times faster than `tokenizers`. The two differ in principle: `tokenizers`
merges the pairs of a list, `tiktoken` any two neighbours that spell a token, the lowest id first. They are equal when
(1) ids grow along the list of merges, (2) each merge makes a token of its own, and (3) every token's own bytes come
out of the reference as that one token. For let them part for the first time at neighbours (u, v) that spell a token t
but are not its merge. What happened inside t so far is what happens when t stands alone, so t alone passes through
(u, v) as well, and with its only merge out of reach never becomes t, against (3). So checking each token once
(`_is_canonical`) is a proof for every text. What it leaves open is whether both libraries read the pattern alike (their
Unicode tables could be of different years): a sample with letters and digits of recent years is compared besides.

Characters are looked up in one numpy table over UTF-32 code points.
"""

from __future__ import annotations

import itertools
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from groundup.tokenization.patterns import find_pattern

Ids = npt.NDArray[np.uint32]
Encoder = Callable[[str], Ids]

# The corners of both patterns; letters, digits and a composition that entered Unicode in versions 13 to 17.
_SAMPLE = (
    "The cat's whiskers, IT'S 1234567 don't we'll I'M 'ſ  two  spaces\n\n \n\ttab\r\n\r\nend \u00a0\u2003\u3000x\u0085y"
    "naïve café 東京、大阪。 हिन्दी العربية 👩‍👩‍👧‍👦🏽 e\u0301 \u200b\x00\x1c\x7f x = a[i]+=2;//\r\n"
    "\U00010e80\U00030000\U00010570\U0001df00\U0001e4d0\U00031350\U0002ebf0\U00010d4a\U00010d41\u1c89\U000323b0\ua7ce"
    " \U000105d2\u0307 <|endoftext|> trailing   "
)


def byte_alphabet() -> dict[str, int]:
    """The 256 printable characters that stand for bytes in a byte-level vocabulary, each with its byte.

    The mapping is GPT-2's (encoder.py, bytes_to_unicode): printable Latin-1 stands for itself, the rest is moved up
    past U+0100 in order.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(moved)}


def merge_pairs(model: dict[str, Any]) -> list[tuple[str, str]]:
    """The merges of a `tokenizer.json`, which older files write as `"a b"` and newer ones as `["a", "b"]`."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges") or ())
    return [(left, right) for left, right in pairs]


def fast_encoder(description: dict[str, Any], reference: Tokenizer) -> Encoder | None:
    """The fast encoder of a parsed `tokenizer.json`, or None when it has none that is known to equal `reference`."""
    if is_char(description):
        return _char_encoder(description["model"])
    return _byte_pair_encoder(description, reference)


def is_char(description: dict[str, Any]) -> bool:
    """Whether every character is a word of its own: BPE without merges over text that nothing changed or split."""
    model = description["model"]
    return (
        model["type"] == "BPE"
        and not model.get("merges")
        and not description.get("pre_tokenizer")
        and not description.get("normalizer")
    )


def has_added_words(description: dict[str, Any]) -> bool:
    """Whether words were added that `tokenizers` looks for in any text: added tokens that are no special ones."""
    return not all(token["special"] for token in description.get("added_tokens") or ())


def _char_encoder(model: dict[str, Any]) -> Encoder | None:
    missing = np.iinfo(np.uint32).max
    table = np.full(sys.maxunicode + 1, missing, dtype=np.uint32)
    for token, token_id in model["vocab"].items():
        if len(token) == 1:
            table[ord(token)] = token_id

    if not model.get("byte_fallback"):
        unknown = model["vocab"].get(model.get("unk_token"))
        if unknown is None or model.get("fuse_unk"):
            return None
        table[table == missing] = unknown
        return lambda text: table[_code_points(text)]

    byte_ids = np.array([model["vocab"].get(f"<0x{byte:02X}>", missing) for byte in range(256)], dtype=np.uint32)
    if (byte_ids == missing).any():
        return None

    def encode(text: str) -> Ids:
        code_points = _code_points(text)
        ids = table[code_points]
        known = ids != missing
        if known.all():
            return ids
        # A character outside the vocabulary takes one id for each of its UTF-8 bytes, in the place it stands.
        n_utf8_bytes = 1 + (code_points >= 0x80) + (code_points >= 0x800) + (code_points >= 0x10000)
        is_byte = np.repeat(~known, np.where(known, 1, n_utf8_bytes))
        result = np.empty(len(is_byte), dtype=np.uint32)
        result[~is_byte] = ids[known]
        spelled = code_points[~known].tobytes().decode("utf-32-le").encode("utf-8")
        result[is_byte] = byte_ids[np.frombuffer(spelled, dtype=np.uint8)]
        return result

    return encode


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _byte_pair_encoder(description: dict[str, Any], reference: Tokenizer) -> Encoder | None:
    import tiktoken

    model, normalizer = description["model"], description.get("normalizer")
    pattern = find_pattern(description.get("pre_tokenizer"))
    # With ignore_merges whole words are looked up first, which would make the proof below see nothing of the merges.
    oddities = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
    is_plain = (
        model["type"] == "BPE"
        and normalizer in (None, {"type": "NFC"})
        and not any(model.get(key) for key in oddities)
        and not has_added_words(description)
    )
    if pattern is None or not is_plain or not _is_canonical(model, reference):
        return None

    alphabet, vocabulary = byte_alphabet(), model["vocab"]
    tokens = [*alphabet, *("".join(pair) for pair in merge_pairs(model))]
    ranks = {bytes(alphabet[character] for character in token): vocabulary[token] for token in tokens}
    # One special token because tiktoken searches an empty list of them slowly; it is never allowed, so never made.
    encoding = tiktoken.Encoding(
        "groundup", pat_str=pattern.regex, mergeable_ranks=ranks, special_tokens={"<|never|>": max(ranks.values()) + 1}
    )

    def encode(text: str) -> Ids:
        # Normalised text can differ from the text only if it is not NFC; the reference then does all of it.
        if normalizer is None or text.isascii() or unicodedata.is_normalized("NFC", text):
            try:
                return encoding.encode_to_numpy(text, disallowed_special=())
            except ValueError:
                pass  # the regex engine ran out of stack: a run of whitespace about a megabyte long
        return reference_ids(reference, text)

    sample = unicodedata.normalize("NFC", _SAMPLE) if normalizer else _SAMPLE
    return encode if np.array_equal(encode(sample), reference_ids(reference, sample)) else None


def reference_ids(reference: Tokenizer, text: str) -> Ids:
    """Ids of `text` by the `tokenizers` library, without what its template would add around them."""
    return np.array(reference.encode(text, add_special_tokens=False).ids, dtype=np.uint32)


def _is_canonical(model: dict[str, Any], reference: Tokenizer) -> bool:
    """Whether conditions (1) to (3) of the module's docstring hold, and the vocabulary has all 256 bytes."""
    vocabulary, products = model["vocab"], ["".join(pair) for pair in merge_pairs(model)]
    if not all(character in vocabulary for character in byte_alphabet()):
        return False
    ids = [vocabulary[product] for product in products]
    if any(later <= earlier for earlier, later in itertools.pairwise(ids)):
        return False
    merge = reference.model.tokenize
    return all([piece.id for piece in merge(product)] == [id] for product, id in zip(products, ids, strict=True))
