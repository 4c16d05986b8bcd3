"""What is Mamba 2's own: its beginning, its sizes at published scale, and the configs of published models."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from groundup.core.errors import GroundupError
from groundup.models import build_model, config_for_size
from groundup.models.mamba2 import from_hugging_face, to_hugging_face

# AntonV/mamba2-130m-hf and mistralai/Mamba-Codestral-7B-v0.1, config.json.
COMMON = {
    "architectures": ["Mamba2ForCausalLM"], "bos_token_id": 0, "chunk_size": 256, "conv_kernel": 4, "eos_token_id": 0,
    "expand": 2, "head_dim": 64, "hidden_act": "silu", "initializer_range": 0.1, "layer_norm_epsilon": 1e-05,
    "model_type": "mamba2", "norm_before_gate": True, "pad_token_id": 0, "rescale_prenorm_residual": False,
    "residual_in_fp32": True, "rms_norm": True, "state_size": 128, "time_step_floor": 0.0001,
    "time_step_init_scheme": "random", "time_step_limit": [0.0, math.inf], "time_step_max": 0.1, "time_step_min": 0.001,
    "time_step_scale": 1.0, "torch_dtype": "float32", "transformers_version": "4.44.0.dev0", "use_bias": False,
    "use_cache": True, "use_conv_bias": True,
}  # fmt: skip
PUBLISHED = {
    "mamba2-130m": (
        {
            "hidden_size": 768, "num_heads": 24, "num_hidden_layers": 24, "n_groups": 1, "vocab_size": 50288,
            "tie_word_embeddings": True, "time_step_rank": 48,
        },
        128_989_632,
    ),
    "codestral-7b": (
        {
            "hidden_size": 4096, "num_heads": 128, "num_hidden_layers": 64, "n_groups": 8, "vocab_size": 32768,
            "tie_word_embeddings": False, "time_step_rank": 256, "intermediate_size": 8192,
        },
        7_285_403_648,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_open_with_their_parameters(name: str) -> None:
    values, n_parameters = PUBLISHED[name]
    config = from_hugging_face(COMMON | values)
    assert config.n_parameters() == n_parameters
    assert (config.n_heads, config.n_groups) == (values["num_heads"], values["n_groups"])
    assert (config.context_length, config.max_length) == (2048, None)
    assert (config.shortest_step, config.longest_step) == (0.0, None)


def test_limits_of_steps_in_all_their_spellings() -> None:
    values, _ = PUBLISHED["mamba2-130m"]
    for given, expected in (
        ([0.1, math.inf], (0.1, None)),
        ([0.1, {"__float__": "Infinity"}], (0.1, None)),
        ([0.0, 0.5], (0.0, 0.5)),
    ):
        config = from_hugging_face(COMMON | values | {"time_step_limit": given})
        assert (config.shortest_step, config.longest_step) == expected
        assert from_hugging_face(to_hugging_face(config)) == config


def test_a_new_model_forgets_at_many_speeds() -> None:
    model = build_model(config_for_size("d6", 500, 64, "mamba2"))
    blocks = list(model.blocks)
    rates = torch.cat([block.rate_log.exp() for block in blocks])
    assert 1 <= rates.min() < 3 and 14 < rates.max() <= 16
    steps = F.softplus(torch.cat([block.step_bias for block in blocks]))
    assert 0.001 <= steps.min() < 0.002 and 0.05 < steps.max() <= 0.1
    assert all(block.output.weight.abs().max() == 0 and block.gated_norm.weight.min() == 1 for block in blocks)


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GroundupError, match="expand 2 x d_model 100 = 200 is not a multiple of d_head 64"):
        config_for_size("d2", 100, 64, "mamba2", d_model=100)
    with pytest.raises(GroundupError, match="4 heads cannot be shared evenly by n_groups 3"):
        config_for_size("d2", 100, 64, "mamba2", n_groups=3)
