"""Heads are found for what they do: in attention made by hand, and in a model that had to learn to repeat."""

import io
import re

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

from groundup.core.errors import GroundupError
from groundup.inspect.attention import attention_html, attention_terminal
from groundup.inspect.heads import attention_layers, find_heads, prefix_matching, previous_token
from groundup.models import build_model, config_for_size
from groundup.training.optimizers import Optimizer, OptimizerSettings

CONTEXT = 36


@pytest.fixture(scope="module")
def repeater(tokenizer):
    """Two layers trained to repeat random sequences of changing lengths: only induction can do that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = config_for_size("d2", tokenizer.vocab_size, CONTEXT, "qwen3", d_model=64, n_heads=2)
    model = build_model(config, 0)
    optimizer = Optimizer(model, OptimizerSettings(0.03, 0.1, 0.01, 0.01, matrices="muon"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        period = int(torch.randint(4, 19, (1,), generator=generator))
        order = torch.rand(32, tokenizer.vocab_size, generator=generator).argsort(1)
        rows = order[:, :period].repeat(1, 9)[:, : CONTEXT - 3]
        loss = F.cross_entropy(model(rows[:, :-1])[:, period:].flatten(0, 1), rows[:, period + 1 :].flatten())
        loss.backward()
        optimizer.step(1.0)
        model.zero_grad()
        if loss < 0.02:
            break
    torch.set_num_threads(threads)
    return model.eval()


def test_scores_of_attention_made_by_hand():
    period, n_tokens = 4, 12
    weights = torch.zeros(1, 2, 3, n_tokens, n_tokens)
    for t in range(n_tokens):
        weights[0, :, 0, t, max(0, t - 1)] = 1.0  # always one back
        weights[0, :, 1, t, t - period + 1 if t >= period else 0] = 1.0  # after the last time
        for s in range(t + 1):
            weights[0, :, 2, t, s] = 1 / (t + 1)  # everywhere alike
    assert previous_token(weights)[0, :2].tolist() == pytest.approx([1.0, 1 / 11])
    found = prefix_matching(weights, period)[0].tolist()
    assert found[:2] == pytest.approx([0.0, 1.0])
    expected = sum((1 if t < 8 - 1 else 2 if t < 12 - 1 else 3) / (t + 1) for t in range(4, 12)) / 8
    # at t the tokens that followed earlier ones of the same kind are t - 3, t - 7, t - 11
    assert found[2] == pytest.approx(expected)


def test_a_model_that_repeats_has_an_induction_head_behind_a_previous_token_head(repeater):
    found = find_heads(repeater)
    assert (found.period, found.n_repeats) == (18, 2)
    assert found.repeated_loss < 1.0 < 5.0 < found.first_loss
    induction, previous = found.named("induction"), found.named("previous token")
    assert induction and previous
    assert {score.layer for score in induction} == {1}
    assert previous[0].layer == 0
    assert induction[0].induction > 0.6
    assert found == find_heads(repeater)
    assert found != find_heads(repeater, seed=1)


def test_a_new_model_has_none_and_repetition_does_not_help_it(repeater):
    found = find_heads(build_model(repeater.config, seed=3))
    assert all(not score.kind for score in found.scores)
    assert found.repeated_loss == pytest.approx(found.first_loss, abs=0.1)


def test_they_are_named_in_terminal_and_page(repeater, tokenizer):
    out = io.StringIO()
    Console(file=out, width=120).print(attention_terminal(repeater, tokenizer, "the cat sat on the cat"))
    best = find_heads(repeater, special_ids=frozenset(tokenizer.special_ids)).named("induction")[0]
    assert f"induction heads: {best.layer}.{best.head} ({best.induction:.0%})" in out.getvalue()
    html = attention_html(repeater, tokenizer, "the cat sat on the cat")
    assert f"layer {best.layer}, head {best.head} (induction)" in html
    assert re.search(rf'"chosen": {best.layer * 2 + best.head}\b', html)
    assert '"chosen": 1,' in attention_html(repeater, tokenizer, "the cat", "0.1")


def test_one_head_tells_what_each_token_takes_from(repeater, tokenizer):
    text = "the cat sat on the mat"
    out = io.StringIO()
    Console(file=out, width=160).print(attention_terminal(repeater, tokenizer, text, "1.0"))
    ids = tokenizer.encode(text)
    weights = repeater.attention_weights(torch.tensor([ids]))[1, 0, 0]
    line = next(line for line in out.getvalue().splitlines() if line.lstrip().startswith(f"{len(ids) - 1} "))
    top = int(weights[-1].argmax())
    assert f"({len(ids) - 1 - top} back) {weights[-1, top].item():.0%}" in line
    for wrong in ("7.0", "first"):
        with pytest.raises(GroundupError, match=r"0\.0 to 1\.1"):
            attention_terminal(repeater, tokenizer, text, wrong)


def test_a_model_without_attention_is_refused_by_name(repeater):
    class Without(nn.Module):
        config = repeater.config.model_copy(update={"architecture": "elman"})

        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(2, 2)])

    with pytest.raises(GroundupError, match=r"^elman has no attention"):
        attention_layers(Without())


def test_a_context_too_short_to_repeat_in():
    model = build_model(config_for_size("d1", 50, 4, "qwen3", d_model=32))
    with pytest.raises(GroundupError, match="context of 4"):
        find_heads(model)
