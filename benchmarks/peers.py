"""Groundup and its peers behind one face: a training step of a GPT-2 sized model, in a process of its own.

A *contender* is a package, a precision and how it runs: `nanogpt bf16 compiled`. Each lives in its own process (this
file, started with the peer's Python), builds its model with its own code, warms up, then waits to be asked for a
number of steps; so contenders can be timed in turn, A B C A B C, and a drift of the machine hits them all alike.

No peer's code is in this repository. Where they are is told by environment variables: GROUNDUP_PEER_NANOGPT and
GROUNDUP_PEER_NANOCHAT name checkouts, GROUNDUP_PEER_PYTHON a Python that has litgpt and transformers installed.

What each peer is given: its own model of the same depth, width, heads, context and vocabulary; PyTorch's fused AdamW
(nanochat: its own Muon and AdamW), gradient clipping at 1.0, bf16 by autocast (nanochat: its own casts). litgpt has no
learned positions and unties its head; nanochat's model has value embeddings besides.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "nanogpt": "GROUNDUP_PEER_NANOGPT",
    "nanochat": "GROUNDUP_PEER_NANOCHAT",
    "litgpt": "GROUNDUP_PEER_PYTHON",
    "transformers": "GROUNDUP_PEER_PYTHON",
}
LEARNING_RATE, BETAS, WEIGHT_DECAY = 3e-4, (0.9, 0.95), 0.1


@dataclass(frozen=True)
class Shape:
    """A model and a batch."""

    n_layers: int
    d_model: int
    n_heads: int
    context_length: int
    batch_size: int
    vocab_size: int

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.context_length

    @property
    def flops_per_token(self) -> int:
        """6 operations for each weight of the matrices and the head, and attention over the full square."""
        weights = 12 * self.n_layers * self.d_model**2 + self.vocab_size * self.d_model
        return 6 * weights + 12 * self.n_layers * self.d_model * self.context_length


@dataclass(frozen=True)
class Contender:
    """Whose model, in which arithmetic, compiled or not."""

    package: str
    bf16: bool
    compiled: bool

    @classmethod
    def parse(cls, text: str) -> Contender:
        """From words like "nanogpt bf16 compiled" or "groundup fp32 eager"."""
        package, precision, how = text.split()
        assert package in BUILDERS and precision in ("fp32", "bf16") and how in ("eager", "compiled"), text
        return cls(package, precision == "bf16", how == "compiled")

    def __str__(self) -> str:
        return f"{self.package} {'bf16' if self.bf16 else 'fp32'} {'compiled' if self.compiled else 'eager'}"

    @property
    def absent(self) -> str | None:
        """Why this contender cannot run here, or None."""
        variable = ENVIRONMENT.get(self.package)
        if variable and not os.environ.get(variable):
            return f"{variable} is not set"
        return None

    @property
    def python(self) -> str:
        theirs = ENVIRONMENT.get(self.package) == "GROUNDUP_PEER_PYTHON"
        return os.environ["GROUNDUP_PEER_PYTHON"] if theirs else sys.executable


class Worker:
    """A contender's process, seen from outside."""

    def __init__(self, contender: Contender, shape: Shape, threads: int) -> None:
        """Start it, build and warm up; raises RuntimeError when it dies."""
        self.contender = contender
        task = json.dumps({"contender": str(contender), "shape": asdict(shape), "threads": threads})
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
        if contender.package == "nanochat":
            environment["NANOCHAT_DTYPE"] = "bfloat16" if contender.bf16 else "float32"
        log = open(os.environ.get("GROUNDUP_BENCHMARK_LOG", os.devnull), "a")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [contender.python, __file__, task],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
        self.ready = self._answer()

    def steps(self, n: int) -> dict[str, Any]:
        """Take n steps: {"seconds", "loss", "peak_bytes"}."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{n}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.contender} ended with code {self._process.wait()}; see GROUNDUP_BENCHMARK_LOG")
        return json.loads(line)


# --- inside the worker: every builder gives a function that takes one step and returns the loss

Step = Callable[[], float]


def _plain_step(shape: Shape, bf16: bool, loss_of: Callable[..., Any], parameters: list[Any], optimizer: Any) -> Step:
    """The step every training script writes: draw, forward, backward, clip, update."""
    import torch

    def step() -> float:
        inputs, labels = _draw(shape)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(inputs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def _draw(shape: Shape) -> tuple[Any, Any]:
    import torch

    rows = torch.randint(shape.vocab_size, (shape.batch_size, shape.context_length + 1))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def _adamw(parameters: list[Any]) -> Any:
    import torch

    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=True)


def _groundup(shape: Shape, contender: Contender) -> Step:
    import torch

    from groundup.data.batches import Batch
    from groundup.models import architecture, build_model
    from groundup.training.job import Budget, Job
    from groundup.training.memory import keep_freed_memory
    from groundup.training.objectives import next_token_loss
    from groundup.training.optimizers import Optimizer, OptimizerSettings
    from groundup.training.precision import compiled
    from groundup.training.step import take_step

    keep_freed_memory()  # the loop's first act
    config = architecture("gpt2").Config(
        vocab_size=shape.vocab_size, context_length=shape.context_length, d_model=shape.d_model,
        n_layers=shape.n_layers, n_heads=shape.n_heads, n_kv_heads=shape.n_heads,
        d_head=shape.d_model // shape.n_heads, d_ff=4 * shape.d_model,
    )  # fmt: skip
    model = build_model(config, seed=0)
    model.compute_dtype = torch.bfloat16 if contender.bf16 else torch.float32
    settings = OptimizerSettings(
        matrix_learning_rate=LEARNING_RATE, embedding_learning_rate=LEARNING_RATE, head_learning_rate=LEARNING_RATE,
        vector_learning_rate=LEARNING_RATE, matrices="adamw", weight_decay=WEIGHT_DECAY, betas=BETAS,
    )  # fmt: skip
    objective = compiled(model, next_token_loss, Batch(*_draw(shape))) if contender.compiled else next_token_loss
    job = Job(model, lambda _: [Batch(*_draw(shape))], objective, Optimizer(model, settings), Budget(steps=1))
    return lambda: take_step(job, 0, 1.0).loss


def _nanogpt(shape: Shape, contender: Contender) -> Step:
    sys.path.insert(0, os.environ["GROUNDUP_PEER_NANOGPT"])
    import model as nanogpt  # pyright: ignore[reportMissingImports]
    import torch

    config = nanogpt.GPTConfig(
        block_size=shape.context_length, vocab_size=shape.vocab_size, n_layer=shape.n_layers, n_head=shape.n_heads,
        n_embd=shape.d_model, dropout=0.0, bias=True,
    )  # fmt: skip
    net = nanogpt.GPT(config)
    run = torch.compile(net) if contender.compiled else net
    parameters = list(net.parameters())
    return _plain_step(shape, contender.bf16, lambda x, y: run(x, y)[1], parameters, _adamw(parameters))


def _litgpt(shape: Shape, contender: Contender) -> Step:
    import litgpt.model  # pyright: ignore[reportMissingImports]
    import torch
    import torch.nn.functional as F
    from litgpt.config import Config  # pyright: ignore[reportMissingImports]

    config = Config(
        name="benchmark", block_size=shape.context_length, padded_vocab_size=shape.vocab_size, n_layer=shape.n_layers,
        n_head=shape.n_heads, n_embd=shape.d_model, bias=True, norm_class_name="LayerNorm", parallel_residual=False,
        mlp_class_name="GptNeoxMLP", intermediate_size=4 * shape.d_model, rotary_percentage=0.0,
    )  # fmt: skip
    net = litgpt.model.GPT(config)
    run = torch.compile(net) if contender.compiled else net
    parameters = list(net.parameters())

    def loss_of(inputs: Any, labels: Any) -> Any:
        return F.cross_entropy(run(inputs).flatten(0, 1), labels.flatten())

    return _plain_step(shape, contender.bf16, loss_of, parameters, _adamw(parameters))


def _transformers(shape: Shape, contender: Contender) -> Step:
    import torch
    import torch.nn.functional as F
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.vocab_size, n_positions=shape.context_length, n_embd=shape.d_model, n_layer=shape.n_layers,
        n_head=shape.n_heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
    )  # fmt: skip
    net = GPT2LMHeadModel(config).train()
    run = torch.compile(net) if contender.compiled else net
    parameters = list(net.parameters())

    def loss_of(inputs: Any, labels: Any) -> Any:
        return F.cross_entropy(run(input_ids=inputs).logits.flatten(0, 1).float(), labels.flatten())

    return _plain_step(shape, contender.bf16, loss_of, parameters, _adamw(parameters))


def _nanochat(shape: Shape, contender: Contender) -> Step:
    import torch

    net, optimizer = nanochat_model(
        shape.n_layers, shape.d_model, shape.n_heads, shape.context_length, shape.vocab_size
    )
    run = torch.compile(net, dynamic=False) if contender.compiled else net
    return _plain_step(shape, False, run, list(net.parameters()), optimizer)


def nanochat_model(n_layers: int, d_model: int, n_heads: int, context_length: int, vocab_size: int) -> tuple[Any, Any]:
    """nanochat's model and optimizer at its default learning rates; its dtype is NANOCHAT_DTYPE's."""
    sys.path.insert(0, os.environ["GROUNDUP_PEER_NANOCHAT"])
    from nanochat.gpt import GPT, GPTConfig  # pyright: ignore[reportMissingImports]

    config = GPTConfig(
        sequence_len=context_length, vocab_size=vocab_size, n_layer=n_layers, n_head=n_heads, n_kv_head=n_heads,
        n_embd=d_model, window_pattern="L",
    )  # fmt: skip
    net = GPT(config)
    net.init_weights()
    return net, net.setup_optimizer()


BUILDERS = {
    "groundup": _groundup,
    "nanogpt": _nanogpt,
    "nanochat": _nanochat,
    "litgpt": _litgpt,
    "transformers": _transformers,
}


def _serve(task: dict[str, Any]) -> None:
    """Build, take two steps (the first compiles), then answer every number read with that many timed steps."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # libraries print; answers must stand alone
        import torch

        torch.set_num_threads(task["threads"])
        torch.manual_seed(0)
        contender, shape = Contender.parse(task["contender"]), Shape(**task["shape"])
        start = time.perf_counter()
        step = BUILDERS[contender.package](shape, contender)
        step()
        setup_seconds = time.perf_counter() - start
        start = time.perf_counter()
        step()
        ready = {"setup_seconds": setup_seconds, "step_seconds": time.perf_counter() - start}
        print(json.dumps(ready), file=answers, flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            losses = [step() for _ in range(int(line))]
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"seconds": seconds, "loss": losses[-1], "peak_bytes": peak}), file=answers, flush=True)


if __name__ == "__main__":
    # The folder of this file must not shadow anything a peer imports.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent.resolve()]
    _serve(json.loads(sys.argv[1]))
