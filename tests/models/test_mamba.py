"""What is Mamba's own: its beginning, its sizes at published scale, and the configs of published models."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.models import build_model, config_for_size
from groundup.models.mamba import from_hugging_face

# state-spaces/mamba-130m-hf and -2.8b-hf, config.json, without what every config has.
PUBLISHED = {
    "mamba-130m": (
        {
            "model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24, "d_model": 768, "d_inner": 1536, "n_layer": 24,
            "intermediate_size": 1536, "time_step_rank": 48, "vocab_size": 50280,
        },
        129_135_360,
    ),
    "mamba-2.8b": (
        {
            "model_type": "mamba", "hidden_size": 2560, "num_hidden_layers": 64, "d_model": 2560, "d_inner": 5120, "n_layer": 64,
            "intermediate_size": 5120, "time_step_rank": 160, "vocab_size": 50280,
        },
        2_768_345_600,
    ),
}  # fmt: skip
COMMON = {
    "architectures": ["MambaForCausalLM"], "bos_token_id": 0, "conv_kernel": 4, "eos_token_id": 0, "expand": 2,
    "fused_add_norm": True, "hidden_act": "silu", "initializer_range": 0.1, "layer_norm_epsilon": 1e-05, "pad_token_id": 0,
    "pad_vocab_size_multiple": 8, "rescale_prenorm_residual": False, "residual_in_fp32": True, "rms_norm": True, "ssm_cfg": {},
    "state_size": 16, "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1,
    "time_step_min": 0.001, "time_step_scale": 1.0, "torch_dtype": "float32", "transformers_version": "4.39.0.dev0",
    "use_bias": False, "use_cache": True, "use_conv_bias": True,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_open_with_their_parameters(name: str) -> None:
    values, n_parameters = PUBLISHED[name]
    config = from_hugging_face(COMMON | values)
    assert config.n_parameters() == n_parameters
    assert config.tie_embeddings
    assert (config.context_length, config.max_length) == (2048, None)
    assert (config.d_state, config.d_conv, config.dt_rank) == (16, 4, values["hidden_size"] // 16)


def test_a_new_model_forgets_at_many_speeds() -> None:
    model = build_model(config_for_size("d2", 500, 64, "mamba"))
    block = model.blocks[0]
    torch.testing.assert_close(block.rate_log.exp(), torch.arange(1.0, 17).expand(256, -1))
    steps = F.softplus(block.step.bias)
    assert 0.001 <= steps.min() < 0.002
    assert 0.05 < steps.max() <= 0.1
    assert (steps < 0.01).float().mean().item() == pytest.approx(0.5, abs=0.1), "evenly in their logarithm"
    assert block.output.weight.abs().max() == 0
    assert block.skip.min() == block.skip.max() == 1


def test_small_things_are_not_matrices() -> None:
    model = build_model(config_for_size("d1", 50, 8, "mamba"))
    names = {name.split(".", 2)[2] for name, _ in model.parameter_roles()["matrices"]}
    assert names == {"input.weight", "selection.weight", "step.weight", "output.weight"}


@torch.no_grad()
def test_blocks_are_summed_up_in_fp32_when_asked() -> None:
    tokens = torch.arange(30)[None]
    kinds = {}
    for wide in (True, False):
        model = build_model(config_for_size("d2", 50, 64, "mamba", residual_in_fp32=wide)).set_dtype(torch.bfloat16)
        hook = model.final_norm.register_forward_pre_hook(
            lambda _, inputs, wide=wide: kinds.update({wide: inputs[0].dtype})
        )
        assert model.trunk(tokens).dtype == torch.bfloat16
        hook.remove()
    assert kinds == {True: torch.float32, False: torch.bfloat16}
