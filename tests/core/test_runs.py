"""A run folder keeps every step once, survives kills and full disks, and lets one process write."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from groundup.core import runs
from groundup.core.config import Config
from groundup.core.errors import GroundupError
from groundup.core.files import read_json
from groundup.core.runs import (
    CostSummary,
    DataSummary,
    Forecast,
    RunFolder,
    RunSummary,
    SourceSummary,
    SplitSummary,
    TokenizerSummary,
)


class Settings(Config):
    n_layers: int = 2


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path / "mine", Settings(), ["groundup", "pretrain"], {"tokenizer_sha256": "ab"}) as run:
        yield run


def tensorboard_steps(run, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_a_new_run_says_where_it_ran(run):
    environment = read_json(run.environment)
    assert environment["command"] == ["groundup", "pretrain"]
    assert environment["tokenizer_sha256"] == "ab"
    assert environment["python"] == sys.version.split()[0]
    assert Settings.read(run.config) == Settings()


def test_create_refuses_a_folder_that_holds_a_run(run):
    run.close()
    with pytest.raises(GroundupError, match=r"already holds a run.*groundup resume .*mine.*--out"):
        RunFolder.create(run.path, Settings(), [])
    RunFolder.open(run.path, writing=True).close()  # the refusal left no lock behind


def test_create_refuses_a_model_but_not_other_files(tmp_path):
    (tmp_path / "a" / "model").mkdir(parents=True)
    with pytest.raises(GroundupError, match="model"):
        RunFolder.create(tmp_path / "a", Settings(), [])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    RunFolder.create(tmp_path / "b", Settings(), []).close()
    (tmp_path / "c").write_text("a file")
    with pytest.raises(GroundupError, match="cannot write"):
        RunFolder.create(tmp_path / "c", Settings(), [])


def test_a_run_whose_beginning_was_killed_can_begin_again(run):
    run.close()
    run.config.unlink()  # it is written last
    RunFolder.create(run.path, Settings(), []).close()


def test_open_names_the_nearest_run(run):
    with pytest.raises(GroundupError, match=r"mien does not exist; did you mean .*mine\?"):
        RunFolder.open(run.path.with_name("mien"))
    with pytest.raises(GroundupError, match="not a run folder"):
        RunFolder.open(run.path.parent)


def test_each_step_once_after_a_resume(run):
    for step in range(1, 8):
        run.log({"step": step, "train_loss": 1.0 / step, "note": "text", "last": step == 7})
        run.log_sample(step, "Once", f"text {step}")
    run.truncate_metrics(after_step=4)
    for step in range(5, 10):
        run.log({"step": step, "train_loss": 2.0 / step})
    assert [row["step"] for row in run.read_metrics()] == list(range(1, 10))
    assert run.read_metrics()[0] == {"step": 1, "train_loss": 1.0, "note": "text", "last": False}
    assert [row["text"] for row in run.read_samples()] == [f"text {n}" for n in range(1, 5)]
    scalars = tensorboard_steps(run, "train_loss")
    assert [step for step, _ in scalars] == list(range(1, 10))
    assert scalars[3][1] == pytest.approx(0.25)
    assert scalars[4][1] == pytest.approx(0.4)


def test_numbers_json_does_not_have(run):
    run.log({"step": 1, "train_loss": float("nan"), "gradient_norm": float("inf"), "more": {"x": [float("-inf"), 1]}})
    assert (
        run.metrics.read_text() == '{"step": 1, "train_loss": null, "gradient_norm": null, "more": {"x": [null, 1]}}\n'
    )


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_half_written_last_line(run, cut):
    for step in (1, 2, 3):
        run.log({"step": step})
    run.close()
    run.metrics.write_bytes(run.metrics.read_bytes()[:-cut])
    assert [row["step"] for row in run.read_metrics()] == [1, 2]
    with RunFolder.open(run.path, writing=True) as again:
        again.log({"step": 3})
        assert [row["step"] for row in again.read_metrics()] == [1, 2, 3]


def test_flush_reaches_the_disk(run, monkeypatch):
    run.log({"step": 1})
    run.log_sample(1, "a", "b")
    flushed = []
    monkeypatch.setattr(runs, "flush_to_disk", flushed.append)
    run.flush()
    assert flushed == [run.metrics, run.samples]


def test_a_broken_line_elsewhere_is_named(run):
    run.metrics.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(GroundupError, match=r"metrics\.jsonl, line 2"):
        run.read_metrics()


def test_full_disk_leaves_whole_lines(run, monkeypatch):
    run.log({"step": 1})
    file = run._logs[run.metrics]._file

    class Disk:
        """Takes three bytes, then is full."""

        taken = False

        def write(self, data):
            if self.taken:
                raise OSError(errno.ENOSPC, "no room")
            self.taken = True
            return file.write(data[:3])

        def __getattr__(self, name):
            return getattr(file, name)

    monkeypatch.setattr(run._logs[run.metrics], "_file", Disk())
    with pytest.raises(GroundupError, match="disk is full"):
        run.log({"step": 2})
    assert run.metrics.read_text() == '{"step": 1}\n'


def in_another_process(code, path):
    command = [sys.executable, "-c", "import sys\nfrom groundup.core.runs import RunFolder\n" + code, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_writer_at_a_time(run):
    with in_another_process("RunFolder.open(sys.argv[1], writing=True)", run.path) as other:
        errors = other.communicate()[1]
    assert f"is being written by another process (number {os.getpid()})" in errors
    with pytest.raises(GroundupError, match="being written"):
        RunFolder.open(run.path, writing=True)
    assert RunFolder.open(run.path).read_metrics() == []  # reading is free
    run.close()
    RunFolder.open(run.path, writing=True).close()


def test_writing_needs_the_lock(run):
    with pytest.raises(AssertionError):
        RunFolder.open(run.path).log({"step": 1})


def test_killed_while_logging(run):
    run.close()
    code = "run = RunFolder.open(sys.argv[1], writing=True)\nstep = 0\nwhile True:\n"
    code += " step += 1\n run.log({'step': step, 'loss': 1.0})\n print(step, flush=True)\n"
    with in_another_process(code, run.path) as other:
        assert other.stdout is not None
        for _ in range(50):
            seen = int(other.stdout.readline())
        other.send_signal(signal.SIGKILL)
    (run.path / ".model.77.retired").mkdir()  # as if killed between the renames that replace the model
    (run.path / ".model.77.partial").mkdir()
    with RunFolder.open(run.path, writing=True) as again:  # the lock went with the process
        rows = again.read_metrics()
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) >= seen
        assert [step for step, _ in tensorboard_steps(again, "loss")][:50] == list(range(1, 51))
        assert again.model.is_dir()
        assert not list(run.path.glob(".*.partial"))


def test_summary_comes_back(run):
    assert run.read_summary() == RunSummary()
    summary = RunSummary(
        title="mine",
        status="finished",
        model={"layers": 2},
        tokenizer=TokenizerSummary("bpe", 300, 3.5, "ab", ((1, "a"), (2, "<b>"))),
        data=DataSummary((SourceSummary("a.txt", 3, "cd"),), {"train": SplitSummary(1, 2, 3)}),
        cost=CostSummary(training_seconds=1.5, flops=1e15),
        val_loss=1.5,
        forecasts=(Forecast("time", 10.0, 11.0, "seconds"),),
        next_commands=("groundup generate mine",),
    )
    run.write_summary(summary)
    assert run.read_summary() == summary
    run.write_summary(RunSummary(val_loss=float("nan")))
    assert json.loads(run.summary.read_text())["val_loss"] is None


def test_a_broken_summary_is_named(run):
    run.summary.write_text('{"cost": {"flops": "many"}}')
    with pytest.raises(GroundupError, match=r"summary\.json: cost\.flops is 'many'"):
        run.read_summary()
