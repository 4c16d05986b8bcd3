"""Unigram: of many pieces, those that make the text likeliest (Kudo 2018, arXiv:1804.10959).

Begins with all frequent substrings of words and drops, round by round, those whose loss costs the least likelihood;
text is read by its likeliest pieces. Spaces are ordinary characters of pieces (`" the"`), and what no piece covers is
spelled by its UTF-8 bytes (byte fallback), so every text comes back, whatever it holds. SentencePiece's sign for a space,
U+2581, is not used: a text that holds that sign would come back with a space.

The library's trainer sums in another order in each run, so its scores differ in the last digits: they are rounded.
"""

from __future__ import annotations

import json
import math

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from groundup.core.errors import GroundupError
from groundup.tokenization.algorithms._text import CountedTexts, Request, Spool
from groundup.tokenization.algorithms.char import byte_names
from groundup.tokenization.patterns import PATTERNS
from groundup.tokenization.special import SPECIAL_TOKENS

OPTIONS = {"pattern": "qwen2"}
SPECIAL = SPECIAL_TOKENS
# Its many rounds over all words take about a second a megabyte of English, and twenty of random letters.
MOST_BYTES = 20_000_000

# With these in the vocabulary no name in brackets needs a byte, see `_names_score`.
_ASCII = [chr(code) for code in range(32, 127)]
_LONGEST_PIECE = 16  # SentencePiece's default (trainer_spec, max_sentencepiece_length)
_SEEDS_PER_PIECE = 20  # substrings it begins with; more change nothing for language and take long for random letters
_DIGITS = 5


def train(texts: CountedTexts, request: Request) -> tokenizers.Tokenizer:
    """Pieces and their log probabilities. Raises `GroundupError` when the text cannot fill the vocabulary."""
    n_pieces = request.n_learned - 256
    if n_pieces < len(_ASCII) + 1:
        raise GroundupError(
            f"vocab_size {request.vocab_size} is too small: 256 bytes, {len(_ASCII)} ASCII characters and "
            f"{len(request.special.names())} special tokens need {256 + len(_ASCII) + 1 + len(request.special.names())}"
        )
    pattern = PATTERNS[request.pattern]
    splitter = pre_tokenizers.Split(Regex(pattern.regex), behavior="isolated")
    trained = tokenizers.Tokenizer(models.Unigram())
    trained.pre_tokenizer = splitter
    parts = texts.parts(pattern.may_cut, lambda part: [word for word, _ in splitter.pre_tokenize_str(part)])
    with Spool(parts) as spool:
        texts.check_not_empty()
        # Rare characters are spelled by bytes: at most half of the pieces are single characters.
        kept = spool.most_frequent(max(1, (n_pieces - len(_ASCII)) // 2))
        trainer = trainers.UnigramTrainer(
            vocab_size=n_pieces,
            initial_alphabet=_ASCII,
            max_piece_length=_LONGEST_PIECE,
            seed_size=_SEEDS_PER_PIECE * n_pieces,  # pyright: ignore[reportCallIssue]: its stub forgets it
            show_progress=False,
        )
        trained.train_from_iterator(spool.without_rare(kept), trainer)
    pieces = _settled(json.loads(trained.to_str())["model"]["vocab"], len(kept) + len(_ASCII))
    if len(pieces) < n_pieces and request.exact:
        raise texts.too_small(request, request.vocab_size - n_pieces + len(pieces))
    names = request.special.names()
    score = _names_score([*names, *byte_names()], pieces)
    vocabulary = [*((name, score) for name in byte_names()), *pieces, *((name, score) for name in names)]
    unknown = len(vocabulary) - len(names) + names.index(request.special.unk)
    tokenizer = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=unknown, byte_fallback=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _settled(found: list[tuple[str, float]], n_characters: int) -> list[tuple[str, float]]:
    """The trained pieces without what differs from run to run: by falling score, equal ones by their text.

    Characters that no reading of the text needs are kept all the same, and the library numbers them in the order of a
    hash table: from the lowest score of all upwards, a ten-thousandth each. They all get that lowest score here.
    """
    lowest = min(score for _, score in found)
    unneeded = lowest + 1e-4 * (n_characters + 1)
    scores = {piece: lowest if len(piece) == 1 and score < unneeded else score for piece, score in found}
    return sorted(
        ((piece, round(score, _DIGITS)) for piece, score in scores.items()), key=lambda entry: (-entry[1], entry[0])
    )


def _names_score(names: list[str], pieces: list[tuple[str, float]]) -> float:
    """A score so low that a person's text `<0x41>` or `<|pad|>` is never read as the byte or the token of that name.

    All characters of such a name are pieces themselves, none less likely than the least likely piece; so reading it
    character by character scores at least its length times that, and this is lower.
    """
    return math.floor((1 + max(map(len, names))) * min(score for _, score in pieces)) - 1.0
