"""WordPiece: BERT's pieces, `un ##break ##able`.

Vocabulary by merging frequent pairs inside words (the `tokenizers` library learns it so; Schuster and Nakajima 2012
merge by likelihood, and Google's trainer was never published); reading by the longest piece that fits (Devlin et al.
2019, section 3; Wu et al. 2016, arXiv:1609.08144, section 4.1). Text is cleaned and split as BERT does: at whitespace,
every punctuation mark and every Chinese character apart, in lower case and without accents unless `lowercase=False`. A
word with a character that is not in the vocabulary, or of more than 100 characters, is `[UNK]` as a whole; so the text
does not come back.

The library numbers the inner letters (`##a`) in the order in which it meets words, which is another one in each run, and
decides equal counts by these numbers. Given to it beforehand, sorted, they are the same in each run.
"""

from __future__ import annotations

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from groundup.core.errors import GroundupError
from groundup.tokenization.algorithms._text import CountedTexts, Request, Spool
from groundup.tokenization.patterns import words_may_cut
from groundup.tokenization.special import BERT_TOKENS

OPTIONS = {"lowercase": True, "min_frequency": 2}
SPECIAL = BERT_TOKENS
MOST_BYTES = 300_000_000


def train(texts: CountedTexts, request: Request) -> tokenizers.Tokenizer:
    """Pieces of words, as many as asked for. Raises `GroundupError` when the text cannot fill the vocabulary."""
    if request.n_learned < 4:
        raise GroundupError(
            f"vocab_size {request.vocab_size} is too small: letters and pieces need hundreds; ask for more"
        )
    splitter = pre_tokenizers.BertPreTokenizer()
    normalizer = normalizers.BertNormalizer(lowercase=request.lowercase)
    trained = tokenizers.Tokenizer(models.WordPiece(unk_token=request.special.unk))
    trained.pre_tokenizer = splitter
    parts = texts.parts(words_may_cut, lambda part: [word for word, _ in splitter.pre_tokenize_str(part)])
    with Spool(normalizer.normalize_str(part) for part in parts) as spool:
        texts.check_not_empty()
        # A character takes two entries, as a word's first and as a later one; words need the other half.
        kept = spool.most_frequent(max(1, request.n_learned // 4))
        inner = [f"##{character}" for character in kept if not character.isspace()]
        trainer = trainers.WordPieceTrainer(
            vocab_size=request.n_learned,
            min_frequency=request.min_frequency,
            special_tokens=inner,
            show_progress=False,
        )
        trained.train_from_iterator(spool.without_rare(kept), trainer)
        if len(kept) < len(spool.characters):
            request.reporter.warn(
                f"{len(spool.characters):,} different characters but room for {len(kept):,}; "
                f"a word with one of the others is {request.special.unk}"
            )
    learned = trained.get_vocab()
    if len(learned) < request.n_learned and request.exact:
        raise texts.too_small(request, len(learned) + len(request.special.names()))
    tokens = [*sorted(learned, key=learned.__getitem__), *request.special.names()]
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(vocab={token: id for id, token in enumerate(tokens)}, unk_token=request.special.unk)
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    # Spaces before punctuation stay: the library's cleaning up also turns "do not" into "don't".
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return tokenizer
