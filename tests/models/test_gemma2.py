"""What is Gemma 2's own: its beginning, its caps, and the published models' settings."""

from __future__ import annotations

import pytest
import torch

from groundup.models import build_model, config_for_size
from groundup.models.gemma2 import from_hugging_face, to_hugging_face

# google/gemma-2-2b's config.json.
GEMMA_2_2B = {
    "architectures": ["Gemma2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 50.0,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": 1,
    "final_logit_softcapping": 30.0,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304,
    "initializer_range": 0.02,
    "intermediate_size": 9216,
    "max_position_embeddings": 8192,
    "model_type": "gemma2",
    "num_attention_heads": 8,
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "torch_dtype": "float32",
    "transformers_version": "4.42.4",
    "use_cache": True,
    "vocab_size": 256000,
}


def test_the_published_model() -> None:
    config = from_hugging_face(GEMMA_2_2B)
    assert config.n_parameters() == 2_614_341_888
    assert config.windowed_layers == tuple(range(0, 26, 2))
    assert (config.attention_softcap, config.logit_softcap, config.query_pre_attn_scalar) == (50.0, 30.0, None)
    assert config.tie_embeddings
    assert from_hugging_face(to_hugging_face(config)) == config


def test_a_cap_that_is_null_is_none_and_an_absent_one_the_familys() -> None:
    absent = {name: value for name, value in GEMMA_2_2B.items() if "softcapping" not in name}
    assert from_hugging_face(absent) == from_hugging_face(GEMMA_2_2B)
    uncapped = from_hugging_face(GEMMA_2_2B | {"attn_logit_softcapping": None, "final_logit_softcapping": None})
    assert (uncapped.attention_softcap, uncapped.logit_softcap) == (None, None)
    assert from_hugging_face(to_hugging_face(uncapped)) == uncapped
    assert from_hugging_face(GEMMA_2_2B | {"query_pre_attn_scalar": 144}).query_pre_attn_scalar == 144


@torch.no_grad()
def test_a_new_model_is_its_embedding_and_its_blocks_begin_at_zero_behind_live_matrices() -> None:
    model = build_model(config_for_size("d2", 50, 16, "gemma2", tie_embeddings=True))
    tokens = torch.arange(16)[None]
    unit = torch.nn.functional.normalize(model.token_embedding(tokens), dim=-1)
    torch.testing.assert_close(model.trunk(tokens), unit, atol=1e-5, rtol=1e-3)
    assert all(matrix.abs().max() > 0 for _, matrix in model.parameter_roles()["matrices"])


@torch.no_grad()
def test_no_logit_passes_the_cap() -> None:
    model = build_model(config_for_size("d1", 50, 16, "gemma2", logit_softcap=2.0, tie_embeddings=True))
    hidden = 100 * torch.randn(4, model.config.d_model, generator=torch.Generator().manual_seed(0))
    logits = model.unembed(hidden)
    assert logits.abs().max() == pytest.approx(2.0, abs=1e-3)
    torch.testing.assert_close(logits, 2 * torch.tanh(hidden @ model.head_weight.T / 2))
