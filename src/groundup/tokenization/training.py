"""Learning a vocabulary from text: one way in for every algorithm.

What all have in common stands here: the text is read once and not kept, a setting that an algorithm does not have
is refused, the special tokens take the last ids, and what `transformers` reads beside `tokenizer.json` is written so that it
changes nothing in the text. How each learns stands in `algorithms/`, one file an algorithm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.algorithms import algorithm as find_algorithm
from groundup.tokenization.algorithms import algorithm_names
from groundup.tokenization.algorithms._text import LONGEST_WORD, CountedTexts, Request
from groundup.tokenization.algorithms.bpe import MOST_UNSPLIT_CHARACTERS
from groundup.tokenization.patterns import PATTERNS
from groundup.tokenization.tokenizer import Tokenizer

# The trainers set room for the whole vocabulary aside before they count, and end the process where there is none.
MOST_TOKENS = 10_000_000


def train_tokenizer(
    texts: Iterable[str],
    *,
    algorithm: str = "bpe",
    vocab_size: int = 8192,
    pattern: str | None = None,
    byte_fallback: bool | None = None,
    lowercase: bool | None = None,
    min_frequency: int | None = None,
    special: Sequence[str] = (),
    exact: bool = True,
    reporter: Reporter = QUIET,
) -> Tokenizer:
    """Learn a tokenizer from `texts`, which are read once and not kept.

    `algorithm` is `bpe`, `wordpiece`, `unigram`, `char` or `word`. `vocab_size` counts the special tokens; `bpe`,
    `wordpiece` and `unigram` make exactly that many, for `char` and `word` it is a ceiling. The other settings are those
    of some algorithms, None being their default: `pattern` splits words (`bpe`, `unigram`; names in `patterns.PATTERNS`),
    `byte_fallback` spells unseen characters by their bytes (`char`), `lowercase` folds case (`wordpiece`, `word`),
    `min_frequency` is how often a pair, word or character must occur. `special` names more special tokens, each in
    brackets. With `exact=False` a text too small for `vocab_size` gives the vocabulary that it can fill.

    Raises `GroundupError` on an unknown algorithm or pattern, a setting that the algorithm does not have, on empty text,
    and on a vocabulary larger than the text can fill or too small for what it must hold.
    """
    if not 0 < vocab_size <= MOST_TOKENS:
        raise GroundupError(f"vocab_size {vocab_size} must be between 1 and {MOST_TOKENS:,}; 8k to 200k are usual")
    module = find_algorithm(algorithm)
    asked = {
        "pattern": pattern,
        "byte_fallback": byte_fallback,
        "lowercase": lowercase,
        "min_frequency": min_frequency,
    }
    settings = _settings(algorithm, module, {name: value for name, value in asked.items() if value is not None})
    tokens = module.SPECIAL.extended(tuple(special))
    names = tokens.names()
    read = CountedTexts(texts)
    request = Request(n_learned=vocab_size - len(names), special=tokens, exact=exact, reporter=reporter, **settings)
    tokenizer = module.train(read, request)
    tokenizer.add_special_tokens(names)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **tokens.config(),
        "clean_up_tokenization_spaces": False,
    }
    trained = Tokenizer(tokenizer.to_str(pretty=True), config)
    if read.n_left_out and settings.get("pattern") != "none":
        reporter.warn(
            f"{read.n_left_out:,} characters were left out: they stand in words of more than {LONGEST_WORD} characters, "
            "which no language has (base64, minified code, a broken file?)"
        )
    reporter.say(
        f"tokenizer: {algorithm}, {trained.vocab_size:,} tokens ({len(names)} special) "
        f"learned from {readable_bytes(read.n_bytes)} of text"
    )
    return trained


def most_bytes(algorithm: str, pattern: str | None = None) -> int:
    """How much text is worth giving to an algorithm: its counts hardly change beyond, its time and memory do."""
    return MOST_UNSPLIT_CHARACTERS if pattern == "none" else find_algorithm(algorithm).MOST_BYTES


def _settings(algorithm: str, module: ModuleType, asked: dict[str, Any]) -> dict[str, Any]:
    """The algorithm's settings: its defaults and what was asked for; any other is refused."""
    for name, value in asked.items():
        if name not in module.OPTIONS:
            having = [other for other in algorithm_names() if name in find_algorithm(other).OPTIONS]
            raise GroundupError(
                f"{name}={value!r} has no effect on algorithm={algorithm!r}; it is for {' and '.join(having)}: leave it out"
            )
    settings = module.OPTIONS | asked
    if settings.get("pattern", "none") not in PATTERNS:
        raise unknown_name("pre-splitting pattern", settings["pattern"], PATTERNS)
    if settings.get("pattern") == "none" and algorithm == "unigram":
        raise GroundupError("pattern='none' is for bpe; unigram weighs all substrings of a word, so it needs words")
    if not 1 <= settings.get("min_frequency", 1) < 2**63:
        raise GroundupError(
            f"min_frequency {settings['min_frequency']} must be 1 or more, and a count that can be reached"
        )
    return settings
