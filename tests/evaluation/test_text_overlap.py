"""Exact match, F1 and ROUGE-L on values worked out by hand, those of the papers among them."""

from __future__ import annotations

import pytest

from groundup.evaluation.text_overlap import exact_match, mean_overlap, overlap, rouge_l, token_f1


def test_exact_match_looks_past_case_punctuation_and_articles():
    assert exact_match("The Denver Broncos!", "denver broncos") == 1
    assert exact_match("Denver Broncos won", "Denver Broncos") == 0
    assert exact_match("", "the") == 1  # nothing is left of either


def test_f1_is_the_harmonic_mean_over_bags_of_words():
    # precision 2/4 ("cat sat on mat"), recall 2/2 ("cat sat")
    assert token_f1("The cat sat on the mat.", "a cat sat") == pytest.approx(2 / 3)
    assert token_f1("yes yes yes", "yes") == pytest.approx(0.5)  # a word counts as often as both have it
    assert token_f1("blue", "red") == 0
    assert token_f1("", "red") == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("police kill the gunman", 3 / 4), ("the gunman kill police", 2 / 4), ("Police, killed the GUNMAN.", 1.0)],
)
def test_rouge_l_of_lins_own_example(answer: str, expected: float):
    """Lin 2004, section 3.1: against "police killed the gunman"."""
    assert rouge_l(answer, "police killed the gunman") == pytest.approx(expected)


def test_rouge_l_with_unequal_lengths():
    # the longest common subsequence of "a b c d e" and "a x c e" is "a c e": P 3/5, R 3/4
    assert rouge_l("a b c d e", "a x c e") == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert rouge_l("", "a") == rouge_l("...", "a") == 0


def test_means():
    both = mean_overlap([overlap("red", "red"), overlap("red", "blue")])
    assert (both.exact_match, both.f1, both.rouge_l) == (0.5, 0.5, 0.5)
