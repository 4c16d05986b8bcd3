"""What is the Qwen3 mixture's own: the published model's settings, and where its dense layers are."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.models import config_for_size
from groundup.models.qwen3_moe import from_hugging_face, to_hugging_face

# Qwen/Qwen3-30B-A3B's config.json.
QWEN3_30B_A3B = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "decoder_sparse_step": 1,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "max_window_layers": 48,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "output_router_logits": False,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.001,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def test_the_published_model() -> None:
    config = from_hugging_face(QWEN3_30B_A3B)
    assert config.n_parameters() == 30_532_122_624
    # "3.3B activated": with the head and the table that a token is looked up in.
    assert config.active_matrix_parameters() + config.table_parameters() == pytest.approx(3.35e9, rel=0.01)
    assert (config.n_experts, config.n_active_experts, config.d_expert, config.renormalize_experts) == (
        128,
        8,
        768,
        True,
    )
    assert from_hugging_face(to_hugging_face(config)) == config


def test_either_name_of_the_number_of_experts_is_read() -> None:
    other = {name: value for name, value in QWEN3_30B_A3B.items() if name != "num_experts"}
    assert from_hugging_face(other | {"num_local_experts": 64}).n_experts == 64
    assert from_hugging_face(other).n_experts == 128


def test_dense_layers_by_list_and_by_step() -> None:
    config = from_hugging_face(
        QWEN3_30B_A3B | {"num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]}
    )
    assert config.dense_layers == (0, 2, 3, 4)
    assert from_hugging_face(to_hugging_face(config)) == config


@pytest.mark.parametrize("layers", [(0, 0), (1, 0), (2,)])
def test_layers_there_are_not_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(GroundupError, match=r"dense_layers .* some of 0 to 1"):
        config_for_size("d2", 50, 16, "qwen3_moe", dense_layers=layers)
