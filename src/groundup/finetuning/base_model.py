"""The model that is tuned: opened, made trainable in part or whole, written as what it is.

The one idea: what was tuned is what is written. A whole model becomes a model folder; an adapter becomes an adapter's folder
(PEFT's), and its base stays where it is. A run on an adapter's folder goes on with that adapter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from groundup.adapters.bases import adapter_cost, quantize_base
from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter, count_parameters
from groundup.checkpoints.adapter_base import find_base
from groundup.checkpoints.adapter_folder import read_adapter, save_adapter
from groundup.checkpoints.model_folder import (
    is_adapter_folder,
    load_model,
    open_source,
    resolve_model,
    save_model,
    verify_model,
)
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.core.files import sha256_of
from groundup.core.progress import Reporter
from groundup.finetuning.config import FinetuneConfig
from groundup.models.base import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer
from groundup.training.objectives import Objective, TrainedModel, TrainingBatch
from groundup.training.precision import choose_dtype

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Base:
    """The model as a method gets it: in fp32, what is trained requires gradients, all else is frozen."""

    model: LanguageModel
    tokenizer: Tokenizer
    place: Path  # what was opened
    adapter_base: Path | None  # where the base of the tuned adapter lies; None when the whole model is tuned
    adapter: AdapterConfig | None  # of an adapter that begins here
    sha256: str  # of the files that were opened
    base_precision: str | None = None  # int8 or int4, what the frozen matrices under an adapter are kept in

    @property
    def has_adapter(self) -> bool:
        return self.adapter_base is not None

    def with_template(self, source: str, stop_ids: Iterable[int]) -> Base:
        """The same with a chat template; what ends an answer then ends generation, here and in other tools."""
        config = self.model.config
        ends = tuple(dict.fromkeys((*config.eos_ids, *stop_ids)))
        self.model.config = config.model_copy(update={"eos_ids": ends})
        return replace(self, tokenizer=self.tokenizer.with_chat_template(source))

    def facts(self) -> dict[str, str]:
        """What the report says of the model."""
        trainable, total = count_parameters(self.model)
        facts = {
            "architecture": self.model.config.architecture,
            "started from": str(self.place),
            "parameters": f"{total:,}, of them trained {trainable:,} ({trainable / total:.2%})",
        }
        if self.adapter is not None:
            facts["adapter"] = self.adapter.describe()
        elif self.has_adapter:
            facts["adapter"] = f"goes on with that of {self.place}"
        if self.has_adapter:
            facts["memory"] = adapter_cost(self.model).line()
        return facts

    def save(self, folder: Path, card: str | None = None) -> None:
        """Write what was tuned: the model folder, or the adapter's."""
        if self.adapter_base is not None:
            save_adapter(folder, self.model, self.tokenizer, base=self.adapter_base, card=card)
        else:
            save_model(folder, self.model, self.tokenizer, card=card)

    def verify(self, folder: Path, tokens: Tensor) -> float:
        """Read the folder back and compare: the largest |difference| of logits in fp32 on `tokens` [B, T] or [T]."""
        return verify_model(folder, self.model, tokens, keep=self.keep_alike)

    def keep_alike(self, loaded: LanguageModel) -> None:
        """Keep the frozen weights of a model read back in fp32 as those of this one are kept, so that both compute the same."""
        if self.base_precision is not None:
            quantize_base(loaded, self.base_precision)
        frozen = (parameter for name, parameter in loaded.named_parameters() if ".adapters." not in name)
        keep_frozen_in(frozen, self.model.token_embedding.weight.dtype)


def open_base(config: FinetuneConfig, device: str = "cpu") -> Base:
    """Open `config.model`, with a new adapter when `config.lora` asks for one.

    Raises GroundupError when the model cannot be opened, or is an adapter that another should go upon.
    """
    place = resolve_model(config.model)
    on_adapter = is_adapter_folder(place)
    if on_adapter and config.lora is not None:
        raise GroundupError(
            f"{config.model} is an adapter, and --lora asks for another upon it; leave --lora out to go on with that adapter, "
            "or merge it first (groundup adapter merge)"
        )
    if config.base_precision and not on_adapter and config.lora is None:
        raise GroundupError(
            f"base_precision {config.base_precision} is for a base that stays as it is, and the whole model is trained; add "
            "--lora, or leave it out"
        )
    model, tokenizer = load_model(place, dtype=torch.float32, device=device)
    if config.base_precision:
        quantize_base(model, config.base_precision)
    adapter = None
    if on_adapter:
        adapter_base: Path | None = find_base(read_adapter(place))
        for parameter in adapter_parameters(model).values():
            parameter.requires_grad_(True)
    elif config.lora is not None:
        adapter_base, adapter = place, AdapterConfig.parse(config.lora)
        add_adapter(model, adapter, seed=config.seed)
    else:
        adapter_base = None
        model.requires_grad_(True)
    return Base(model, tokenizer, place, adapter_base, adapter, _hash_of(place), config.base_precision)


def settle_precision(
    config: FinetuneConfig,
    base: Base,
    objective: Objective,
    batch: TrainingBatch,
    reporter: Reporter,
    model: TrainedModel | None = None,
) -> str:
    """Set what the model computes in, as asked or by timing both; gives its name.

    `model` is what is trained where that is more than the base's model (a classifier upon it). Matrices frozen under an
    adapter are then kept in that precision too: nothing adds to them and nobody writes them, so they need no more.
    """
    model = model or base.model
    if config.precision == "auto":
        choice = choose_dtype(model, objective, batch)
        reporter.say(choice.reason)
        model.compute_dtype = choice.value
    else:
        model.compute_dtype = DTYPES[config.precision]
    if base.has_adapter:
        keep_frozen_in(model.parameters(), model.compute_dtype)
    return next(name for name, dtype in DTYPES.items() if dtype == model.compute_dtype)


def keep_frozen_in(parameters: Iterable[nn.Parameter], dtype: torch.dtype) -> None:
    """Keep the frozen matrices among some parameters in a dtype; vectors stay, they are small and norms want them exact."""
    for parameter in parameters:
        if not parameter.requires_grad and parameter.ndim >= 2:
            parameter.data = parameter.data.to(dtype)


def tokenizer_and_context(name: str) -> tuple[Tokenizer, int | None]:
    """The tokenizer of the model to tune and the positions it reads (None: any number); its weights are not read."""
    place = resolve_model(name)
    if not is_adapter_folder(place):
        source = open_source(place)
        return source.tokenizer, source.config.max_length
    source = open_source(find_base(read_adapter(place)))
    return open_tokenizer(place) if (place / "tokenizer.json").is_file() else source.tokenizer, source.config.max_length


def _hash_of(place: Path) -> str:
    """SHA-256 of the files that hold a model's numbers and settings."""
    files = [place] if place.is_file() else sorted(f for f in place.iterdir() if f.suffix in (".json", ".safetensors"))
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
