"""`groundup adapter ...` and `groundup generate` on an adapter's folder, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter
from groundup.checkpoints.adapter_folder import save_adapter
from groundup.checkpoints.model_folder import save_model
from groundup.cli import cli
from groundup.core.errors import GroundupError
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog. " * 20], vocab_size=280)
    model = build_model(config_for_size("d2", 280, 32, "llama", d_model=64, d_head=16), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        save_model(tmp_path / "base", model, tokenizer)
        add_adapter(model, AdapterConfig(rank=4))
        for parameter in adapter_parameters(model).values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_adapter(tmp_path / "run" / "model", model, tokenizer, base=tmp_path / "base")
    return tmp_path / "run"


def typed(*words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_an_adapter_is_written_with_merged_shown_and_handed_on(run: Path, tmp_path: Path) -> None:
    how = ("the quick", "--max-new-tokens", 8, "--temperature", 0)
    written = typed("generate", run, *how)
    assert written != typed("generate", tmp_path / "base", *how)
    typed("adapter", "merge", run, "--out", tmp_path / "merged")
    assert typed("generate", tmp_path / "merged", *how) == written
    typed("adapter", "export", run, "--out", tmp_path / "public", "--base-name", "someone/base")
    assert typed("generate", tmp_path / "public", *how, "--base", tmp_path / "base") == written
    typed("adapter", "import", tmp_path / "public", "--base", tmp_path / "base", "--out", tmp_path / "mine")
    assert typed("generate", tmp_path / "mine", *how) == written
    assert "query" in typed("adapter", "show", run)


def test_mistakes_end_with_the_way_out(run: Path, tmp_path: Path) -> None:
    for words, message in (
        (("adapter", "merge", tmp_path / "base", "--out", tmp_path / "x"), "is a whole model"),
        (("adapter", "merge", run, "--out", run), "is not empty"),
        (("adapter", "import", run, "--out", run / "model"), "is the adapter itself"),
        (("export", "gguf", run, "--out", tmp_path / "x.gguf"), "adapter merge"),
    ):
        with pytest.raises(GroundupError, match=message):
            typed(*words)
