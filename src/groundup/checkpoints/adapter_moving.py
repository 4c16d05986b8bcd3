"""An adapter taken elsewhere: merged into a whole model, brought in from PEFT, handed on under a base's public name.

Each of the three is read back and compared on real prompts, and the difference is given, so that nobody has to hope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groundup.adapters.lora import adapters_off, remove_adapters
from groundup.adapters.merging import merge_adapter
from groundup.checkpoints.adapter_base import find_base
from groundup.checkpoints.adapter_folder import load_adapted, read_adapter, save_adapter
from groundup.checkpoints.importing import DTYPES
from groundup.checkpoints.model_folder import is_adapter_folder, load_model, open_source, resolve_model, save_model
from groundup.core.errors import GroundupError, unknown_name
from groundup.models import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer

PROMPTS = (
    "The capital of France is Paris, and the capital of Italy is",
    "Write a short answer: why is the sky blue during the day and red in the evening?",
    "def read_lines(path):\n    with open(path, encoding='utf-8') as file:\n        return",
    "Dear Sir or Madam, you have won a prize of £1,000! To claim it, call 0800 123 456 before Friday.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 狐狸跳过了懒狗。",
)


@dataclass(frozen=True)
class Comparison:
    """How two models differ on the prompts: of the logits, and of what comes next."""

    max_difference: float
    n_positions: int
    n_changed: int  # positions where another token is the likeliest
    moved: float  # the largest |difference| of logits that the adapter itself makes, to weigh the first number by


@dataclass(frozen=True)
class Merged:
    """A merged model: where it lies, how it is stored, and how it compares with base and adapter in fp32."""

    folder: Path
    dtype: str
    n_parameters: int
    comparison: Comparison


@dataclass(frozen=True)
class Moved:
    """An adapter written anew: where it lies, what it needs, and how it compares with what was read."""

    folder: Path
    base: str
    n_parameters: int
    n_bytes: int
    comparison: Comparison


def merge_to_folder(
    name: str | Path, out: str | Path, *, base: str | Path | None = None, dtype: str | None = None
) -> Merged:
    """Merge the adapter `name` (a run, or an adapter's folder) into its base, in fp32, and write the whole model to `out`.

    `base` says where the base lies now; `dtype` (fp32, bf16, fp16) is that of the stored weights, by default the base's.
    The folder is read back and compared with base and adapter. Raises GroundupError when the base is not found, or is
    another, or `out` holds something else.
    """
    if dtype is not None and dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    place = _adapter_place(name)
    model, tokenizer = load_adapted(place, base=base, dtype=torch.float32)
    ids = prompt_ids(model, tokenizer)
    expected, plain = _logits(model, ids), _base_logits(model, ids)
    stored = DTYPES[dtype] if dtype else _stored_dtype(find_base(read_adapter(place), base))
    remove_adapters(merge_adapter(model))
    save_model(out, model, tokenizer, dtype=stored)
    n_parameters = model.n_parameters()
    del model
    read_back, _ = load_model(out, dtype=torch.float32)
    comparison = _compare(_logits(read_back, ids), expected, plain)
    if not math.isfinite(comparison.max_difference):
        raise GroundupError(
            f"{out} holds weights too large for {dtype}, so its logits are not numbers; use bf16 or fp32"
        )
    return Merged(Path(out), next(short for short, long in DTYPES.items() if long == stored), n_parameters, comparison)


def import_adapter(
    folder: str | Path, out: str | Path, *, base: str | Path | None = None, base_name: str | None = None
) -> Moved:
    """Check the adapter in `folder` (PEFT's files, from anywhere) against its base, and write it to `out` with all it needs.

    `base` says where the base lies, `base_name` what PEFT is to look for. Raises GroundupError naming what does not fit.
    """
    place = _adapter_place(folder)
    if Path(out).resolve() == place.resolve():
        raise GroundupError(f"{out} is the adapter itself; choose another folder")
    found_base = find_base(read_adapter(place), base)
    model, tokenizer = load_adapted(place, base=found_base, dtype=torch.float32)
    ids = prompt_ids(model, tokenizer)
    save_adapter(out, model, tokenizer, base=found_base, base_name=base_name)
    expected, plain = _logits(model, ids), _base_logits(model, ids)
    del model
    written = read_adapter(out)
    again, _ = load_adapted(out, base=found_base, dtype=torch.float32)
    comparison = _compare(_logits(again, ids), expected, plain)
    return Moved(Path(out), str(written.settings.base), written.n_parameters, written.n_bytes, comparison)


def export_adapter(
    name: str | Path, out: str | Path, *, base: str | Path | None = None, base_name: str | None = None
) -> Moved:
    """Write a run's adapter as a folder to hand on, whose base PEFT looks for under `base_name` (as `org/model`).

    What lies there is PEFT's; see `import_adapter` for what is checked.
    """
    return import_adapter(name, out, base=base, base_name=base_name)


def prompt_ids(model: LanguageModel, tokenizer: Tokenizer) -> list[Tensor]:
    """The prompts as ids [1, T], as much of each as the model reads."""
    longest = model.config.max_length or 256
    ids = [tokenizer.encode(prompt)[:longest] for prompt in PROMPTS]
    return [torch.tensor([each]) for each in ids if each]


@torch.no_grad()
def _logits(model: LanguageModel, ids: list[Tensor]) -> list[Tensor]:
    return [model(each)[0].float() for each in ids]


def _base_logits(model: LanguageModel, ids: list[Tensor]) -> list[Tensor] | None:
    """The base's own; None where the adapter brought whole weights, and the base is no longer there."""
    try:
        with adapters_off(model):
            return _logits(model, ids)
    except GroundupError:
        return None


def _compare(found: list[Tensor], expected: list[Tensor], plain: list[Tensor] | None) -> Comparison:
    pairs = list(zip(found, expected, strict=True))
    return Comparison(
        max_difference=max(float((one - other).abs().max()) for one, other in pairs),
        n_positions=sum(len(one) for one, _ in pairs),
        n_changed=sum(int((one.argmax(-1) != other.argmax(-1)).sum()) for one, other in pairs),
        moved=max(float((a - b).abs().max()) for a, b in zip(plain, expected, strict=True)) if plain else math.nan,
    )


def _stored_dtype(base: Path) -> torch.dtype:
    """What a base's matrices are stored in; fp32 where that is something else than three the folder knows."""
    tensors = open_source(base).tensors
    stored = {tensors.dtype(name) for name in tensors.names if len(tensors.shape(name)) == 2}
    return stored.pop() if len(stored) == 1 and stored <= set(DTYPES.values()) else torch.float32


def _adapter_place(name: str | Path) -> Path:
    place = resolve_model(name)
    if not is_adapter_folder(place):
        raise GroundupError(f"{name} is a whole model; there is no adapter in {place}")
    return place
