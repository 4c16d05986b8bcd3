"""The settings that every method of fine-tuning has; a method adds its own.

Whatever is left out is derived once, from the model and the data; the run folder's `config.yaml` holds the resolved values, so
a resumed run derives nothing anew.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from groundup.core.config import Config, Count, Seconds

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FinetuneConfig(Config):
    """Settings of every `groundup finetune`; None means: derived."""

    method: str = Field(description="The module in groundup/finetuning that makes the job.")

    # --- the model
    model: str = Field(description="The model to start from: a run or model folder, a hub name, pypi:package, a GGUF.")
    lora: str | None = Field(
        default=None,
        description="Train a low-rank adapter and leave the model as it is: r=16, r=16,alpha=32,targets=attention ...",
        json_schema_extra={"metavar": "SETTINGS"},
    )

    base_precision: Literal["int8", "int4"] | None = Field(
        default=None, description="Keep the frozen matrices under an adapter in 8 or 4 bits (QLoRA), for memory."
    )

    # --- the data
    data: tuple[str, ...] = Field(default=(), description="Files and folders of examples.")
    validation_data: tuple[str, ...] = Field(
        default=(), description="Files of examples for validation; else a share of the data."
    )
    validation_fraction: Fraction | None = Field(default=None, description="Share of the data kept for validation.")
    format: str | None = Field(default=None, description="Shape of the rows (alpaca, sharegpt ...); else recognised.")
    map: dict[str, str] = Field(
        default_factory=dict, description="OURS=THEIRS: what the files call a field, as text=body."
    )
    encoding: str | None = Field(default=None, description="Encoding of the files; UTF-8 or detected if left out.")
    context_length: Count | None = Field(default=None, description="Tokens a row has room for.")

    # --- how long (one of these)
    epochs: Positive | None = Field(default=None, description="Passes over the examples.")
    steps: Count | None = Field(default=None, description="Optimizer steps.")
    time: Seconds | None = Field(default=None, description="Training time: 90s, 10m, 2h.")

    # --- one step
    batch_size: Count | None = Field(default=None, description="Rows in a step.")
    micro_batch_size: Count | None = Field(default=None, description="Rows computed at once; gradients accumulate.")
    learning_rate: Positive | None = Field(default=None, description="Peak learning rate.")
    weight_decay: NotNegative = Field(default=0.0, description="Decoupled weight decay, matrices only.")
    warmup: Fraction = Field(default=0.05, description="Share of the run spent warming the learning rate up.")
    decay: Fraction = Field(default=0.95, description="Share of the run, at its end, over which the rate falls.")
    gradient_clip: Positive = Field(default=1.0, description="Largest norm of the gradient.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of new weights, the split, the order of the rows and dropout."
    )

    # --- the machine
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="Arithmetic; auto times both.")
    compile: Literal["on", "off"] = Field(
        default="off", description="torch.compile; it takes about half a minute, so for long runs."
    )
    threads: Count | None = Field(default=None, description="CPU threads; all cores if left out.")

    # --- watching
    evaluations: Annotated[int, Field(ge=1)] = Field(default=5, description="Evaluations over the run.")
    save_every: Seconds = Field(default=60.0, description="Time between saves of the training state.")

    @pydantic.model_validator(mode="after")
    def _one_budget(self) -> FinetuneConfig:
        given = [name for name in ("epochs", "steps", "time") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given; how long to train is one of epochs, steps, time")
        if self.validation_data and self.validation_fraction is not None:
            raise ValueError("validation_fraction has no effect beside validation_data; leave one of the two out")
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} make more than the whole run; lower one")
        return self
