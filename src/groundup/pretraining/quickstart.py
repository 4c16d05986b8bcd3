"""The quickstart: a first model in minutes, offline, on text that every Python carries.

It is an ordinary pretraining run on the interpreter's own documentation; nothing here but the choice of text, time and prompt.
"""

from __future__ import annotations

from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.core.runs import RunFolder
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.pretrain import PretrainResult, pretrain, resume
from groundup.pretraining.quickstart_text import write_quickstart_text

SECONDS = 200.0
PROMPT = "The function returns"


def quickstart(
    out: str | Path = "runs/quickstart", *, time: float | str | None = None, reporter: Reporter = QUIET
) -> PretrainResult:
    """Train on the documentation of the running Python for `time` (200 seconds) and show what was learned.

    Interrupted, the same call goes on. Raises `GroundupError` when `out` holds another run.
    """
    out = Path(out)
    text = out / "text"
    if RunFolder(out).config.is_file() and text.is_dir():
        if time is not None:
            raise GroundupError(
                f"{out} holds a quickstart that goes on with the time it began with; leave --time out, or choose another --out"
            )
        result = resume(out, reporter=reporter)
    else:
        length = SECONDS if time is None else PretrainConfig.build({"time": time}, source="quickstart").time
        if RunFolder(out).config.is_file():
            raise GroundupError(f"{out} holds another run; choose another --out")
        reporter.say("text        the documentation this Python carries (pydoc topics and docstrings)")
        write_quickstart_text(text)
        result = pretrain(text, out=out, time=length, sample_prompt=PROMPT, reporter=reporter)
    if not result.interrupted:
        _show_samples(RunFolder.open(out), reporter)
    return result


def _show_samples(run: RunFolder, reporter: Reporter) -> None:
    """The same prompt, before the training and after it."""
    samples = run.read_samples()
    for label, sample in (("before", samples[0]), ("after", samples[-1])):
        reporter.say()
        reporter.say(f"--- {label} training (step {sample['step']:,}) ---")
        reporter.say(sample["prompt"] + sample["text"])
