from __future__ import annotations

import pytest
import torch

from groundup.checkpoints.gguf_settings import Family, family_of_model
from groundup.checkpoints.gguf_tensors import TensorMap, from_gguf, to_gguf
from groundup.core.errors import GroundupError

pytest.importorskip("gguf")


def family(name: str) -> Family:
    found = family_of_model(name)
    assert found is not None
    return found


def test_llama_weaves_the_halves_of_a_head() -> None:
    values = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 8}
    tensors = TensorMap(family("llama"), values)
    place = tensors.place("model.layers.0.self_attn.q_proj.weight")
    assert place.name == "blk.0.attn_q.weight" and place.rows is not None
    stored = to_gguf(torch.arange(8)[:, None], place)
    assert stored[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert stored[place.rows][:, 0].tolist() == list(range(8))
    keys = tensors.place("model.layers.0.self_attn.k_proj.bias").rows
    assert keys is not None and len(keys) == 4
    assert tensors.place("model.layers.0.self_attn.v_proj.weight").rows is None


def test_neox_parts_queries_keys_and_values() -> None:
    tensors = TensorMap(family("gpt_neox"), {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 4})
    place = tensors.place("gpt_neox.layers.0.attention.query_key_value.bias")
    # Here head 0 has query 0 1, key 2 3, value 4 5; head 1 the rest.
    assert to_gguf(torch.arange(12), place).tolist() == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]


@pytest.mark.parametrize(
    ("model_type", "name", "theirs"),
    [
        ("gemma2", "model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
        ("mamba", "backbone.layers.0.mixer.A_log", "blk.0.ssm_a"),
    ],
)
def test_arithmetic_is_undone(model_type: str, name: str, theirs: str) -> None:
    place = TensorMap(family(model_type), {"num_hidden_layers": 1}).place(name)
    assert place.name == theirs
    numbers = torch.tensor([0.5, 1.0, 2.0])
    stored = to_gguf(numbers, place)
    assert not torch.equal(stored, numbers)
    assert torch.allclose(from_gguf(stored, place), numbers)


def test_an_expert_is_a_part_of_a_stack() -> None:
    values = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 4}
    place = TensorMap(family("mixtral"), values).place("model.layers.0.block_sparse_moe.experts.7.w2.weight")
    assert (place.name, place.expert) == ("blk.0.ffn_down_exps.weight", 7)


def test_a_tensor_without_a_place_is_named() -> None:
    with pytest.raises(GroundupError, match=r"no place for tensor lm_head\.weight"):
        TensorMap(family("gemma2"), {"num_hidden_layers": 1}).place("lm_head.weight")
