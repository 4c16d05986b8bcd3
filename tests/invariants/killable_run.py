"""A training with dropout, on a mixture whose rows lose tokens, killed by SIGKILL at the moments asked for, and resumed.

Arguments: run folder, data folder, then moments. Each moment is one life of the run: it goes on from whatever is on disk
and is killed there; the life after the last moment is left to finish and writes `final.safetensors`. Lives are forked from
this process, which has imported everything and computed nothing, so a life costs no start-up. Moments:

    step:K:S     S seconds after step K was told of
    writing:N    half-way through writing the tensors of its N-th save
    before:N     before the rename that makes its N-th save count
    after:N      right after that rename
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from safetensors.torch import save_file

from groundup.checkpoints import training_state
from groundup.core import files
from groundup.data.batches import TrainingBatches
from groundup.data.packing import training_rows
from groundup.data.store import TokenStore
from groundup.models import build_model, config_for_size
from groundup.training.loop import Budget, Hook, Job, train
from groundup.training.metrics import MetricsLog
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings
from groundup.training.saving import Keeper

N_STEPS = 30


class Lines(MetricsLog):
    """Rows in a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def truncate(self, step):
        super().truncate(step)
        self._path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def log(self, row):
        super().log(row)
        with open(self._path, "a") as file:
            file.write(json.dumps(row) + "\n")


def live(run: Path, data: Path, tell) -> None:
    """One life: resume what is there, train to the end, write the weights."""
    Keeper.due = lambda self, watch: True  # a save after every step, so that a kill often strikes one
    store = TokenStore.open(data)
    config = config_for_size("d1", store.vocab_size, 16, "gpt2", n_layers=1, d_model=32, d_head=16, dropout=0.2)
    model = build_model(config, seed=0)
    rows = [training_rows(store.split("train"), 16, packing=packing) for packing in ("windows", "best-fit")]
    batches = TrainingBatches(rows, batch_size=8, micro_batch_size=4, seed=5, parts=(3, 1), drop_tokens=2)
    settings = OptimizerSettings(0.02, 0.01, 0.005, 0.01, weight_decay=0.1)
    hook = Hook(lambda place: tell(place.step), every_steps=1)
    job = Job(model, batches, next_token_loss, Optimizer(model, settings), Budget(steps=N_STEPS), hooks=(hook,))
    result = train(job, state_folder=run / "state", metrics=Lines(run / "metrics.jsonl"))
    assert result.outcome == "finished", result
    (run / "epochs.txt").write_text(f"{N_STEPS / batches.steps_per_epoch}")
    save_file({name: tensor.detach().clone() for name, tensor in model.named_parameters()}, run / "final.safetensors")


def tell(pipe: int, step: int) -> None:
    os.write(pipe, f"{step}\n".encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_saving(moment: str, number: int) -> None:
    """Arrange for this process to end inside its `number`-th save."""
    calls = 0
    rename, write = os.rename, training_state.save_tensors

    def rename_and_die(source, target):
        nonlocal calls
        calls += 1
        if calls == number and moment == "before":
            die()
        rename(source, target)
        if calls == number and moment == "after":
            die()

    def write_half_and_die(tensors, path):
        nonlocal calls
        calls += 1
        write(tensors, path)
        if calls == number:
            os.truncate(path, path.stat().st_size // 2)
            die()

    if moment == "writing":
        training_state.save_tensors = write_half_and_die
    else:
        files.os.rename = rename_and_die


def life(run: Path, data: Path, moment: str) -> int:
    """Fork a life that ends at `moment` ("" for its natural end); its wait status."""
    kind, _, rest = moment.partition(":")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            if kind not in ("", "step"):
                die_while_saving(kind, int(rest))
            live(run, data, lambda step: tell(writer, step))
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    if kind == "step":
        step, seconds = rest.split(":")
        told = b""
        while f"\n{step}\n".encode() not in b"\n" + told:
            assert select.select([reader], [], [], 60)[0], "no step was told for a minute"
            news = os.read(reader, 4096)
            assert news, "the life ended before its moment"
            told += news
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(reader)
    return status


def main(run: Path, data: Path, moments: list[str]) -> None:
    for moment in moments:
        status = life(run, data, moment)
        assert os.WIFSIGNALED(status), f"the run was to be killed at {moment} and ended with status {status}"
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert life(run, data, "") == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
