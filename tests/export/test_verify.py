"""A sound folder passes with its figures; a folder with anything changed on one side does not."""

from __future__ import annotations

import sys

import pytest
import torch

from groundup.checkpoints.model_folder import save_model
from groundup.core.errors import GroundupError, MissingExtraError
from groundup.core.files import read_json, write_json
from groundup.export.verify import TEXTS, verify_with_transformers
from groundup.models import (
    AttentionConfig,
    architecture,
    architecture_names,
    build_model,
    config_for_size,
    known_elsewhere,
)
from groundup.tokenization import Tokenizer, train_tokenizer

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([*TEXTS, "the statement is executed and bound to the name " * 20], vocab_size=300)


def small_model(name, tokenizer):
    sizes = {"d_model": 32, "n_layers": 2}
    if issubclass(architecture(name).Config, AttentionConfig):
        sizes["d_head"] = 8
    return build_model(config_for_size("d2", tokenizer.vocab_size, 48, name, **sizes))


@pytest.mark.parametrize("name", [name for name in architecture_names() if not known_elsewhere(name)])
def test_a_model_no_other_tool_has_is_told_so(name, tmp_path, tokenizer):
    save_model(tmp_path / "model", small_model(name, tokenizer), tokenizer)
    with pytest.raises(GroundupError, match=f"architecture {name}, which transformers does not have.*generate"):
        verify_with_transformers(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "transformers" not in card
    assert 'gu.load(".")' in card


@pytest.fixture(params=[name for name in architecture_names() if known_elsewhere(name)])
def folder(request, tmp_path, tokenizer):
    model = small_model(request.param, tokenizer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.2, generator=generator)
    save_model(tmp_path / "model", model, tokenizer)
    return tmp_path / "model"


def test_a_sound_folder_passes(folder, tokenizer):
    result = verify_with_transformers(folder)
    assert result.max_logit_difference < 1e-4
    assert result.ids_equal
    assert result.n_positions == sum(min(48, len(tokenizer.encode(text))) for text in TEXTS)
    assert result.n_continued == 16 * len(TEXTS)
    assert result.transformers_version == transformers.__version__


def test_other_texts_may_be_given(folder, tokenizer):
    assert verify_with_transformers(folder, ["the name"]).n_positions == len(tokenizer.encode("the name"))


def test_a_config_that_means_another_model_elsewhere_is_found(folder, monkeypatch):
    """Their side reads a norm of another epsilon, as if one side had misread the config."""
    names = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps")
    name = next(name for name in names if name in read_json(folder / "config.json"))
    original = transformers.AutoModelForCausalLM.from_pretrained

    def misread(place, **options):
        return original(place, config=transformers.AutoConfig.from_pretrained(place, **{name: 0.5}), **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", misread)
    with pytest.raises(GroundupError, match=r"logits transformers .* differ by up to"):
        verify_with_transformers(folder)


def test_a_tokenizer_that_reads_other_tokens_is_found(folder, monkeypatch):
    original = transformers.AutoTokenizer.from_pretrained

    def other(place, **options):
        theirs = original(place, **options)
        return lambda text, **how: {"input_ids": [*theirs(text, **how)["input_ids"][:-1], 0]}

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", other)
    with pytest.raises(GroundupError, match="other tokens in 'The statement"):
        verify_with_transformers(folder)


def test_greedy_text_that_parts_is_found(folder, monkeypatch):
    def one_token_off(self, inputs, generation_config, **_):
        new = torch.zeros(1, generation_config.max_new_tokens, dtype=torch.int64)
        return torch.cat([inputs, new], dim=1)

    model_class = type(transformers.AutoModelForCausalLM.from_pretrained(folder))
    monkeypatch.setattr(model_class, "generate", one_token_off)
    with pytest.raises(GroundupError, match="greedy text parts from transformers' after"):
        verify_with_transformers(folder)


def test_a_folder_that_transformers_cannot_open_is_named(folder, monkeypatch):
    write_json(folder / "generation_config.json", {"max_new_tokens": -1, "do_sample": "no"})
    with pytest.raises(GroundupError, match=f"transformers {transformers.__version__} cannot open {folder}"):
        verify_with_transformers(folder)


def test_without_transformers_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"groundup\[verify\]"):
        verify_with_transformers(folder)


def test_a_file_is_pointed_to_the_import(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(GroundupError, match=r"model\.gguf is a file.*groundup import"):
        verify_with_transformers(tmp_path / "model.gguf")
