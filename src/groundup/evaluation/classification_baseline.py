"""What any classifier has to beat: words counted and weighed, and the label that is always most frequent.

Words and pairs of words, weighed by how rare they are (TF-IDF), into a logistic regression. It trains in seconds, and is
often hard to beat on topics and spam; a model that does not beat it has not earned its size. To be fair it is tuned as a
person would, its strength and the weights of classes by the score on the validation texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from groundup.core.errors import missing_extra
from groundup.evaluation.classification import Booleans, score

STRENGTHS = (1.0, 10.0, 100.0)  # of fitting against keeping weights small
Texts = Callable[[], Iterable[str]]


def tfidf_regression(
    train: Texts, train_NC: Booleans, validation: Texts, validation_NC: Booleans, test: Texts, *, multi_label: bool
) -> tuple[Booleans, str]:
    """Its decisions on the test texts, and what was chosen on the validation texts, in words.

    Texts are given as functions that read them anew. Raises `MissingExtraError` without scikit-learn.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise missing_extra("scikit-learn", "classify", "the baseline of words") from None
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]")
    counted = words.fit_transform(train())
    held_out, tested = words.transform(validation()), words.transform(test())
    found = []
    for strength in STRENGTHS:
        for weights in (None, "balanced"):
            columns = _fit(counted, train_NC, strength, weights, multi_label)
            found.append(
                (score(_decide(columns, held_out, multi_label), validation_NC).macro_f1, strength, weights, columns)
            )
    _, strength, weights, columns = max(found, key=lambda each: each[0])  # the first of equals: the simplest
    about = f"{counted.shape[1]:,} words and pairs, C = {strength:g}, {weights or 'unweighted'} classes"
    return _decide(columns, tested, multi_label), about


def majority(train_NC: Booleans, n_test: int, *, multi_label: bool) -> Booleans:
    """The most frequent label for every text; with several labels, each that at least half of the texts have."""
    if multi_label:
        return np.tile(train_NC.mean(axis=0) >= 0.5, (n_test, 1))
    return np.tile(np.arange(train_NC.shape[1]) == train_NC.sum(axis=0).argmax(), (n_test, 1))


def _fit(counted, train_NC: Booleans, strength: float, weights: str | None, multi_label: bool) -> list:
    """One regression over all labels, or with several labels a text one for each."""
    from sklearn.linear_model import LogisticRegression

    targets = list(train_NC.T) if multi_label else [train_NC.argmax(axis=1)]
    fitted = []
    for target in targets:
        if len(np.unique(target)) == 1:  # a label that every text has, or none
            fitted.append(bool(target[0]))
            continue
        fitted.append(LogisticRegression(C=strength, class_weight=weights, max_iter=1000).fit(counted, target))
    return fitted


def _decide(fitted: list, texts, multi_label: bool) -> Booleans:
    n = texts.shape[0]
    columns = [np.full(n, each) if isinstance(each, bool) else each.predict(texts) for each in fitted]
    if multi_label:
        return np.stack(columns, axis=1).astype(bool)
    return columns[0][:, None] == np.arange(fitted[0].classes_.max() + 1)
