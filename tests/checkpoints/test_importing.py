"""Models of other kinds as folders: what is stored, what is compared, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from groundup.checkpoints.importing import import_model
from groundup.checkpoints.model_folder import load_model, save_model
from groundup.core.errors import GroundupError
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["a folder is a folder is a folder " * 30], vocab_size=272)
    save_model(tmp_path / "source", build_model(config_for_size("d2", 300, 16)), tokenizer, dtype=torch.bfloat16)
    return tmp_path / "source"


@pytest.mark.parametrize(
    ("dtype", "stored"), [(None, torch.bfloat16), ("fp32", torch.float32), ("fp16", torch.float16)]
)
def test_weights_stay_as_they_were_unless_asked(
    dtype: str | None, stored: torch.dtype, source: Path, tmp_path: Path
) -> None:
    result = import_model(source, tmp_path / "out", dtype=dtype)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    assert {tensor.dtype for tensor in after.values()} == {stored}
    assert all(torch.allclose(after[name].float(), tensor.float(), atol=1e-7) for name, tensor in before.items())
    assert result.max_logit_difference < 1e-5
    assert result.dtype == (dtype or "bf16")


def test_another_tokenizer_may_be_named(source: Path, tmp_path: Path) -> None:
    other = train_tokenizer(["quite another text, of other words " * 30], vocab_size=280)
    other.save(tmp_path / "other")
    import_model(source, tmp_path / "out", tokenizer=tmp_path / "other")
    assert load_model(tmp_path / "out")[1].sha256 == other.sha256


def test_refusals(source: Path, tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="is the model itself"):
        import_model(source, source)
    with pytest.raises(GroundupError, match=r"unknown dtype 'fp61'.*did you mean"):
        import_model(source, tmp_path / "out", dtype="fp61")
    model, tokenizer = load_model(source, dtype=torch.float32)
    with torch.no_grad():
        model.final_norm.weight.mul_(1e6)
    save_model(tmp_path / "large", model, tokenizer)
    with pytest.raises(GroundupError, match="too large for fp16"):
        import_model(tmp_path / "large", tmp_path / "out", dtype="fp16")
