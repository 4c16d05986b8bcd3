"""Words: each word and each punctuation mark of the text is a token, and a word that was not seen is `[UNK]`.

This is the tokenizer with which textbooks begin: `"Bye, world!"` is `[UNK] , world !` when "Bye" was not in the text.
It shows why subwords were invented; spaces are not kept, so the text does not come back. Text is split at
whitespace and around every punctuation mark.
"""

from __future__ import annotations

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from groundup.core.errors import GroundupError
from groundup.tokenization.algorithms._text import CountedTexts, Request
from groundup.tokenization.patterns import words_may_cut
from groundup.tokenization.special import WORD_TOKENS

OPTIONS = {"lowercase": False, "min_frequency": 1}
SPECIAL = WORD_TOKENS
MOST_BYTES = 300_000_000


def train(texts: CountedTexts, request: Request) -> tokenizers.Tokenizer:
    """All words seen at least `request.min_frequency` times, the most frequent `request.n_learned` of them first."""
    if request.n_learned < 1:
        raise GroundupError(
            f"vocab_size {request.vocab_size} leaves no room for words beside "
            f"{len(request.special.names())} special tokens; ask for more"
        )
    splitter = pre_tokenizers.BertPreTokenizer()
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocab={}, unk_token=request.special.unk))
    tokenizer.pre_tokenizer = splitter
    # BERT's normaliser with all off but the lower case, which it does character by character.
    cleaning = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False}
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, **cleaning) if request.lowercase else None
    trainer = trainers.WordLevelTrainer(
        vocab_size=request.n_learned, min_frequency=request.min_frequency, show_progress=False
    )
    parts = texts.parts(words_may_cut, lambda part: [word for word, _ in splitter.pre_tokenize_str(part)])
    tokenizer.train_from_iterator(parts, trainer)
    texts.check_not_empty()
    learned = tokenizer.get_vocab()
    if len(learned) == request.n_learned:
        request.reporter.warn(
            f"only the {len(learned):,} most frequent words have an id; the rest is {request.special.unk}"
        )
    tokens = [*sorted(learned, key=learned.__getitem__), *request.special.names()]
    tokenizer.model = models.WordLevel(
        vocab={token: id for id, token in enumerate(tokens)}, unk_token=request.special.unk
    )
    return tokenizer
