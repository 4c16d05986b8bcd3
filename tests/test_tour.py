"""The quickstart's two runs, one after the other: each stage made once, gone on with where it stopped, and measured."""

from __future__ import annotations

import json
import pydoc_data.topics
from pathlib import Path
from typing import Any

import pytest

from groundup import tour
from groundup.checkpoints.model_folder import save_model
from groundup.core.progress import Reporter
from groundup.core.runs import CostSummary, RunFolder, RunSummary
from groundup.generation.text_model import ChatAnswer
from groundup.models import build_model, config_for_size
from groundup.pretraining import quickstart_questions
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.pretrain import PretrainResult
from groundup.tokenization.training import train_tokenizer


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A first model that is only drawn, and a few dozen names to ask about."""
    lives: list[str] = []

    def first_model(out: Path, *, time: Any, reporter: Reporter) -> PretrainResult:
        lives.append("first")
        if not RunFolder(out).config.is_file():
            with RunFolder.create(out, PretrainConfig(), ["quickstart"]) as run:
                tokenizer = train_tokenizer(list(pydoc_data.topics.topics.values())[:10], vocab_size=400)
                sizes = {"d_model": 32, "d_head": 16}
                save_model(run.model, build_model(config_for_size("d1", 400, 96, "qwen3", **sizes), 0), tokenizer)
                run.write_summary(RunSummary(cost=CostSummary(training_seconds=5.0)))
        return PretrainResult(out, "finished", None, None, None, None)

    monkeypatch.setattr(tour, "first_model", first_model)
    names = list(quickstart_questions.explained_names())[:150]
    monkeypatch.setattr(quickstart_questions, "explained_names", lambda: names)
    return lives


def test_it_goes_on_to_a_chat_and_says_what_came_of_it(small: list[str], tmp_path: Path):
    heard = Heard()
    done = tour.quickstart(tmp_path / "run", reporter=heard)
    assert not done.interrupted
    said = "\n".join(heard.lines)
    assert "groundup chat" in said and "you: What does os.path.join do?" in said
    assert "held-out questions" in said and "(about a name that was held out)" in said
    kept = json.loads((tmp_path / "run" / "chat" / "held-out.json").read_text())
    assert kept["after"] == {"in_form": done.share_in_form, "ended": done.share_ended}
    assert set(kept) == {"before", "after"}
    looks = [row["val_loss"] for row in RunFolder.open(tmp_path / "run" / "chat").read_metrics() if "val_loss" in row]
    assert looks[-1] < looks[0]
    again = tour.quickstart(tmp_path / "run", reporter=heard)  # finished: nothing is trained again, all is shown again
    assert again.share_in_form == done.share_in_form
    assert small == ["first", "first"]


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("Return the sum.", "end", True),
        (" Is it so?", "end", True),
        ("Return the sum.", "length", False),
        ("Return the sum.\nAnd more.", "end", False),
        ("return the sum.", "end", False),
        ("Return the sum", "end", False),
        ("", "end", False),
        ("A" + "b" * 400 + ".", "end", False),
    ],
)
def test_the_form_of_an_answer(text: str, finish: Any, expected: bool):
    assert tour.in_form(ChatAnswer(text, finish)) is expected
