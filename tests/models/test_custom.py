"""What is the custom architecture's own: its parts do what they are named for, and parts that do not fit are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.models import architecture, build_model, config_for_size
from groundup.models.layers.norm import LayerNorm, RMSNorm


def config(**parts: Any):
    return config_for_size("d1", 50, 16, "custom", **({"d_model": 32, "d_head": 8} | parts))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"d_head": 5, "n_heads": 6}, ["d_head 5", "odd"]),
        ({"window": 16}, ["window 16", "context_length 16", "no effect"]),
        ({"window": 12, "sink_tokens": 4}, ["window 12", "sink_tokens 4", "no effect"]),
        ({"sink_tokens": 2}, ["sink_tokens 2", "without a window"]),
        ({"positions": "alibi", "rope_theta": 500.0}, ["rope_theta 500", "alibi"]),
        ({"dropout": 0.1, "softcap": 20.0}, ["dropout 0.1", "softcap 20"]),
        ({"dropout": 0.1, "sink_logits": True}, ["dropout 0.1", "sink_logits"]),
        ({"positions": "rotery"}, ["positions", "rotery", "rotary"]),
        ({"feed_forward": "relu"}, ["feed_forward", "relu", "relu_squared"]),
        ({"n_heads": 4, "n_kv_heads": 3}, ["n_kv_heads 3", "1, 2, 4"]),
        ({"windows": 3}, ["windows", "window"]),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_the_reason(parts: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(GroundupError) as error:
        config(**parts)
    assert all(word in str(error.value) for word in words), error.value


def test_an_odd_head_needs_no_pairs_without_rotation() -> None:
    assert config(d_head=5, n_heads=6, positions="alibi").d_head == 5


def test_the_width_of_the_feed_forward_follows_its_kind() -> None:
    assert config(d_model=384, d_head=64).d_ff == 1024
    assert config(d_model=384, d_head=64, feed_forward="gelu").d_ff == 4 * 384
    gated, plain = (config_for_size("d6", 50, 16, "custom", feed_forward=kind) for kind in ("geglu", "relu_squared"))
    assert gated.matrix_parameters() == plain.matrix_parameters()
    assert config(feed_forward="gelu", d_ff=48).d_ff == 48


def test_norms_are_of_the_kind_chosen() -> None:
    layer, rms = build_model(config(norm="layer", qk_norm=True)), build_model(config())
    assert isinstance(layer.final_norm, LayerNorm)
    assert isinstance(layer.blocks[0].feed_forward_norm, LayerNorm)
    assert isinstance(rms.blocks[0].attention_norm, RMSNorm)


@torch.no_grad()
def test_a_norm_after_leaves_the_stream_normalised() -> None:
    before, after = (build_model(config(norm_placement=place), 3) for place in ("before", "after"))
    assert [n for n, _ in before.named_parameters()] == [n for n, _ in after.named_parameters()]
    x = 7 * torch.randn(1, 4, 32)
    tokens = torch.arange(4)[None]
    after_x, before_x = (model.blocks[0](x, model.read(tokens, None, None)) for model in (after, before))
    torch.testing.assert_close(after_x.square().mean(-1), torch.ones(1, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(before_x, x)  # parts begin at zero: the stream passes unchanged


def weights_of(parts: dict[str, Any], document_ids: torch.Tensor | None = None) -> torch.Tensor:
    """Attention weights [H, T, S] of equal tokens 12 long, so that only what is seen and where decides."""
    model = build_model(config(**parts))
    seen = []
    attend = model.blocks[0].attention.attend
    attend.register_forward_hook(lambda module, inputs, _: seen.append(module.reference(*inputs[:4])[1]))
    with torch.no_grad():
        model(torch.full((1, 12), 5), document_ids_BT=document_ids)
    return seen[0][0]


def test_window_and_first_tokens_in_sight() -> None:
    assert (weights_of({"window": 3})[0, 9] > 0).nonzero().flatten().tolist() == [7, 8, 9]
    with_sinks = {"window": 3, "sink_tokens": 2}
    assert (weights_of(with_sinks)[0, 9] > 0).nonzero().flatten().tolist() == [0, 1, 7, 8, 9]
    # Each document has its own first tokens.
    ids = torch.tensor([[0] * 4 + [1] * 8])
    assert (weights_of(with_sinks, ids)[0, 11] > 0).nonzero().flatten().tolist() == [4, 5, 9, 10, 11]
    assert (weights_of(with_sinks, ids)[0, 3] > 0).nonzero().flatten().tolist() == [0, 1, 2, 3]


def test_without_positions_equal_tokens_are_equal() -> None:
    torch.testing.assert_close(weights_of({"positions": "none"})[0, 9, :10], torch.full((10,), 0.1))


def test_alibi_shares_by_distance_and_head() -> None:
    weights = weights_of({"positions": "alibi", "n_heads": 2, "d_head": 16})  # slopes 1/16 and 1/256
    ratios = weights[:, 9, 1:10] / weights[:, 9, :9]
    torch.testing.assert_close(ratios, torch.tensor([1 / 16, 1 / 256]).exp()[:, None].expand(2, 9))


def test_learned_sinks_begin_as_one_more_key_of_score_zero() -> None:
    parts = {"positions": "none", "qk_norm": True, "n_heads": 1, "d_head": 8}
    without, with_sinks = weights_of(parts), weights_of(parts | {"sink_logits": True})
    torch.testing.assert_close(without[0, :, 0], 1 / torch.arange(1.0, 13))
    # Equal keys of score s get e^s each of (t + 1) e^s + 1; so 1/weight grows by 1 a token, from 1 + e^-s.
    grows = 1 / with_sinks[0, :, 0]
    torch.testing.assert_close(grows.diff(), torch.ones(11))
    assert grows[0] > 1


def test_dropout_works_in_training_only() -> None:
    model = build_model(config(dropout=0.3))
    tokens = torch.arange(16)[None]
    torch.manual_seed(0)
    assert not torch.equal(model.train()(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))


def test_a_config_of_another_version_is_refused_by_name() -> None:
    family = architecture("custom")
    values = family.to_hugging_face(config(positions="alibi", window=4, sink_tokens=1))
    assert values["model_type"] == "groundup_custom"
    assert family.from_hugging_face(values).positions == "alibi"
    with pytest.raises(GroundupError, match="future_part"):
        family.from_hugging_face(values | {"future_part": 3})
