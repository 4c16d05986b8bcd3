"""LoRA side by side with peft and litgpt: tokens a second and peak memory of the same job, each side in its own process.

    python benchmarks/lora.py                                # ours, eager and compiled, and peft in this Python
    python benchmarks/lora.py --peer-python /path/bin/python   # the Python that has litgpt
    python benchmarks/lora.py --sides ours --base-precision int8

The job is one: GPT-2 of 124M parameters (random weights: they cost what trained ones cost), frozen in bf16, rank 8 and
alpha 16 on queries, keys and values, batches of 4 x 256 random tokens, AdamW on the adapter (fp32 here; in the peers as
their recipes have it). peft runs as its users run it, `AutoModelForCausalLM` in bf16 with labels, plain torch loop;
litgpt its own model with its own LoRA and chunked loss, in `bf16-true`, as `litgpt finetune_lora` has it.
A round is a few steps of every side in turn (A B C A B C ...), while the others sleep; a speed is the median of rounds,
a ratio the median of the ratios within a round. Memory is the process's peak (VmHWM) over its whole life.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

BATCH, CONTEXT, RANK, ALPHA, VOCABULARY = 4, 256, 8, 16, 50257
LEARNING_RATE = 3e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", default="ours,ours-compiled,peft,litgpt", help="comma-separated")
    parser.add_argument("--base-precision", choices=("fp32", "bf16", "int8", "int4"), default="bf16", help="of ours")
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable), help="the Python litgpt runs in")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="steps a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments)
        return
    sides = {}
    for side in arguments.sides.split(","):
        python = arguments.peer_python if side == "litgpt" else sys.executable
        command = [str(python), __file__, "--side", side, "--threads", str(arguments.threads)]
        command += ["--base-precision", arguments.base_precision, "--steps", str(arguments.steps)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        sides[side] = process
        begun = time.perf_counter()
        first = ask(process, "ready")  # one at a time, so that nobody compiles into another's figures
        setup = time.perf_counter() - begun
        print(f"{side}: {first['versions']}; {first['trainable']:,} trained; set up in {setup:.0f} s", flush=True)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(arguments.rounds):
        for side, process in sides.items():
            seconds[side].append(ask(process, "go")["seconds"])
    memory = {side: ask(process, "end")["peak_bytes"] for side, process in sides.items()}
    tokens = BATCH * CONTEXT * arguments.steps
    reference = next(iter(sides))
    print(f"\n| side | tokens/s (range) | times as fast as {reference} (range) | peak memory |\n|---|---:|---:|---:|")
    for side, times in seconds.items():
        ratios = [mine / his for mine, his in zip(seconds[reference], times, strict=True)]
        print(
            f"| {side} | {tokens / statistics.median(times):,.0f} ({tokens / max(times):,.0f}-{tokens / min(times):,.0f}) "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {memory[side] / 1e9:.2f} GB |"
        )


def ask(process: subprocess.Popen, word: str) -> dict:
    """One answer of a side's process; it says things of its own too, which are not ours to read."""
    assert process.stdin is not None and process.stdout is not None
    print(word, file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("ANSWER "):
            return json.loads(line.removeprefix("ANSWER "))
    raise SystemExit("a side ended early; run it alone with --sides to see why")


def serve(arguments: argparse.Namespace) -> None:
    """Be one side: answer each line of the standard input."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    kinds = {"ours": ours, "ours-compiled": ours, "peft": peft, "litgpt": litgpt}
    step = None
    for line in sys.stdin:
        word, answer = line.strip(), {}
        if word == "ready":
            step, trainable, versions = kinds[arguments.side](arguments)
            for _ in range(2):
                step()
            answer = {"trainable": trainable, "versions": f"torch {torch.__version__}, {versions}"}
        elif word == "go":
            assert step is not None
            start = time.perf_counter()
            for _ in range(arguments.steps):
                step()
            answer = {"seconds": time.perf_counter() - start}
        elif word == "end":
            answer = {"peak_bytes": peak_bytes()}
        print("ANSWER " + json.dumps(answer), flush=True)
        if word == "end":
            return


def peak_bytes() -> int:
    """The most memory this process ever held (Linux)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def ours(arguments: argparse.Namespace) -> tuple[Callable[[], object], int, str]:
    import torch

    from groundup.adapters.bases import keep_base_in
    from groundup.adapters.config import AdapterConfig
    from groundup.adapters.lora import adapter_parameters, add_adapter
    from groundup.data.batches import Batch
    from groundup.models import architecture, build_model
    from groundup.training.memory import keep_freed_memory
    from groundup.training.objectives import next_token_loss
    from groundup.training.precision import compiled

    keep_freed_memory()
    config = architecture("gpt2").Config(
        vocab_size=VOCABULARY,
        context_length=1024,
        d_model=768,
        n_layers=12,
        n_heads=12,
        n_kv_heads=12,
        d_head=64,
        d_ff=3072,
    )
    model = keep_base_in(build_model(config, seed=0), arguments.base_precision)
    add_adapter(model, AdapterConfig(rank=RANK, alpha=ALPHA, targets=("query_key_value",))).train()
    own = list(adapter_parameters(model).values())
    optimizer = torch.optim.AdamW(own, lr=LEARNING_RATE, fused=True)
    inputs, labels = batch()
    given = Batch(inputs, labels)
    objective = next_token_loss
    if arguments.side == "ours-compiled":
        objective = compiled(model, objective, given)

    def step() -> float:
        (objective(model, given) / given.n_targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        return 0.0

    return step, sum(parameter.numel() for parameter in own), f"groundup, base in {arguments.base_precision}"


def peft(arguments: argparse.Namespace) -> tuple[Callable[[], object], int, str]:
    import peft as library
    import torch
    import transformers

    config = transformers.GPT2Config(vocab_size=VOCABULARY, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    settings = library.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["c_attn"], fan_in_fan_out=True)
    model = library.get_peft_model(model, settings).train()
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=LEARNING_RATE)
    inputs, labels = batch()

    def step() -> float:
        # Labels are shifted inside: this job's are given as they are, which costs the same.
        model(input_ids=inputs, labels=labels, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return 0.0

    versions = f"peft {library.__version__}, transformers {transformers.__version__}"
    return step, sum(parameter.numel() for parameter in own), versions


def litgpt(arguments: argparse.Namespace) -> tuple[Callable[[], object], int, str]:
    from importlib.metadata import version

    import torch
    from litgpt.lora import GPT, Config, mark_only_lora_as_trainable
    from litgpt.utils import chunked_cross_entropy

    # GPT-2's shape in its terms; it has no learned positions, so rotary ones stand in.
    config = Config(
        block_size=1024, vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY, n_layer=12, n_head=12, n_embd=768,
        bias=True, norm_class_name="LayerNorm", mlp_class_name="GptNeoxMLP", gelu_approximate="tanh", intermediate_size=3072,
        parallel_residual=False, rotary_percentage=1.0, lm_head_bias=False,
        lora_r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, lora_query=True, lora_key=True, lora_value=True,
    )  # fmt: skip
    model = GPT(config)
    mark_only_lora_as_trainable(model)
    model = model.to(torch.bfloat16).train()
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=LEARNING_RATE)
    inputs, labels = batch()

    def step() -> float:
        logits = model(inputs, lm_head_chunk_size=128)
        chunked_cross_entropy(logits, labels, chunk_size=128).backward()
        optimizer.step()
        optimizer.zero_grad()
        return 0.0

    return step, sum(parameter.numel() for parameter in own), f"litgpt {version('litgpt')}"


def batch():
    """Inputs and labels [B, T], the same on every side."""
    import torch

    ids = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


if __name__ == "__main__":
    main()
