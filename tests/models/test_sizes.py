"""One dial: the sizes it gives, what an override moves, and combinations that cannot be."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.models import AttentionConfig, architecture_names, config_for_size
from groundup.models.qwen3 import Config as Qwen3Config


@pytest.mark.parametrize(
    ("size", "width", "heads", "kv_heads", "d_head", "d_ff"),
    [
        ("d1", 64, 2, 2, 32, 192),
        ("d2", 128, 4, 4, 32, 320),
        ("d3", 192, 6, 6, 32, 512),
        ("d4", 256, 4, 4, 64, 704),
        ("d6", 384, 6, 6, 64, 1024),
        ("d8", 512, 8, 8, 64, 1344),
        ("d10", 640, 10, 10, 64, 1728),
        ("d12", 768, 12, 12, 64, 2048),
        ("d16", 1024, 16, 8, 64, 2752),
    ],
)
def test_the_dial(size: str, width: int, heads: int, kv_heads: int, d_head: int, d_ff: int) -> None:
    config = config_for_size(size, 8192, 256)
    assert (config.d_model, config.n_heads, config.n_kv_heads) == (width, heads, kv_heads)
    assert (config.d_head, config.d_ff, config.n_layers) == (d_head, d_ff, int(size[1:]))


def test_spellings_of_a_size() -> None:
    assert config_for_size("d6", 100, 64) == config_for_size("6", 100, 64) == config_for_size(6, 100, 64)


@pytest.mark.parametrize("size", ["d0", "large", "d97", "", "6d", "-3", "d6.5"])
def test_sizes_that_are_none(size: str) -> None:
    with pytest.raises(GroundupError, match="use d1 to d96"):
        config_for_size(size, 100, 64)


def test_gpt2_at_its_published_size_has_its_published_parameters() -> None:
    config = config_for_size("d12", 50257, 1024, "gpt2")
    assert config.n_parameters() == 124_439_808
    assert config.n_parameters(embeddings=False) == 85_056_000


def test_qwen3_at_its_published_size_has_its_published_parameters() -> None:
    config = Qwen3Config(
        vocab_size=151_936, context_length=40_960, d_model=1024, n_layers=28, n_heads=16, n_kv_heads=8, d_head=128,
        d_ff=3072, tie_embeddings=True,
    )  # fmt: skip
    assert config.n_parameters() == 596_049_920


def test_flops_of_gpt2_at_its_published_size() -> None:
    matrices, head, attention = 12 * 12 * 768 * 768, 50257 * 768, 12 * 12 * 768 * 1024
    config = config_for_size("d12", 50257, 1024, "gpt2")
    assert config.flops_per_token() == 6 * (matrices + head) + attention
    assert config.flops_per_token(256) == 6 * (matrices + head) + attention // 4


@pytest.mark.parametrize(("vocab", "tied"), [(330, False), (8192, False), (12_288, False), (16_384, True)])
def test_large_vocabularies_tie_at_d4(vocab: int, tied: bool) -> None:
    config = config_for_size("d4", vocab, 256)
    assert config.tie_embeddings is tied
    assert (vocab * config.d_model > config.matrix_parameters()) is tied


def test_long_contexts_get_long_waves() -> None:
    thetas = [getattr(config_for_size("d4", 100, length), "rope_theta") for length in (256, 4096, 8192)]  # noqa: B009
    assert thetas == [10_000.0, 10_000.0, 1_000_000.0]


@pytest.mark.parametrize("name", architecture_names())
def test_overrides_win_and_what_depends_on_them_follows(name: str) -> None:
    config = config_for_size("d3", 100, 64, name, d_model=128, norm_eps=1e-4)
    assert (config.n_layers, config.d_model, config.norm_eps) == (3, 128, 1e-4)
    assert config_for_size("d3", 100, 64, name, n_layers=5).d_model == 320
    if isinstance(config, AttentionConfig):
        assert (config.d_head, config.n_heads) == (32, 4)
        assert config_for_size("d3", 100, 64, name, d_ff=99).d_ff == 99  # pyright: ignore[reportAttributeAccessIssue]
        assert config_for_size("d4", 100, 64, name, n_heads=8).d_head == 32  # pyright: ignore[reportAttributeAccessIssue]
    assert config_for_size("d4", 100, 64, name, d_model=None) == config_for_size("d4", 100, 64, name)


@pytest.mark.parametrize(
    ("architecture", "overrides", "words"),
    [
        ("qwen3", {"d_model": 100}, "d_model 100 is not a multiple of d_head 32; use d_model 96"),
        ("qwen3", {"n_heads": 5}, "d_model 256 is not a multiple of n_heads 5"),
        ("qwen3", {"n_kv_heads": 3}, r"n_heads 4 is not a multiple of n_kv_heads 3.*\[1, 2, 4\]"),
        ("qwen3", {"d_head": 7, "n_heads": 4}, "d_head 7 is odd"),
        ("gpt2", {"n_kv_heads": 2}, "n_kv_heads 2 must equal n_heads 4"),
        ("gpt2", {"d_head": 32, "n_heads": 4}, "n_heads 4 x d_head 32 = 128 must equal d_model 256"),
        ("qwen3", {"d_head": 0}, "d_head 0 must be at least 1"),
        ("qwen3", {"dropout": 0.1}, "unknown setting 'dropout'"),
        ("qwen3", {"d_modle": 128}, "unknown setting 'd_modle', did you mean 'd_model'"),
        ("lstm", {"n_heads": 4}, "unknown setting 'n_heads'"),
        ("qwen4", {}, "unknown architecture 'qwen4'; did you mean 'qwen3'"),
    ],
)
def test_combinations_that_cannot_be(architecture: str, overrides: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        config_for_size("d4", 100, 64, architecture, **overrides)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(GroundupError) as error:
        config_for_size("d4", 0, 64, norm_eps=-1.0)
    assert "vocab_size" in str(error.value)
    assert "norm_eps" in str(error.value)
