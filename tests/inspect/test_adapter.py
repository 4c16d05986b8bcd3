"""What the table of an adapter says, against norms of matrices made whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter
from groundup.checkpoints.adapter_folder import save_adapter
from groundup.checkpoints.model_folder import save_model
from groundup.core.errors import GroundupError
from groundup.inspect.adapter import adapter_terminal, look_at_adapter, movements
from groundup.models import LanguageModel, build_model, config_for_size
from groundup.tokenization.training import train_tokenizer


def adapted(kind: str) -> LanguageModel:
    model = build_model(config_for_size("d2", 280, 16, "llama", d_model=64, d_head=16), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        add_adapter(model, AdapterConfig(kind=kind, rank=3, targets=("query", "down")))  # type: ignore[arg-type]
        for parameter in adapter_parameters(model).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_movements_are_norms(kind: str) -> None:
    model = adapted(kind)
    found = movements(model)
    assert [movement.name.split(".", 2)[2] for movement in found] == ["attention.query", "feed_forward.down"] * 2
    for movement in found:
        layer = model.get_submodule(movement.name)
        path = layer.adapters["default"]  # type: ignore[union-attr]
        assert movement.added == pytest.approx(float((2 * path.b @ path.a).norm()), rel=1e-4)
        assert movement.share == pytest.approx(movement.added / float(layer.base.weight.norm()), rel=1e-4)  # type: ignore
        if kind == "dora":
            length = (layer.base.weight + 2 * path.b @ path.a).norm(dim=1)  # type: ignore[union-attr]
            assert movement.gain == pytest.approx(float((path.magnitude / length - 1).abs().mean()), rel=1e-3)


def test_what_is_shown_with_and_without_the_base(tmp_path: Path) -> None:
    model, tokenizer = adapted("lora"), train_tokenizer(["the quick brown fox. " * 20], vocab_size=280)
    base = build_model(model.config, seed=1)
    save_model(tmp_path / "base", base, tokenizer)
    save_adapter(tmp_path / "adapter", model, tokenizer, base=tmp_path / "base")
    view = look_at_adapter(tmp_path / "adapter")
    n_base = sum(parameter.numel() for parameter in base.parameters())
    assert view.n_base == n_base and view.movements is not None and len(view.movements) == 4
    (tmp_path / "base").rename(tmp_path / "gone")
    view = look_at_adapter(tmp_path / "adapter")
    assert view.movements is None and "was not found" in str(view.missing)
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(adapter_terminal(view))
    assert f"{view.folder.n_parameters:,}" in console.export_text()
    with pytest.raises(GroundupError, match="whole model"):
        look_at_adapter(tmp_path / "gone")
