"""SentencePiece's table of characters, as steps of a tokenizer.json: the same text comes out."""

from __future__ import annotations

import random
import unicodedata

import pytest
import sentencepiece
from tokenizers import normalizers

from groundup.core.errors import GroundupError
from groundup.tokenization.imports.charsmap import charsmap_steps, normalizer_of, read_charsmap
from groundup.tokenization.imports.sentencepiece_file import read_sentencepiece


@pytest.fixture(scope="module", params=["nmt_nfkc", pytest.param("nmt_nfkc_cf", marks=pytest.mark.slow)])
def table(request, train_model, tmp_path_factory):
    """A published table: its bytes, our steps, and SentencePiece's own normaliser with it."""
    data = train_model(normalization_rule_name=request.param, model_type="bpe")
    charsmap = read_sentencepiece(data, tmp_path_factory.mktemp("model")).charsmap
    theirs = sentencepiece.SentencePieceNormalizer(
        model_proto=data, add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    return charsmap, normalizer_of(charsmap_steps(charsmap)).normalize_str, theirs.normalize


def test_the_table_is_read(table):
    rules = read_charsmap(table[0])
    assert len(rules) > 200_000
    assert [rules[rule] for rule in ("①", "\n", "ﬁ", "か\u3099", "\x01")] == ["1", " ", "fi", "が", ""]
    assert "a" not in rules


def test_every_rule_and_every_character_comes_out_as_theirs(table):
    charsmap, ours, theirs = table
    rules = list(read_charsmap(charsmap))
    generator = random.Random(0)
    singles = [rule for rule in rules if len(rule) == 1]
    characters = [chr(c) for c in range(0x20, 0x30000) if not 0xD800 <= c < 0xE000 and not 0xFFF0 <= c <= 0xFFF1]
    for text in [*singles, *generator.sample(rules, 10_000), *generator.sample(characters, 10_000)]:
        assert ours(text) == theirs(text), ascii(text)


def test_clusters_and_marks_in_any_order_come_out_as_theirs(table):
    charsmap, ours, theirs = table
    rules = read_charsmap(charsmap)
    marks = [chr(c) for c in range(0x300, 0x11000) if unicodedata.combining(chr(c))]
    joining = sorted({rule[1] for rule in rules if len(rule) > 1})
    bases = sorted({rule[0] for rule in rules})
    plain = list("abeoxZ ßſ①㎏\r\n\tが한עا\u0e33\u200d👩\u0600")
    generator = random.Random(1)
    for _ in range(6_000):
        text = "".join(generator.choice(generator.choice([marks, joining, bases, plain, plain])) for _ in range(6))
        assert ours(text) == theirs(text), ascii(text)


def test_the_librarys_own_step_is_why_this_exists(table):
    charsmap, ours, theirs = table
    alone = normalizers.Precompiled(charsmap).normalize_str
    for text in ("①\u0301", "か\u3099"):
        assert ours(text) == theirs(text) != alone(text)


def test_a_million_of_anything_takes_linear_time(table):
    ours = table[1]
    for character in "a \u0301①":
        assert len(ours(character * 100_000)) == 100_000


def test_a_damaged_table_is_refused():
    with pytest.raises(GroundupError, match="normaliser table of this model is damaged"):
        charsmap_steps(b"\xff\xff\xff\x7f123")
    assert charsmap_steps(b"") == []
