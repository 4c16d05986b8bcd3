"""The choices are by the clock, leave no trace, and never stand in the way."""

from __future__ import annotations

import pytest
import torch

from groundup.core.progress import Reporter
from groundup.data.batches import Batch
from groundup.models import architecture, build_model
from groundup.training import precision
from groundup.training.objectives import next_token_loss
from groundup.training.precision import choose_dtype, compile_decision, compiled, missing_for_compile, time_pass


@pytest.mark.parametrize(("bf16_seconds", "chosen"), [(0.5, torch.bfloat16), (0.97, torch.float32), (2, torch.float32)])
def test_the_faster_arithmetic_is_chosen_and_exactness_wins_a_draw(tiny_model, rows, monkeypatch, bf16_seconds, chosen):
    times = {torch.float32: 1.0, torch.bfloat16: bf16_seconds}
    monkeypatch.setattr(precision, "time_pass", lambda model, *rest: times[model.compute_dtype])
    model = tiny_model()
    choice = choose_dtype(model, next_token_loss, rows(2, 0))
    assert choice.value is chosen
    assert f"{1 / bf16_seconds:.2f} times" in choice.reason
    assert model.compute_dtype is torch.float32


def test_timing_leaves_no_trace(tiny_model, rows):
    model = tiny_model("gpt2", dropout=0.5)
    model.token_embedding.weight.grad = torch.ones_like(model.token_embedding.weight)
    before = [p.detach().clone() for p in model.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert choose_dtype(model, next_token_loss, rows(2, 0), seconds=0.01).value in (torch.float32, torch.bfloat16)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(model.token_embedding.weight.grad, torch.ones_like(model.token_embedding.weight))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "token_embedding.weight")


def test_a_pass_takes_time_and_is_measured_at_least_once_warm(tiny_model, rows):
    calls = []

    def objective(model, batch):
        calls.append(1)
        return next_token_loss(model, batch)

    assert time_pass(tiny_model(), objective, rows(2, 0), seconds=0.0) > 0
    assert len(calls) == 2


def test_compiling_is_for_long_runs_with_a_compiler(monkeypatch):
    monkeypatch.setattr(precision, "missing_for_compile", lambda device: None)
    assert compile_decision(3600).value
    short = compile_decision(60)
    assert not short.value
    assert "60 s" in short.reason
    monkeypatch.setattr(precision, "missing_for_compile", lambda device: "a C++ compiler")
    without = compile_decision(3600)
    assert not without.value
    assert "a C++ compiler is missing" in without.reason


def test_no_compiler_is_noticed(monkeypatch):
    monkeypatch.setattr(precision.shutil, "which", lambda name: None)
    assert missing_for_compile() == "a C++ compiler"


def test_a_compiler_that_fails_is_warned_of_and_done_without(tiny_model, rows, monkeypatch):
    class Listener(Reporter):
        warnings = []

        def warn(self, text):
            self.warnings.append(text)

    def broken(function, **options):
        def fail(model, batch):
            raise RuntimeError("no such header")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    assert compiled(tiny_model(), next_token_loss, rows(2, 0), Listener()) is next_token_loss
    assert "no such header" in Listener.warnings[0]


@pytest.mark.slow
@pytest.mark.skipif(missing_for_compile() is not None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_pass_keeps_no_table_of_attention_and_nothing_it_can_make_again():
    """Kept: queries, keys, values, attention's output, feed-forward's input to GELU, two residual vectors; a token
    and layer 10 d_model in all, where the compiler alone keeps over 20 and the tables of weights (T / 64 d_model)."""
    torch.manual_seed(0)
    config = architecture("gpt2").Config(
        vocab_size=40, context_length=128, d_model=64, n_layers=3, n_heads=4, n_kv_heads=4, d_head=16, d_ff=256
    )
    model = build_model(config, seed=0)
    tokens = torch.randint(40, (8, 129))
    batch = Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    exact = torch.autograd.grad(next_token_loss(model, batch), list(model.parameters()))

    from torch._dynamo.utils import counters  # wakes the compiler

    counters.clear()
    loss = compiled(model, next_token_loss, batch)(model, batch)
    assert not counters["aot_autograd"]["autograd_cache_bypass"]  # a later process finds it again
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept = sum(t.untyped_storage().nbytes() for t in loss.grad_fn.saved_tensors if t.data_ptr() not in weights)  # pyright: ignore
    assert 8 < kept / (8 * 128 * 3 * 64 * 4) < 13
    for one, other in zip(torch.autograd.grad(loss, list(model.parameters())), exact, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)
