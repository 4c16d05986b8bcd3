"""Texts of several adapters in one batch: each as its adapter would write it alone."""

from __future__ import annotations

import pytest
import torch

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter, switch_of
from groundup.core.errors import GroundupError
from groundup.generation.engine import Continuation, Engine
from groundup.generation.sampling import SamplingSettings
from groundup.models import LanguageModel

from .conftest import decided_model

GREEDY = SamplingSettings(temperature=0, max_new_tokens=12)


@pytest.fixture(params=["gpt2", "qwen3", "llama"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    found = decided_model(request.param)
    for seed, name in enumerate(("one", "two")):
        add_adapter(found, AdapterConfig(rank=4), name=name)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter_parameters(found, name).values():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return found


def written(
    model: LanguageModel, asked: list[tuple[list[int], str | None]], batch_size: int, **how: bool
) -> list[list[int]]:
    engine = Engine(model, batch_size=batch_size, **how)
    texts = [Continuation(prompt, GREEDY, adapter=adapter) for prompt, adapter in asked]
    for text in texts:
        engine.add(text)
    while engine.busy:
        engine.step()
    return [text.tokens for text in texts]


def test_a_batch_of_many_adapters_writes_what_each_writes_alone(model: LanguageModel) -> None:
    prompts = ([5, 6, 7], [5, 6, 7], [5, 6, 7], [9, 8], [9, 8], [1, 2, 3, 4])
    asked = list(zip(prompts, ("one", "two", "base", "two", None, "one"), strict=True))
    together = written(model, asked, 4)
    assert together == [written(model, [one], 1)[0] for one in asked] == written(model, asked, 4, use_cache=False)
    assert together[0] != together[1] != together[2], "the adapters write differently"
    assert together[3] == together[4], "None is the adapter that is switched on, the newest"
    assert switch_of(model).active == "two" and switch_of(model).rows is None


def test_an_unknown_adapter_is_refused(model: LanguageModel) -> None:
    with pytest.raises(GroundupError, match="did you mean 'one'"):
        written(model, [([1], "ones")], 1)
    with pytest.raises(GroundupError, match="unknown adapter"):
        written(decided_model("gpt2"), [([1], "one")], 1)
