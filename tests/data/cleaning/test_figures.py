"""Figures of one document, counted by hand."""

from __future__ import annotations

import pytest

from groundup.data.cleaning.figures import Measured, c4_page, ends_a_sentence, line_shares, quality, signs

JAPANESE = "吾輩は猫である。名前はまだ無い。\nどこで生れたかとんと見当がつかぬ。\n" * 3


def test_gophers_figures_of_a_text_counted_by_hand():
    text = "- the cat and #1\n- have ... 12 34\nmore words…"
    figures = quality(Measured(text))
    assert figures["word_count"] == 12
    assert figures["mean_word_length"] == pytest.approx((1 + 3 + 3 + 3 + 2 + 1 + 4 + 3 + 2 + 2 + 4 + 6) / 12)
    assert figures["hashes_per_word"] == pytest.approx(1 / 12)
    assert figures["ellipses_per_word"] == pytest.approx(2 / 12)
    assert figures["bullet_lines"] == pytest.approx(2 / 3)
    assert figures["ellipsis_lines"] == pytest.approx(1 / 3)
    assert figures["words_with_a_letter"] == pytest.approx(6 / 12)
    assert figures["stop_words"] == 3


@pytest.mark.parametrize("text", [JAPANESE, "ภาษาไทยไม่มีช่องว่างระหว่างคำ " * 3, "中文没有空格，词与词相连。", "ភាសាខ្មែរ"])
def test_scripts_without_blanks_are_not_counted_in_words(text):
    measured = Measured(text)
    assert not measured.is_spaced
    assert "word_count" not in quality(measured) and "short_lines" not in line_shares(measured)
    assert "longest_word" not in signs(measured)
    assert signs(measured)["letters_and_digits"] > 0.5


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln", "Привет мир", "नमस्ते दुनिया", "안녕 세상아", "مرحبا بالعالم", "I say 猫 and 犬"]
)
def test_scripts_with_blanks_are(text):
    assert Measured(text).is_spaced
    assert quality(Measured(text))["word_count"] == len(text.split())


def test_finewebs_figures():
    text = "This line ends as a sentence does, quite clearly.\nshort\nshort\n\nAnother line that is long but has no end at all\n"
    figures = line_shares(Measured(text))
    assert figures["lines_with_punctuation"] == 1 / 4
    assert figures["short_lines"] == 2 / 4
    assert figures["repeated_line_characters"] == pytest.approx(5 / (49 + 5 + 5 + 46 + 1), abs=0.001)
    assert line_shares(Measured(" \n ")) == {}


@pytest.mark.parametrize(
    "line", ["So it ends.", "Really?", '"Yes!"', "終わり。", "وقال لماذا؟", "यह समाप्त हुआ।", "« Oui. »"]
)
def test_sentences_end_in_every_script(line):
    assert ends_a_sentence(line)


@pytest.mark.parametrize("line", ["a heading", "x = 1;", "and,", ""])
def test_other_lines_do_not(line):
    assert not ends_a_sentence(line)


def test_signs_tell_noise_from_text():
    assert signs(Measured("$$%%^^ &&** a1"))["letters_and_digits"] == pytest.approx(2 / 12)
    assert signs(Measured("ab\ufffd\ufffd"))["broken_characters"] == 0.5
    assert signs(Measured("x" * 1500 + " y"))["longest_word"] == 1500
    assert signs(Measured("é$"))["letters_and_digits"] == 0.5


def test_c4_counts_sentences_in_what_its_line_rules_keep():
    text = "One sentence. Two sentences! Three, is it? {code} Lorem Ipsum"
    assert c4_page(Measured(text), "One sentence. Two sentences! Three, is it?") == {
        "c4_sentences": 3,
        "lorem_ipsum": 1,
        "curly_brackets": 1,
    }
    assert c4_page(Measured(""), "猫である。名前はまだ無い。")["c4_sentences"] == 2
