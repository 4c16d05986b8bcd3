"""Decoding speed beside transformers: the same random 124M GPT-2, greedy, asked in turn.

    python benchmarks/generation.py [--dtype fp32|bf16|int8] [--batch 1] [--threads 2] [--rounds 5]
    python benchmarks/generation.py --prompt 512 --new 1      # how fast a prompt is read (prefill)

Prints the median tokens/s of each and the median of the ratios within a round, which the drift of the machine does
not touch. With int8 the weights here are in 8 bits and those of transformers in bf16. A round writes 48 tokens after a prompt
of 16; reading the prompt is in the time of both. With `--new 1` the tokens counted are those of the prompt.

Each token written at batch 1 reads every weight once, so memory sets a limit: printed is the share of it, bytes of the weights
x tokens/s over the bandwidth. That is measured here, before and after the rounds: the best of ten passes of `torch.sum`
over 512 MB of fp32, far more than any cache, with the same threads.
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import statistics
import tempfile
import time
from pathlib import Path

import torch
import transformers

from groundup.checkpoints.model_folder import load_model, save_model
from groundup.generation.engine import generate_ids
from groundup.generation.sampling import SamplingSettings
from groundup.models import build_model, config_for_size
from groundup.models.packing import pack
from groundup.models.quantize import quantize_int8
from groundup.tokenization.training import train_tokenizer

N_PROMPT, N_NEW = 16, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=["fp32", "bf16", "int8"], default="fp32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=N_PROMPT, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=N_NEW, help="tokens written; 1 times the reading of the prompt")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = torch.float32 if options.dtype == "fp32" else torch.bfloat16

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "model")
        tokenizer = train_tokenizer(list(pydoc_data.topics.topics.values())[:10], vocab_size=400)
        save_model(folder, build_model(config_for_size("d12", 50257, 1024, "gpt2")), tokenizer)
        ours, _ = load_model(folder, dtype=dtype)
        # All but the positions, of which a token takes one row; the table of tokens is there once and is read as the head.
        n_read = ours.n_parameters() - ours.config.context_length * ours.config.d_model
        if options.dtype == "int8":
            quantize_int8(ours)
        else:
            pack(ours)  # as `groundup generate` does
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    prompts = torch.randint(50257, (options.batch, options.prompt), generator=torch.Generator().manual_seed(0))
    settings = SamplingSettings(temperature=0, max_new_tokens=options.new)
    plain = transformers.GenerationConfig(max_new_tokens=options.new, do_sample=False, pad_token_id=0)

    def write_ours() -> list[list[int]]:
        return generate_ids(ours, prompts.tolist(), settings)

    def write_theirs() -> list[list[int]]:
        mask = torch.ones_like(prompts)
        return theirs.generate(prompts, attention_mask=mask, generation_config=plain)[:, options.prompt :].tolist()

    bandwidth = bytes_per_second()
    equal = write_ours() == write_theirs()  # also warms both up
    seconds: dict[str, list[float]] = {"groundup": [], "transformers": []}
    for _ in range(options.rounds):
        for name, write in (("groundup", write_ours), ("transformers", write_theirs)):
            start = time.perf_counter()
            write()
            seconds[name].append(time.perf_counter() - start)
    bandwidth = max(bandwidth, bytes_per_second())
    n_tokens = options.batch * (options.prompt if options.new == 1 else options.new)
    print(f"gpt2 124M, {options.dtype}, batch {options.batch}, {options.threads} threads, same text: {equal}")
    print(f"prompt of {options.prompt} tokens, {options.new} written; memory is read at {bandwidth / 1e9:.1f} GB/s")
    for name, times in seconds.items():
        speed, share = n_tokens / statistics.median(times), ""
        if options.batch == 1 and options.new > 1:
            n_bytes = n_read * (1 if options.dtype == "int8" and name == "groundup" else dtype.itemsize)
            share = (
                f", {n_bytes / 1e6:.0f} MB of weights, {speed * n_bytes / bandwidth:.0%} of what the bandwidth allows"
            )
        print(f"{name:13} {speed:8.1f} tokens/s{share}")
    ratios = [b / a for a, b in zip(seconds["groundup"], seconds["transformers"], strict=True)]
    print(f"groundup / transformers {statistics.median(ratios):.2f} (rounds {min(ratios):.2f} to {max(ratios):.2f})")


def bytes_per_second() -> float:
    """How fast memory is read: the best of ten sums over 512 MB."""
    numbers = torch.ones(1 << 27)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        numbers.sum()
        best = min(best, time.perf_counter() - start)
    return numbers.nbytes / best


if __name__ == "__main__":
    main()
