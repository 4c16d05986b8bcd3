"""The first command of the README, in seconds: text, plan, training, samples; run again it neither begins anew nor overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.pretraining.quickstart import PROMPT, quickstart


class Listening(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str = "") -> None:
        self.said.append(text)


@pytest.mark.slow
def test_a_quickstart_trains_shows_and_is_not_repeated(tmp_path: Path):
    reporter, out = Listening(), tmp_path / "first"
    result = quickstart(out, time="5s", reporter=reporter)
    assert not result.interrupted
    before, after = (reporter.said[i + 1] for i, line in enumerate(reporter.said) if line.startswith("--- "))
    assert before.startswith(PROMPT) and after.startswith(PROMPT)
    assert before != after
    rows = RunFolder.open(out).read_samples()
    assert rows[0]["step"] == 0 < rows[-1]["step"]
    assert (out / "report.html").stat().st_size > 10_000

    weights = (out / "model" / "model.safetensors").read_bytes()
    with pytest.raises(GroundupError, match="goes on with the time it began with"):
        quickstart(out, time="5s")
    quickstart(out)
    assert (out / "model" / "model.safetensors").read_bytes() == weights
