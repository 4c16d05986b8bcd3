"""Models that carry a state go through the same run, and write on past the context they were trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

import groundup as gu
from groundup.core.config import read_yaml
from groundup.core.errors import GroundupError
from groundup.core.runs import RunFolder
from groundup.models import known_elsewhere


@pytest.fixture
def small(tiny: dict) -> dict:
    """The tiny run without what only attention has."""
    return {name: value for name, value in tiny.items() if name not in ("n_heads", "d_ff")}


@pytest.mark.parametrize("name", ["lstm", "mamba", "mamba2"])
def test_they_train_and_write_past_their_context(name: str, small: dict, stories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert gu.pretrain(stories, out=run, architecture=name, steps=12, **small).outcome == "finished"
    rows = [row["train_loss"] for row in RunFolder.open(run).read_metrics() if "train_loss" in row]
    assert rows[-1] < rows[0] - 0.5
    assert read_yaml(run / "config.yaml").get("n_heads") is None
    assert ("transformers" in (run / "model" / "README.md").read_text()) == known_elsewhere(name)
    text = gu.load(str(run)).generate("the cat", max_new_tokens=3 * 32, temperature=0)
    assert text == gu.load(str(run)).generate("the cat", max_new_tokens=3 * 32, temperature=0, use_cache=False)


def test_compiling_what_is_not_compiled_is_refused(small: dict, stories: Path, tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="compile on: lstm is not compiled"):
        gu.pretrain(stories, out=tmp_path / "run", architecture="lstm", steps=2, **(small | {"compile": "on"}))
