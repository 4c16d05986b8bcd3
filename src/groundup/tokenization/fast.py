r"""The fast paths from text to ids, each used only where it is known to equal the reference, the `tokenizers` library.

Byte pairs are merged by `gigatoken` where it is installed and knows the pattern, else by `tiktoken`; both are many times
faster than `tokenizers`. The libraries differ in principle: `tokenizers`
merges the pairs of a list, `tiktoken` any two neighbours that spell a token, the lowest id first. They are equal when
(1) ids grow along the list of merges, (2) each merge makes a token of its own, and (3) every token's own bytes come
out of the reference as that one token. For let them part for the first time at neighbours (u, v) that spell a token t
but are not its merge. What happened inside t so far is what happens when t stands alone, so t alone passes through
(u, v) as well, and with its only merge out of reach never becomes t, against (3). So checking each token once
(`_is_canonical`) is a proof for every text. What it leaves open is whether the libraries read the pattern alike (their
Unicode tables could be of different years): samples with letters and digits of recent years are compared besides,
and `gigatoken`, which has no expressions but splits by code of its own, is watched on (`fast_gigatoken.py`).

Characters are looked up in one numpy table over UTF-32 code points.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from groundup.tokenization.fast_added_words import added_words, around_words, can_stand_apart
from groundup.tokenization.fast_gigatoken import Gigatoken, gigatoken_is_there
from groundup.tokenization.patterns import Pattern, find_pattern

Ids = npt.NDArray[np.uint32]
Encoder = Callable[[str], Ids]


@dataclass(frozen=True)
class FastEncoder:
    """A fast encoder and the `library` it is by; called with a text it gives the ids."""

    library: str
    encode: Encoder
    encode_group: Callable[[list[str]], list[Ids]]

    def __call__(self, text: str) -> Ids:
        return self.encode(text)


_NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}  # RFC 3629, section 1; GPT-NeoX's vocabulary lacks them

# The corners of the patterns; letters, digits and a composition that entered Unicode in versions 13 to 17.
_SAMPLE = (
    "The cat's whiskers, IT'S 1234567 don't we'll I'M 'ſ  two  spaces\n\n \n\ttab\r\n\r\nend \u00a0\u2003\u3000x\u0085y"
    "naïve café 東京、大阪。 हिन्दी العربية 👩‍👩‍👧‍👦🏽 e\u0301 \u200b\x00\x1c\x7f x = a[i]+=2;//\r\n"
    "\U00010e80\U00030000\U00010570\U0001df00\U0001e4d0\U00031350\U0002ebf0\U00010d4a\U00010d41\u1c89\U000323b0\ua7ce"
    " \U000105d2\u0307 <|endoftext|> trailing   "
)
# And how a text may end or begin.
SAMPLES = (
    _SAMPLE,
    "",
    " ",
    "\n",
    "x\n  ",
    "x. \n\n",
    "x/\r\n/ 'd",
    "\t x\t",
    "\u3000\u3000é",
    "A's1234 ",
    "camelCaseÉTÉs",
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


def fast_encoder(description: dict[str, Any], reference: Tokenizer) -> FastEncoder | None:
    """The fast encoder of a parsed `tokenizer.json`, or None when it has none that is known to equal `reference`."""
    if is_char(description):
        encode = _char_encoder(description["model"])
        return encode and FastEncoder("numpy", encode, lambda texts: [encode(text) for text in texts])
    words = added_words(description)
    if not words:
        return _byte_pair_encoder(description, reference)
    if not can_stand_apart(words):
        return None
    without = description | {"added_tokens": [token for token in description["added_tokens"] if token["special"]]}
    bare = Tokenizer.from_str(json.dumps(without))
    bare.encode_special_tokens = True
    found = _byte_pair_encoder(without, bare)
    if found is None:
        return None
    # Not the ids of the file: a word that is spelled as a piece of the vocabulary has that piece's.
    known = reference.get_vocab(with_added_tokens=True)
    between = around_words({word["content"]: known[word["content"]] for word in words}, found.encode)

    def encode_with_words(text: str) -> Ids:
        return between(text) if _is_normalized(description, text) else reference_ids(reference, text)

    form = unicodedata.normalize if description.get("normalizer") else lambda _, text: text
    samples = [form("NFC", word["content"].join(SAMPLES)) for word in words]
    if not all(np.array_equal(encode_with_words(text), reference_ids(reference, text)) for text in samples):
        return None
    return FastEncoder(found.library, encode_with_words, lambda texts: [encode_with_words(text) for text in texts])


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
    return bool(added_words(description))


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


def _byte_pair_encoder(description: dict[str, Any], reference: Tokenizer) -> FastEncoder | None:
    model, normalizer = description["model"], description.get("normalizer")
    pattern = find_pattern(description.get("pre_tokenizer"))
    # With ignore_merges whole words are looked up first, which would make the proof below see nothing of the merges.
    oddities = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
    is_plain = (
        model["type"] == "BPE" and normalizer in (None, {"type": "NFC"}) and not any(model.get(key) for key in oddities)
    )
    if pattern is None or not is_plain or not _is_canonical(model, reference):
        return None

    def encode_slowly(text: str) -> Ids:
        return reference_ids(reference, text)

    def is_ready(text: str) -> bool:
        return _is_normalized(description, text)

    def only_ready(library: str, encode: Encoder, encode_group: Callable[[list[str]], list[Ids]]) -> FastEncoder | None:
        found = FastEncoder(
            library,
            lambda text: encode(text) if is_ready(text) else encode_slowly(text),
            lambda texts: encode_group(texts) if all(map(is_ready, texts)) else [found.encode(text) for text in texts],
        )
        samples = [unicodedata.normalize("NFC", sample) if normalizer else sample for sample in SAMPLES]
        is_equal = all(np.array_equal(found.encode(sample), encode_slowly(sample)) for sample in samples)
        return found if is_equal else None

    tiktoken = functools.cache(lambda: _tiktoken_encoder(model, pattern, encode_slowly))

    def encode_by_tiktoken(text: str) -> Ids:
        return tiktoken()(text)

    best = None
    if gigatoken_is_there():
        try:
            gigatoken = Gigatoken(description, pattern, encode_slowly, encode_by_tiktoken)
        except (ValueError, RuntimeError):
            pass  # a pattern or model that it does not know
        else:
            best = only_ready("gigatoken", gigatoken.encode, gigatoken.encode_group)
    return best or only_ready(
        "tiktoken", encode_by_tiktoken, lambda texts: [encode_by_tiktoken(text) for text in texts]
    )


def _is_normalized(description: dict[str, Any], text: str) -> bool:
    """Whether the text is as NFC would make it, if that is asked for; if it is not, the reference does all of it."""
    return description.get("normalizer") is None or text.isascii() or unicodedata.is_normalized("NFC", text)


def _tiktoken_encoder(model: dict[str, Any], pattern: Pattern, encode_slowly: Encoder) -> Encoder:
    import tiktoken

    alphabet, vocabulary = byte_alphabet(), model["vocab"]
    tokens = [*(letter for letter in alphabet if letter in vocabulary), *("".join(pair) for pair in merge_pairs(model))]
    ranks = {bytes(alphabet[character] for character in token): vocabulary[token] for token in tokens}
    # One special token because tiktoken searches an empty list of them slowly; it is never allowed, so never made.
    encoding = tiktoken.Encoding(
        "groundup", pat_str=pattern.regex, mergeable_ranks=ranks, special_tokens={"<|never|>": max(ranks.values()) + 1}
    )

    def encode(text: str) -> Ids:
        try:
            return encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError:  # the regex engine ran out of stack: a run of whitespace about a megabyte long
            return encode_slowly(text)

    return encode


def reference_ids(reference: Tokenizer, text: str) -> Ids:
    """Ids of `text` by the `tokenizers` library, without what its template would add around them."""
    return np.array(reference.encode(text, add_special_tokens=False).ids, dtype=np.uint32)


def _is_canonical(model: dict[str, Any], reference: Tokenizer) -> bool:
    """Whether conditions (1) to (3) of the module's docstring hold, and the vocabulary has all bytes of UTF-8."""
    vocabulary, products = model["vocab"], ["".join(pair) for pair in merge_pairs(model)]
    if not all(character in vocabulary for character, byte in byte_alphabet().items() if byte not in _NEVER_IN_UTF8):
        return False
    ids = [vocabulary[product] for product in products]
    if any(later <= earlier for earlier, later in itertools.pairwise(ids)):
        return False
    merge = reference.model.tokenize
    return all([piece.id for piece in merge(product)] == [id] for product, id in zip(products, ids, strict=True))
