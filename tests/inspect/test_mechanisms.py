"""The view of the textbook's example shows its numbers; every mechanism does what it is named for."""

import io
import re

import pytest
import torch
from rich.console import Console

from groundup.core.errors import GroundupError
from groundup.inspect.mechanisms import example_of, mechanisms, mechanisms_html, mechanisms_terminal


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=80).print(renderable)
    return out.getvalue()


def by_name(example):
    return {mechanism.name: mechanism for mechanism in mechanisms(example)}


def test_the_published_numbers_are_on_the_screen():
    text = shown(mechanisms_terminal(example_of([])))
    assert re.search(r"journey +0.1385 +0.2379 +0.2333 +0.1240 +0.1082 +0.1581 +0.4419 0.6515 0.5683", text)
    assert re.search(r"journey +0.1500 +0.2264 .* 0.3061 0.8210", text)
    assert re.search(r"with +0.2758 +0.2460 +0.2462 +0.2319 ", text)
    assert re.search(r"starts +0.7599 +0.6194 +0.6206 ", text)
    assert "-0.5299 -0.1081" in text and "0.5077 0.3493" in text
    assert "…" not in text, "everything fits 80 columns"
    for name in by_name(example_of([])):
        assert name in text or name.replace(" ", "-") in text


@pytest.mark.parametrize("n_heads", [1, 3])
def test_every_mechanism_shares_out_what_it_may_see(n_heads):
    example = example_of(
        ["to", "be", "or", "not", "to", "be"], d_in=5, d_head=4, n_heads=n_heads, window=2, dropout=0.0
    )
    found = by_name(example)
    assert torch.equal(example.vectors_TD[0], example.vectors_TD[4]), "the same word, the same vector"
    for name, mechanism in found.items():
        assert mechanism.weights_HTT.shape == mechanism.scores_HTT.shape, name
        totals = mechanism.weights_HTT.sum(-1)
        if name == "learned sink":
            assert ((totals > 0.4) & (totals < 1)).all()
        else:
            torch.testing.assert_close(totals, torch.ones_like(totals), msg=name)
        seen = mechanism.scores_HTT > -torch.inf
        assert (mechanism.weights_HTT[~seen] == 0).all(), name
        width = example.x_TD.shape[1] if name == "simple" else len(mechanism.weights_HTT) * 4
        assert mechanism.context_TN.shape == (6, width), name
    assert found["simple"].weights_HTT[0].triu(1).sum() > 0
    assert (found["window"].scores_HTT[0, 4] > -torch.inf).tolist() == [False, False, False, True, True, False]
    assert (found["window and first"].scores_HTT[0, 4] > -torch.inf).tolist() == [True, False, False, True, True, False]
    torch.testing.assert_close(found["heads apart"].context_TN, found["heads together"].context_TN)
    assert len(found["multi-query"].weights_HTT) == len(found["grouped-query"].weights_HTT) == 2 * n_heads
    torch.testing.assert_close(found["dropout"].weights_HTT, found["causal"].weights_HTT)


def test_scores_and_weights_belong_together():
    for mechanism in mechanisms(example_of([], dropout=0.0)):
        if mechanism.name != "learned sink":
            torch.testing.assert_close(mechanism.scores_HTT.softmax(-1), mechanism.weights_HTT, msg=mechanism.name)


def test_one_mechanism_alone_and_as_a_page():
    example = example_of([])
    text = shown(mechanisms_terminal(example, "window-and-first"))
    assert "window and first" in text and "trainable" not in text
    html = mechanisms_html(example, "heads-apart")
    assert html.count("<svg") == 4
    assert "-0.5874" in html
    many = shown(mechanisms_terminal(example_of(list("abcdefgh")), "causal"))
    assert max(len(line) for line in many.splitlines()) <= 80
    assert "<script>" not in mechanisms_html(example_of(["<script>", "b"]))


@pytest.mark.parametrize(
    ("words", "sizes", "told"),
    [
        ([], {"d_in": 5}, ["d_in 5", "own"]),
        (["a"], {"d_head": 0}, ["d_head 0"]),
        (["a"], {"dropout": 1.0}, ["dropout 1"]),
        (["a"] * 30, {}, ["30 words", "24"]),
        (["a"], {"d_in": 0}, ["d_in 0"]),
        (["a"], {"n_heads": 10**20, "window": 10**20}, ["n_heads 1000", "window 1000"]),
        (["a"], {"seed": 10**20}, ["seed"]),
    ],
)
def test_what_makes_no_example_is_refused(words, sizes, told):
    with pytest.raises(GroundupError) as error:
        example_of(words, **sizes)
    assert all(word in str(error.value) for word in told)


def test_an_unknown_mechanism_is_refused_with_the_nearest():
    with pytest.raises(GroundupError, match="did you mean 'causal'"):
        mechanisms_terminal(example_of([]), "casual")
