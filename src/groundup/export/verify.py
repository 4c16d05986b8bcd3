"""The proof that another tool sees the same model: open the folder with `transformers` and compare numbers.

One idea: ids, logits and greedy text are all compared, in float32, with nothing of ours on the other side. A folder
that passes is one that people can hand on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from groundup.checkpoints.model_folder import load_model, read_config
from groundup.core.errors import GroundupError, missing_extra
from groundup.generation.engine import generate_ids, inference
from groundup.generation.sampling import SamplingSettings
from groundup.models import known_elsewhere

TOLERANCE = 1e-4  # greatest difference of two float32 logits that rounding explains
CONTINUATION_TOKENS = 16

# Plain, spaced, cased, accented, other scripts, joined emoji, digits, code.
TEXTS = (
    "The statement is executed, and the name is bound to the value it returns.",
    "  two spaces,\ttabs\n\nand an empty line;  trailing spaces  ",
    "Crème brûlée, naïve café, Ærøskøbing, Żółć, straße",
    "日本語の文章と、中文的句子。 Привет, мир! שלום עולם مرحبا",
    "👩‍👩‍👧‍👦 3.14159 1,000,000 x**2 + y_1 != {'key': [0, 1]}",
)


@dataclass(frozen=True)
class Verification:
    """What was compared and how close it was; existing means it passed."""

    max_logit_difference: float
    ids_equal: bool
    n_positions: int  # positions whose logits were compared
    n_continued: int  # greedy tokens found equal
    transformers_version: str


def verify_with_transformers(folder: str | Path, texts: Sequence[str] = TEXTS) -> Verification:
    """Open a model folder here and with `transformers`, both in float32 on the CPU, and compare them on `texts`.

    Compared: token ids, the logits at every position (up to the context), and 16 greedy tokens after each text. Raises
    `GroundupError` that says what differs, by how much and where, and for a model that transformers has no class for.
    Nothing is downloaded.
    """
    folder = Path(folder)
    if folder.is_file():
        raise GroundupError(
            f"{folder} is a file, and transformers opens folders; make one of it with groundup import {folder} --out FOLDER"
        )
    name = read_config(folder).architecture
    if not known_elsewhere(name):
        raise GroundupError(
            f"{folder} is a model of architecture {name}, which transformers does not have, so there is nothing to "
            f"compare with; it can be generated from, scored, inspected and trained on with groundup (groundup "
            f"generate {folder})"
        )
    try:
        import transformers
    except ImportError:
        raise missing_extra("transformers", "verify", "comparing a model folder with transformers") from None
    model, tokenizer = load_model(folder, dtype=torch.float32)
    their_model, their_tokenizer = _open_there(transformers, folder)

    greatest, n_positions, n_continued = 0.0, 0, 0
    for text in texts:
        ids = tokenizer.encode(text)
        their_ids = their_tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids != their_ids:
            at = next((i for i, (a, b) in enumerate(zip(ids, their_ids, strict=False)) if a != b), -1)
            raise GroundupError(
                f"{folder}: transformers reads other tokens in {text!r}: from token {at} on {their_ids[at : at + 4]}, "
                f"here {ids[at : at + 4]}"
            )
        ids = ids[: model.config.context_length]
        difference = _logit_difference(model, their_model, ids)
        if not difference <= TOLERANCE:  # so written, NaN fails too
            raise GroundupError(
                f"{folder}: the logits transformers {transformers.__version__} computes for {text!r} differ by up to "
                f"{difference:.2e}; {TOLERANCE:.0e} is the most that rounding explains"
            )
        greatest, n_positions = max(greatest, difference), n_positions + len(ids)
        n_continued += _compare_greedy(folder, model, their_model, ids)
    return Verification(greatest, True, n_positions, n_continued, transformers.__version__)


def _open_there(transformers: Any, folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer as `transformers` reads them, without its own progress bars."""
    logging = transformers.utils.logging
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        return model.eval(), transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise GroundupError(f"transformers {transformers.__version__} cannot open {folder}: {error}") from error
    finally:
        if bars:
            logging.enable_progress_bar()


@torch.inference_mode()
def _logit_difference(model: Any, their_model: Any, ids: list[int]) -> float:
    with inference(model):
        return float((model(torch.tensor([ids])) - their_model(torch.tensor([ids])).logits).abs().max())


def _compare_greedy(folder: Path, model: Any, their_model: Any, ids: list[int]) -> int:
    """Continue greedily on both sides; returns how many tokens were equal, raises when they part for no good reason."""
    n_new = min(CONTINUATION_TOKENS, model.config.context_length - 1)
    prompt = ids[: model.config.context_length - n_new]
    [ours] = generate_ids(model, [prompt], SamplingSettings(temperature=0, max_new_tokens=n_new))
    plain = type(their_model.generation_config)(max_new_tokens=n_new, do_sample=False, pad_token_id=0)
    their_model.generation_config.eos_token_id = None  # else it would end where a random model happens to say so
    inputs = torch.tensor([prompt])
    output = their_model.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=plain)
    theirs = output[0, len(prompt) :].tolist()
    for place, (our_token, their_token) in enumerate(zip(ours, theirs, strict=True)):
        if our_token != their_token:
            with torch.inference_mode():
                logits_V = their_model(torch.tensor([prompt + ours[:place]])).logits[0, -1]
            gap = float(logits_V[their_token] - logits_V[our_token])
            if abs(gap) > TOLERANCE:
                raise GroundupError(
                    f"{folder}: greedy text parts from transformers' after {place} tokens: {their_token} there, "
                    f"{our_token} here, whose logit is {gap:.2e} smaller"
                )
            return place  # a tie that rounding decides; what follows differs by right
    return len(ours)
