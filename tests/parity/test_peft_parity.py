"""Adapters pass between PEFT and us in both directions with the same logits, on every architecture that transformers knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter
from groundup.checkpoints.adapter_folder import load_adapted, save_adapter
from groundup.checkpoints.model_folder import save_model
from groundup.core.errors import GroundupError
from groundup.models import (
    AttentionConfig,
    LanguageModel,
    architecture,
    architecture_names,
    build_model,
    config_for_size,
)
from groundup.models.discovery import known_elsewhere
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

VOCAB, LENGTH, TOLERANCE = 300, 12, 1e-4
FAMILIES = [name for name in architecture_names() if known_elsewhere(name)]
KINDS = {
    "lora": {"rank": 4, "alpha": 8},
    "rslora": {"rank": 4, "alpha": 4, "rslora": True},
    "dora": {"rank": 2, "kind": "dora"},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)


def tokens(vocabulary: int = VOCAB) -> torch.Tensor:
    return torch.randint(vocabulary, (2, LENGTH), generator=torch.Generator().manual_seed(7))


def scatter(parameters, scale: float = 0.05, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def our_base(name: str, **overrides) -> LanguageModel:
    heads = {"d_head": 16} if issubclass(architecture(name).Config, AttentionConfig) else {}
    model = build_model(config_for_size("d2", VOCAB, 16, name, d_model=64, **heads, **overrides), seed=1)
    scatter(model.parameters(), 0.1)
    return model.eval()


@torch.no_grad()
def their_logits(base: Path, adapter: Path, ids: torch.Tensor, n_rows: int | None = None) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if n_rows:
        model.resize_token_embeddings(n_rows)
    return peft.PeftModel.from_pretrained(model, adapter).eval()(ids).logits


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    assert one.shape == other.shape
    assert float((one - other).abs().max()) < TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_ours_opens_in_peft(name: str, kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    if kind == "rslora" and name not in ("gpt2", "llama"):
        pytest.skip("only its scale differs from LoRA; two families are enough")
    model = our_base(name)
    save_model(tmp_path / "base", model, tokenizer)
    add_adapter(model, AdapterConfig(**KINDS[kind]))  # type: ignore[arg-type]
    scatter(adapter_parameters(model).values())
    save_adapter(tmp_path / "adapter", model, tokenizer, base=tmp_path / "base")
    with torch.no_grad():
        expected = model.eval()(tokens())
        again, _ = load_adapted(tmp_path / "adapter")
        assert torch.equal(again(tokens()), expected)
    assert_close(their_logits(tmp_path / "base", tmp_path / "adapter", tokens()), expected)
    plain = our_base(name)
    assert float((plain(tokens()) - expected).abs().max()) > 100 * TOLERANCE


# What PEFT's users write for these families; the rest of each path is the same code.
THEIRS = {
    "gpt2": {"target_modules": ["c_attn", "mlp.c_proj"], "fan_in_fan_out": True},
    "llama": {"target_modules": "all-linear", "use_dora": True},
    "qwen3": {"target_modules": ["q_proj", "v_proj"], "use_rslora": True, "lora_dropout": 0.1},
    "gemma3": {"target_modules": ["q_proj", "down_proj"], "rank_pattern": {"down_proj": 2}},
    "phi3": {"target_modules": ["qkv_proj", "gate_up_proj"], "alpha_pattern": {r"layers\.1\..*qkv_proj": 32}},
    "gpt_neox": {"target_modules": ["query_key_value", "dense_h_to_4h"], "layers_to_transform": [1]},
    "mamba": {"target_modules": ["in_proj", "x_proj"]},
}


@pytest.mark.parametrize("name", THEIRS)
def test_theirs_opens_here(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "base", our_base(name), tokenizer)
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    made = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **THEIRS[name])).eval()
    scatter([p for key, p in made.named_parameters() if "lora_" in key])
    made.save_pretrained(tmp_path / "adapter")
    model, _ = load_adapted(tmp_path / "adapter")
    with torch.no_grad():
        expected = made(tokens()).logits
        assert_close(model(tokens()), expected)
    save_adapter(tmp_path / "again", model, tokenizer, base=tmp_path / "base")
    assert_close(their_logits(tmp_path / "base", tmp_path / "again", tokens()), expected)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_tokens_travel_both_ways(name: str, tied: bool, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = our_base(name, tie_embeddings=tied)
    save_model(tmp_path / "base", model, tokenizer)
    ids = tokens()
    ids[0, :3] = torch.tensor([5, 9, 5])
    add_adapter(model, AdapterConfig(rank=2, new_tokens=(5, 9)))
    scatter(adapter_parameters(model).values())
    save_adapter(tmp_path / "adapter", model, tokenizer, base=tmp_path / "base")
    with torch.no_grad():
        expected = model(ids)
        assert torch.equal(load_adapted(tmp_path / "adapter")[0](ids), expected)
    assert_close(their_logits(tmp_path / "base", tmp_path / "adapter", ids), expected)


@pytest.mark.parametrize("whole", [True, False], ids=["whole table", "rows"])
def test_tokens_the_base_lacks_come_with_peft_s_adapter(whole: bool, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "base", our_base("llama"), tokenizer)
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    base.resize_token_embeddings(VOCAB + 2)
    table = "model.embed_tokens"
    settings = {} if whole else {"trainable_token_indices": {"embed_tokens": [VOCAB, VOCAB + 1]}}
    if not whole and not base.config.tie_word_embeddings:
        settings["trainable_token_indices"]["lm_head"] = [VOCAB, VOCAB + 1]
    made = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], **settings)).eval()
    scatter([p for key, p in made.named_parameters() if "lora_" in key or "trainable_tokens" in key])
    made.save_pretrained(tmp_path / "adapter")
    model, _ = load_adapted(tmp_path / "adapter")
    assert model.config.vocab_size == VOCAB + 2, table
    ids = tokens(VOCAB + 2)
    ids[0, :2] = torch.tensor([VOCAB, VOCAB + 1])
    with torch.no_grad():
        expected = made(ids).logits
        assert_close(model(ids), expected)
    save_adapter(tmp_path / "again", model, tokenizer, base=tmp_path / "base")
    with torch.no_grad():
        assert_close(load_adapted(tmp_path / "again")[0](ids), expected)


def test_what_peft_can_and_we_cannot_is_refused_by_name(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "base", our_base("llama"), tokenizer)
    for settings, message in (
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["embed_tokens"]}, "lora_embedding_A"),
        ({"target_modules": ["q_proj"], "lora_bias": True}, "lora_bias=True"),
        ({"target_modules": ["q_proj"], "bias": "all"}, "bias='all'"),
        ({"target_modules": ["q_proj"], "init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
    ):
        base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
        peft.get_peft_model(base, peft.LoraConfig(r=2, **settings)).save_pretrained(tmp_path / "adapter")
        with pytest.raises(GroundupError, match=message):
            load_adapted(tmp_path / "adapter")
