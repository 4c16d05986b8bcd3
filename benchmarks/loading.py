"""Opening a model beside transformers: seconds and peak memory, each in a process of its own, asked in turn.

    python benchmarks/loading.py [--rounds 5] [--threads 1]

A random Qwen3 of about 55M parameters (219 MB in fp32, 109 MB in bf16), in one file and in shards, from a warm file cache.
Seconds are those of the loading call and of a first pass over one token, because a mapped file is only read then.
Peak memory is that of the process (VmHWM) above what it was after the imports, as a multiple of the model's size.
"""

from __future__ import annotations

import argparse
import json
import pydoc_data.topics
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from groundup.checkpoints.model_folder import save_model
from groundup.models import architecture, build_model
from groundup.tokenization.training import train_tokenizer

LOAD = """
import json, sys, time, torch
who, folder, dtype = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
if who == "groundup":
    from groundup.checkpoints.model_folder import load_model
    from groundup.models import model_types
    model_types()
    load = lambda: load_model(folder, dtype=dtype)[0]
else:
    from transformers import AutoTokenizer, AutoModelForCausalLM, Qwen3ForCausalLM
    def load():
        AutoTokenizer.from_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

before = kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
start = time.perf_counter()
model = load()
with torch.inference_mode():
    model(torch.zeros(1, 1, dtype=torch.long))
seconds = time.perf_counter() - start
size = sum(parameter.nbytes for parameter in model.parameters())
print(json.dumps([seconds, (kilobytes("VmHWM") - before) * 1024 / size]))
"""
CASES = (
    ("fp32", "one", "float32"),
    ("fp32", "shards", "float32"),
    ("bf16", "one", "float32"),
    ("bf16", "one", "bfloat16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    sizes = {"d_model": 512, "n_layers": 12, "n_heads": 8, "n_kv_heads": 4, "d_head": 64, "d_ff": 1536}
    config = architecture("qwen3").Config(vocab_size=16384, context_length=64, tie_embeddings=False, **sizes)
    with tempfile.TemporaryDirectory() as place:
        texts = list(pydoc_data.topics.topics.values())[:10]
        model, tokenizer = build_model(config), train_tokenizer(texts, vocab_size=400)
        for stored, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            save_model(Path(place, f"{stored}-one"), model, tokenizer, dtype=dtype)
            save_model(Path(place, f"{stored}-shards"), model, tokenizer, dtype=dtype, shard_bytes=50_000_000)
        print(f"{'stored':8}{'files':8}{'asked for':10}{'groundup':>20}{'transformers':>20}{'times as fast':>15}")
        for stored, files, dtype in CASES:
            found: dict[str, list[list[float]]] = {"groundup": [], "transformers": []}
            for _ in range(options.rounds):
                for who, results in found.items():
                    command = [sys.executable, "-c", LOAD, who, str(Path(place, f"{stored}-{files}")), dtype]
                    done = subprocess.run([*command, str(options.threads)], capture_output=True, text=True, check=True)
                    results.append(json.loads(done.stdout.splitlines()[-1]))
            cells = []
            for results in found.values():
                seconds, peaks = zip(*results, strict=True)
                cells.append(f"{statistics.median(seconds):.2f} s, {statistics.median(peaks):.2f} x")
            faster = statistics.median(
                t[0] / o[0] for o, t in zip(found["groundup"], found["transformers"], strict=True)
            )
            print(f"{stored:8}{files:8}{dtype:10}{cells[0]:>20}{cells[1]:>20}{faster:>15.2f}")


if __name__ == "__main__":
    main()
