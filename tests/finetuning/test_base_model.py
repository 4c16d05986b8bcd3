"""The model that is tuned: what is trained, and what it is written as."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from groundup.checkpoints.model_folder import is_adapter_folder, save_model
from groundup.core.errors import GroundupError
from groundup.finetuning.base_model import keep_frozen_in, open_base
from groundup.finetuning.config import FinetuneConfig
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = train_tokenizer(["a small bird sees the river"] * 20, vocab_size=280)
    model = build_model(config_for_size("d2", tokenizer.vocab_size, 32, "qwen3", d_model=32, d_head=16), seed=0)
    place = tmp_path_factory.mktemp("base") / "model"
    save_model(place, model, tokenizer)
    return place


def config(folder: Path, **more) -> FinetuneConfig:
    return FinetuneConfig(method="instruct", model=str(folder), **more)


def moved(base) -> None:
    with torch.no_grad():
        for parameter in base.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


def test_a_whole_model_is_written_as_a_model_folder(folder, tmp_path):
    base = open_base(config(folder))
    assert not base.has_adapter
    assert all(parameter.requires_grad for parameter in base.model.parameters())
    moved(base)
    base.save(tmp_path / "model")
    assert not is_adapter_folder(tmp_path / "model")
    assert base.verify(tmp_path / "model", torch.arange(20)) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_is_written_alone_and_gone_on_with(folder, tmp_path, dtype):
    base = open_base(config(folder, lora="r=4"))
    assert base.has_adapter
    trained = [name for name, parameter in base.model.named_parameters() if parameter.requires_grad]
    assert trained and all(".adapters." in name for name in trained)
    keep_frozen_in(base.model.parameters(), dtype)
    moved(base)
    base.save(tmp_path / "model")
    assert is_adapter_folder(tmp_path / "model")
    assert base.verify(tmp_path / "model", torch.arange(20)) < 1e-5

    again = open_base(config(tmp_path / "model"))
    assert [name for name, p in again.model.named_parameters() if p.requires_grad] == trained
    assert again.sha256 != base.sha256
    moved(again)
    again.save(tmp_path / "more")
    assert again.verify(tmp_path / "more", torch.arange(20)) < 1e-5
    assert again.adapter_base == folder
    with pytest.raises(GroundupError, match="is an adapter, and --lora asks for another"):
        open_base(config(tmp_path / "model", lora="r=4"))


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_on_a_base_in_few_bits_is_read_back_as_it_was_trained(folder, tmp_path, precision, kind):
    pytest.importorskip("bitsandbytes")
    base = open_base(config(folder, lora=f"r=4,{kind}", base_precision=precision))
    keep_frozen_in((p for p in base.model.parameters() if not p.requires_grad), torch.bfloat16)
    moved(base)
    base.save(tmp_path / "model")
    assert base.verify(tmp_path / "model", torch.arange(20)) < 1e-5
    again = open_base(config(tmp_path / "model", base_precision=precision))
    assert again.has_adapter and any(parameter.requires_grad for parameter in again.model.parameters())
    with pytest.raises(GroundupError, match="the whole model is trained; add --lora"):
        open_base(config(folder, base_precision=precision))
