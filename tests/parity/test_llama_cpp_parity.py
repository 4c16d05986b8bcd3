"""Models written as GGUF compute the same in llama.cpp, in float32 up to rounding, and come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from groundup.checkpoints.model_folder import load_model, save_model
from groundup.export.gguf_file import export_gguf
from groundup.models import ModelConfig, architecture, architecture_names, build_model
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

VOCAB = 300
# In llama.cpp GELU comes from a table in 16 bits, even in a file in 32.
ROUNDING, GELU_TABLE = 1e-5, 5e-3
FAST = ("gpt2", "llama-3", "qwen3")


def cases() -> dict[str, ModelConfig]:
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("gguf.yaml").read_text(encoding="utf-8"))
    return {
        name: architecture(family).Config(vocab_size=VOCAB, **case)
        for family, each in found.items()
        if family in architecture_names()
        for name, case in each.items()
    }


CASES = cases()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES])
def test_llama_cpp_computes_the_same(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = build_model(CASES[name]).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            # Away from zero and one, so that no tensor can be dropped or swapped without showing.
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + 0.1)
    save_model(tmp_path / "model", model, tokenizer)

    written = export_gguf(tmp_path / "model", tmp_path / "model.gguf", type="f32")

    ids = torch.randint(VOCAB, (2, 20), generator=generator)
    with torch.inference_mode():
        logits = model(ids)
        back, its_tokenizer = load_model(tmp_path / "model.gguf")
        assert torch.equal(back(ids), logits)
    assert 0.1 < logits.std() < 5, "probabilities that are all equal, or all on one token, prove nothing"
    assert its_tokenizer.encode("the lazy fox, 12 é") == tokenizer.encode("the lazy fox, 12 é")
    found = written.comparison
    assert found is not None and found.n_positions > 10 and found.n_texts > 40
    bends = {"gpt2", "gpt_neox", "gemma2", "gemma3"}
    assert found.max_difference < (GELU_TABLE if model.config.architecture in bends else ROUNDING)
