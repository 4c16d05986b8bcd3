"""What is Mixtral's own: the published model's settings, and the balance of its experts in a training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.models import build_model, config_for_size
from groundup.models.mixtral import from_hugging_face, to_hugging_face
from groundup.training.objectives import next_token_loss

# mistralai/Mixtral-8x7B-v0.1's config.json.
MIXTRAL_8X7B = {
    "architectures": ["MixtralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mixtral",
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "output_router_logits": False,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.02,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.36.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}


def test_the_published_model() -> None:
    config = from_hugging_face(MIXTRAL_8X7B)
    assert config.n_parameters() == 46_702_792_704
    # "13B active parameters" (Jiang et al. 2024, section 1): with the head and the table that a token is looked up in.
    assert config.active_matrix_parameters() + config.table_parameters() == pytest.approx(12.9e9, rel=0.005)
    assert (config.n_experts, config.n_active_experts, config.balance_coefficient) == (8, 2, 0.02)
    assert from_hugging_face(to_hugging_face(config)) == config


def test_more_active_experts_than_there_are_is_refused() -> None:
    with pytest.raises(GroundupError, match="n_active_experts 9 is more than the 8 n_experts"):
        config_for_size("d1", 50, 16, "mixtral", n_active_experts=9)


def test_the_dial_computes_as_much_as_the_dense_model() -> None:
    mixture, dense = (config_for_size("d4", 50, 16, name) for name in ("mixtral", "llama"))
    routers = 4 * 8 * mixture.d_model
    assert mixture.active_matrix_parameters() - routers == dense.matrix_parameters()


def batch(model_vocabulary: int = 50) -> SimpleNamespace:
    tokens = torch.randint(model_vocabulary, (4, 16), generator=torch.Generator().manual_seed(3))
    labels = tokens.roll(-1, 1)
    labels[:, -3:] = -100
    return SimpleNamespace(tokens_BT=tokens, labels_BT=labels, document_ids_BT=None)


def loss_and_gradients(coefficient: float, training: bool = True):
    model = build_model(config_for_size("d2", 50, 16, "mixtral", d_model=64, balance_coefficient=coefficient), 1)
    loss = next_token_loss(model.train(training), batch())  # pyright: ignore[reportArgumentType]
    return model, loss, torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def test_the_balance_loss_adds_its_gradient_for_each_target_and_not_its_value() -> None:
    model, plain_loss, plain = loss_and_gradients(0.0)
    _, loss, found = loss_and_gradients(0.5)
    assert loss.item() == plain_loss.item(), "losses stay nats of the text"
    same = build_model(config_for_size("d2", 50, 16, "mixtral", d_model=64, balance_coefficient=0.5), 1)
    penalty = same.train().trunk_and_penalty(batch().tokens_BT)[1]
    assert penalty is not None
    assert penalty.item() >= 0.5 * 2 * 0.999, "the coefficient times two, were all experts used alike"
    wanted = torch.autograd.grad(penalty * (4 * 13), list(same.parameters()), allow_unused=True)
    moved = 0
    for (name, _), with_it, without, own in zip(model.named_parameters(), found, plain, wanted, strict=True):
        if own is not None:
            torch.testing.assert_close(with_it - without, own, atol=1e-5, rtol=1e-4, msg=name)
            moved += bool(own.abs().max() > 0)
    assert moved >= 2, "the routers of both layers"


def test_evaluation_has_no_balance_loss() -> None:
    plain, penalised = loss_and_gradients(0.0, training=False), loss_and_gradients(0.5, training=False)
    for one, other in zip(plain[2], penalised[2], strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
