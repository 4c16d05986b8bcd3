"""The proof that llama.cpp sees the same model: run the file there, and compare ids, greedy text and log-probabilities.

llama.cpp runs in a process of its own (llama_cpp_process.py): what stops it cannot stop us, and its messages stay
apart. It gives no raw logits but the logarithms of the likeliest tokens' probabilities, which are the logits less one number a
position; so those are compared, over a prompt's last position and the greedy tokens after it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from groundup.checkpoints.sources import ModelSource, build_from
from groundup.core.errors import GroundupError, missing_extra
from groundup.core.progress import QUIET, Reporter
from groundup.export.verify import TEXTS
from groundup.generation.engine import inference
from groundup.models import LanguageModel
from groundup.tokenization.imports.files import HARD_TEXTS

N_NEW, N_TOP = 8, 50
# The mean difference of log-probabilities that is not the file's fault; one of them may have ten times as much. In float32 it is
# llama.cpp's table of GELU in 16 bits; in f16 and bf16 the weights' rounding; in q8_0 the rounding of weights, and of what they
# are multiplied with, to 8 bits. A tensor in the wrong place gives more than 1.
TOLERANCE = {"f32": 0.005, "f16": 0.03, "bf16": 0.1, "q8_0": 0.3}
_GREATEST = 10
_LONGEST_CONTEXT = 256
_LONGEST_SECONDS = 1800


@dataclass(frozen=True)
class Comparison:
    """What was compared with llama.cpp; existing means it passed."""

    version: str
    n_texts: int  # whose ids are equal
    n_normalized: int  # of these, texts that llama.cpp reads so only when they are composed (NFC) first
    n_positions: int  # whose greedy token is equal (or a tie within the difference)
    max_difference: float  # of log-probabilities of the likeliest tokens, natural logarithms
    mean_difference: float


def compare_with_llama_cpp(
    path: str | Path, source: ModelSource, type: str, context_length: int, reporter: Reporter = QUIET
) -> Comparison:
    """Run a GGUF file in llama.cpp and compare it with the model it was made from, which computes in float32 here.

    `type` says how much difference is the type's own, `context_length` how many tokens the file is for. Raises
    GroundupError that says what differs and by how much.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise missing_extra("xllamacpp", "gguf", "comparing the file with llama.cpp (--no-verify leaves it out)")
    reporter.say("compared    with llama.cpp, which runs the file now")
    tokenizer = source.tokenizer
    names = [tokenizer.token_of(id) for id in sorted(tokenizer.special_ids)[:3]]
    texts = [text for text in (*TEXTS, *HARD_TEXTS, *(f"a {name} b" for name in names)) if text]
    longest = min(context_length, _LONGEST_CONTEXT)
    n_new = min(N_NEW, longest // 2)
    prompts = [tokenizer.encode(text)[: longest - n_new] for text in TEXTS]
    composed = [unicodedata.normalize("NFC", text) for text in texts]
    request = {
        "file": str(Path(path).resolve()),
        "context_length": longest,
        "texts": texts + composed,
        "prompts": prompts,
        "n_threads": torch.get_num_threads(),
        "n_new": n_new,
        "n_top": min(N_TOP, source.config.vocab_size),
    }
    answer = _ask(request)
    n_normalized = _compare_ids(path, source, texts, composed, answer["ids"])
    model = build_from(source, torch.float32, "cpu")
    differences: list[float] = []
    for prompt, positions in zip(request["prompts"], answer["positions"], strict=True):
        differences += _differences(path, model, prompt, positions, _GREATEST * TOLERANCE[type])
    greatest, mean = max(differences, default=0.0), sum(differences) / max(1, len(differences))
    if not (greatest <= _GREATEST * TOLERANCE[type] and mean <= TOLERANCE[type]):  # so written, NaN fails too
        raise GroundupError(
            f"{path}: log-probabilities in llama.cpp differ by {mean:.2g} in the mean and up to {greatest:.2g}; for type {type} "
            f"{TOLERANCE[type]:g} and {_GREATEST * TOLERANCE[type]:g} is the most that rounding explains. Do not use the file, "
            "and report this model"
        )
    return Comparison(
        answer["version"],
        len(texts),
        n_normalized,
        sum(map(len, answer["positions"])),
        greatest,
        mean,
    )


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    """The answers of a process that runs the file in llama.cpp."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered, log = (Path(folder) / name for name in ("asked.json", "answered.json", "log.txt"))
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "groundup.export.llama_cpp_process", str(asked), str(answered)]
        root = str(Path(__file__).resolve().parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        with log.open("wb") as output:
            try:
                code = subprocess.run(
                    command, stdout=output, stderr=output, env=environment, timeout=_LONGEST_SECONDS, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
        if not answered.is_file():
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            told = [line for line in lines if "error" in line.lower()] or lines[-3:] or ["it said nothing"]
            raise GroundupError(
                f"{request['file']}: llama.cpp could not run the file (exit code {code}): {' / '.join(told[:3])[:600]}"
            )
        return json.loads(answered.read_text(encoding="utf-8"))


def _compare_ids(
    path: str | Path, source: ModelSource, texts: list[str], composed: list[str], theirs: list[list[int]]
) -> int:
    """How many texts are read alike only when composed first; raises when a text is read otherwise."""
    n_normalized = 0
    for place, (text, same_text) in enumerate(zip(texts, composed, strict=True)):
        ours, found = source.tokenizer.encode(text), theirs[place]
        if ours != found and text != same_text and ours == theirs[len(texts) + place]:
            n_normalized += 1
        elif ours != found:
            raise GroundupError(
                f"{path}: llama.cpp reads other tokens in {text[:60]!a}: {found[:12]} there, {ours[:12]} here. Do not use the "
                "file; the tokenizer has no exact counterpart there"
            )
    return n_normalized


def _differences(
    path: str | Path, model: LanguageModel, prompt: list[int], positions: list[dict[str, Any]], tolerance: float
) -> list[float]:
    """|difference| of the log-probabilities of the likeliest tokens at each position; raises when greedy tokens part."""
    written = [position["id"] for position in positions]
    ids = torch.tensor([prompt + written[:-1]])
    with torch.inference_mode(), inference(model):
        logs_PV = model(ids)[0, len(prompt) - 1 :].float().log_softmax(-1)
    differences = []
    for place, (position, logs_V) in enumerate(zip(positions, logs_PV, strict=True)):
        ours = int(logs_V.argmax())
        gap = float(logs_V[ours] - logs_V[position["id"]])
        if gap > tolerance:
            raise GroundupError(
                f"{path}: greedy text in llama.cpp parts after {place} tokens: {position['id']} there, {ours} here, whose "
                f"log-probability is {gap:.2g} greater. Do not use the file, and report this model"
            )
        top = {int(id): float(log) for id, log in position["top"]}
        differences += [abs(float(logs_V[id]) - log) for id, log in top.items() if log > -20]
    return differences
