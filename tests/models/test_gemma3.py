"""What is Gemma 3's own: two rotary bases, old and new spellings, and the published models' settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.checkpoints.model_folder import read_config
from groundup.core.errors import GroundupError
from groundup.core.files import write_json
from groundup.models import config_for_size
from groundup.models.gemma3 import from_hugging_face, to_hugging_face
from groundup.models.layers.rope_scaling import RopeScaling

# google/gemma-3-1b-it's config.json.
GEMMA_3_1B = {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": [1, 106],
    "final_logit_softcapping": None,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "initializer_range": 0.02,
    "intermediate_size": 6912,
    "max_position_embeddings": 32768,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.50.0.dev0",
    "use_cache": True,
    "vocab_size": 262144,
}


def test_the_published_model() -> None:
    config = from_hugging_face(GEMMA_3_1B)
    assert config.n_parameters() == 999_885_952
    assert [layer for layer in range(26) if config.window_of(layer) is None] == [5, 11, 17, 23]
    assert (config.rope_theta, config.window_rope_theta, config.window) == (1e6, 1e4, 512)
    assert config.eos_ids == (1, 106)
    assert from_hugging_face(to_hugging_face(config)) == config


def test_old_and_new_spellings_mean_the_same() -> None:
    linear = {"rope_type": "linear", "factor": 8.0}
    old = from_hugging_face(GEMMA_3_1B | {"rope_scaling": linear})
    names = ("rope_theta", "rope_local_base_freq", "rope_scaling", "sliding_window_pattern")
    new = {name: value for name, value in GEMMA_3_1B.items() if name not in names}
    new |= {
        "_sliding_window_pattern": 6,
        "rope_parameters": {"full_attention": linear | {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}},
    }
    assert from_hugging_face(new) == old
    assert old.rope_scaling == RopeScaling(kind="linear", factor=8.0)
    config = from_hugging_face(GEMMA_3_1B | {"sliding_window_pattern": 13})
    assert [config.window_of(layer) for layer in (11, 12, 13, 25)] == [512, None, 512, None]


def test_a_model_that_sees_pictures_is_refused_with_the_reason(tmp_path: Path) -> None:
    # The outline of google/gemma-3-4b-it's config.json.
    values = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {"model_type": "gemma3_text", "hidden_size": 2560},
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152},
    }
    write_json(tmp_path / "config.json", values)
    with pytest.raises(GroundupError, match=r"model_type 'gemma3' reads more than text .*vision_config") as error:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(error.value)


@pytest.mark.parametrize(("depth", "full"), [("d2", (1,)), ("d6", (5,)), ("d12", (5, 11)), ("d8", (5,))])
def test_every_size_has_a_layer_that_sees_all(depth: str, full: tuple[int, ...]) -> None:
    config = config_for_size(depth, 50, 64, "gemma3")
    assert tuple(layer for layer in range(config.n_layers) if config.window_of(layer) is None) == full
    assert config.window == 16
