"""Settings of an architecture's own reach its configuration, or are refused before any text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import groundup as gu
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.shape import check_model, model_config
from groundup.tokenization.training import train_tokenizer


def test_settings_reach_the_configuration() -> None:
    tokenizer = train_tokenizer(["one two three " * 20], vocab_size=270)
    own = {"positions": "alibi", "window": 9, "sink_tokens": 2, "feed_forward": "gelu", "norm_eps": "1e-4"}
    config = PretrainConfig(architecture="custom", size="d3", context_length=32, dropout=0.2, model=own)
    check_model(config)
    found: Any = model_config(config, tokenizer)
    assert (found.positions, found.window, found.sink_tokens, found.norm_eps) == ("alibi", 9, 2, 1e-4)
    assert (found.n_layers, found.dropout, found.d_ff) == (3, 0.2, 4 * 192)
    assert (found.vocab_size, found.eos_ids) == (tokenizer.vocab_size, (tokenizer.eos_id,))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "custom", "model": {"postions": "alibi"}}, ["custom", "postions", "positions"]),
        ({"architecture": "gpt2", "model": {"window": 9}}, ["gpt2", "window"]),
        ({"model": {"n_layers": 3}}, ["n_layers", "--n-layers"]),
        ({"model": {"vocab_size": 300}}, ["vocab_size", "--vocab-size"]),
        ({"model": {"bos_id": 3}}, ["bos_id"]),
        ({"architecture": "custom", "model": {"sink_tokens": 3}}, ["sink_tokens 3", "without a window"]),
        ({"architecture": "custom", "context_length": 64, "model": {"window": 64}}, ["window 64", "no effect"]),
        ({"dropout": 0.1}, ["dropout 0.1", "qwen3", "custom", "gpt2"]),
        ({"architecture": "custom", "model": {"positions": ["a"]}}, ["positions"]),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_text_is_read(
    settings: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(gu.GroundupError) as error:
        gu.pretrain(tmp_path / "no such text", out=tmp_path / "run", steps=1, **settings)
    assert all(word in str(error.value) for word in words), error.value
    assert not (tmp_path / "run").exists()


def test_a_window_may_be_any_until_the_context_is_known() -> None:
    check_model(PretrainConfig(architecture="custom", model={"window": 3000}))


def test_a_trained_model_has_its_parts_and_says_where_it_opens(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The wheel turns and the road goes on. " * 400)
    own = {"positions": "alibi", "norm": "layer", "norm_placement": "after", "feed_forward": "relu_squared"}
    settings: dict[str, Any] = {"size": "d1", "context_length": 32, "batch_size": 4, "steps": 4, "sample_tokens": 0}
    settings |= {"tokenizer_algorithm": "char", "compile": "off", "precision": "fp32"}
    run = gu.pretrain(tmp_path / "text.txt", out=tmp_path / "run", architecture="custom", model=own, **settings)
    assert run is not None
    model = gu.load(tmp_path / "run").model
    assert {name: getattr(model.config, name) for name in own} == own
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "library_name: transformers" not in card
    with pytest.raises(gu.GroundupError, match="custom"):
        gu.verify_with_transformers(tmp_path / "run" / "model")
