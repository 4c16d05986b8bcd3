"""How much of a reference answer a model's answer says: exact match, F1 over words, ROUGE-L.

One idea: an answer is compared as words, not characters, and each measure says what it throws away first.

Sources: exact match and F1 as SQuAD measures them (Rajpurkar et al. 2016, section 6.1: articles, punctuation and case do not
count); ROUGE-L, the F-measure of the longest common subsequence (Lin 2004, section 3), on words of letters and digits in
lower case, unstemmed.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"[^\W_]+")  # letters and digits of any script


@dataclass(frozen=True)
class Overlap:
    """What an answer has of its reference; each figure from 0 to 1."""

    exact_match: float
    f1: float
    rouge_l: float


def overlap(answer: str, reference: str) -> Overlap:
    """All three measures of one answer."""
    return Overlap(exact_match(answer, reference), token_f1(answer, reference), rouge_l(answer, reference))


def mean_overlap(overlaps: Sequence[Overlap]) -> Overlap:
    """The means over answers; there must be one at least."""
    n = len(overlaps)
    return Overlap(
        sum(one.exact_match for one in overlaps) / n,
        sum(one.f1 for one in overlaps) / n,
        sum(one.rouge_l for one in overlaps) / n,
    )


def exact_match(answer: str, reference: str) -> float:
    """1 when both are the same words, apart from case, punctuation and articles; else 0."""
    return float(_normalised(answer) == _normalised(reference))


def token_f1(answer: str, reference: str) -> float:
    """The harmonic mean of precision and recall over the words as a bag; two empty texts agree."""
    ours, theirs = _normalised(answer), _normalised(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return _f_measure(shared, len(ours), len(theirs))


def rouge_l(answer: str, reference: str) -> float:
    """The F-measure of the longest common subsequence of words; 0 when either has no word."""
    ours, theirs = (_WORD.findall(text.lower()) for text in (answer, reference))
    return _f_measure(_longest_common_subsequence(ours, theirs), len(ours), len(theirs))


def _normalised(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f_measure(shared: int, n_ours: int, n_theirs: int) -> float:
    return 2 * shared / (n_ours + n_theirs) if shared else 0.0  # 2PR / (P + R) with P = s/n, R = s/m


def _longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by the usual table kept one line at a time."""
    line = [0] * (len(second) + 1)
    for word in first:
        before = 0  # the table's value above and to the left
        for column, other in enumerate(second, 1):
            above = line[column]
            line[column] = before + 1 if word == other else max(above, line[column - 1])
            before = above
    return line[-1]
