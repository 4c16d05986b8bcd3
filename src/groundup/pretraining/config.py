"""The settings of a pretraining run: one flat, frozen tree that is the YAML file, the flags and the Python arguments.

Whatever is left out is derived, by the planner from the time, the machine and the text, or by the size dial; the
run folder's `config.yaml` holds the resolved values, so a resumed or repeated run derives nothing anew.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from groundup.core.config import Config, Count, Seconds
from groundup.data.mixture import Mix, check_mix
from groundup.data.packing import Packing
from groundup.data.verification import ChangedSources

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# What makes one model of one architecture, or several texts: a comparison of architectures decides these itself.
OF_ONE_MODEL = ("architecture", "n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "dropout", "mix", "mix_alpha")


class PretrainConfig(Config):
    """Settings of `groundup pretrain`; None means: derived."""

    # --- the text
    data: tuple[str, ...] = Field(default=(), description="A prepared data folder, or text files and folders.")
    mix: Mix = Field(
        default=(),
        description="A source of a mixture of prepared data, its share of the rows after the colon; give one for each.",
        json_schema_extra={"metavar": "NAME=FOLDER:WEIGHT"},
    )
    mix_alpha: Fraction | None = Field(
        default=None,
        description="Shares of a mixture without weights: sizes to this power (1: as large as they are, 0: all alike); 1 "
        "if left out.",
    )
    text_field: str | None = Field(default=None, description="Column or JSON key that holds the text.")
    separator: str | None = Field(default=None, description="Text that separates documents inside a text file.")
    format: str | None = Field(
        default=None, description="Format of the files (text, jsonl, html ...) or shape of their rows; else recognised."
    )
    map: dict[str, str] = Field(
        default_factory=dict, description="OURS=THEIRS: what the files call a field, as text=body."
    )
    encoding: str | None = Field(default=None, description="Encoding of the text; UTF-8 or detected if left out.")
    on_bad_row: Literal["stop", "skip"] = Field(
        default="stop", description="Stop at a row that cannot be used, or leave it out, counted."
    )
    validation_fraction: Fraction | None = Field(
        default=None, description="Share of the text kept for validation; a tenth, at most 20 MB, if left out."
    )
    changed_sources: ChangedSources = Field(
        default="refuse",
        description="What to do when a file the data was prepared from has changed: accept trains on what was prepared, "
        "ignore does not even look.",
    )
    tokenizer: str | None = Field(
        default=None, description="A tokenizer folder, vocabulary file or hub model; trained on the text if left out."
    )
    tokenizer_algorithm: Literal["bpe", "unigram", "char"] = Field(
        default="bpe", description="Kind of tokenizer to train."
    )
    byte_fallback: bool = Field(
        default=True, description="Let a character tokenizer write unknown characters as bytes."
    )
    vocab_size: Count | None = Field(default=None, description="Entries of the tokenizer to train.")

    # --- the model
    architecture: str = Field(
        default="qwen3", description="Model architecture; `groundup inspect architectures` shows them all."
    )
    size: str | None = Field(
        default=None, description="The one dial: d2, d4, d6, d8, d12 ... (number of layers; width follows)."
    )
    context_length: Count | None = Field(default=None, description="Tokens the model sees at once.")
    n_layers: Count | None = Field(default=None, description="Layers, instead of the dial's.")
    d_model: Count | None = Field(default=None, description="Width of the residual stream, instead of the dial's.")
    n_heads: Count | None = Field(default=None, description="Query heads, instead of the dial's.")
    n_kv_heads: Count | None = Field(default=None, description="Key and value heads, instead of the dial's.")
    d_ff: Count | None = Field(default=None, description="Width of the feed-forward layer, instead of the dial's.")
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None, description="Dropout, for an architecture that has it (gpt2, gpt_neox, phi3, custom)."
    )
    tie_embeddings: bool | None = Field(default=None, description="One matrix for the embedding and the head.")
    model: dict[str, Any] = Field(
        default_factory=dict,
        description="A setting of the architecture's own, as positions=alibi; `groundup inspect architectures` shows them.",
    )

    # --- how long (one of these; 5 minutes if none is given)
    time: Seconds | None = Field(
        default=None, description="Training time: 90s, 10m, 2h. The learning rate decays to its end."
    )
    tokens: Count | None = Field(default=None, description="Training tokens: 500k, 20M, 1B.")
    steps: Count | None = Field(default=None, description="Optimizer steps.")
    epochs: Positive | None = Field(default=None, description="Passes over the training text.")

    # --- one step
    batch_size: Annotated[Count, Field(le=2**20)] | None = Field(default=None, description="Windows in a step.")
    micro_batch_size: Annotated[Count, Field(le=2**20)] | None = Field(
        default=None, description="Windows computed at once; gradients accumulate."
    )
    stride: Count | None = Field(
        default=None, description="Tokens between the starts of windows; the context length if left out."
    )
    packing: Packing = Field(
        default="windows",
        description="How text becomes rows: windows cuts it at equal distances; best-fit lays documents whole into rows; "
        "concatenate is windows in which documents see each other.",
    )
    drop_tokens: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Leave 1 to this many random tokens out of every row, others at each reading, against memorising; 0: "
        "none.",
    )
    optimizer: Literal["muon", "adamw"] = Field(
        default="muon", description="Muon for the hidden matrices, or AdamW for all."
    )
    learning_rate: Positive | None = Field(default=None, description="Peak learning rate of the hidden matrices.")
    embedding_learning_rate: Positive | None = Field(default=None, description="Peak learning rate of the embedding.")
    head_learning_rate: Positive | None = Field(default=None, description="Peak learning rate of the output head.")
    vector_learning_rate: Positive | None = Field(default=None, description="Peak learning rate of norms and biases.")
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Decoupled weight decay, matrices only."
    )
    warmup: Fraction | None = Field(default=None, description="Share of the run spent warming the learning rate up.")
    decay: Fraction | None = Field(
        default=None, description="Share of the run, at its end, over which the learning rate falls."
    )
    gradient_clip: Positive = Field(default=1.0, description="Largest norm of the gradient.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of the initial weights, the order of the windows and dropout."
    )

    # --- the machine
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="Arithmetic; auto times both.")
    compile: Literal["auto", "on", "off"] = Field(default="auto", description="torch.compile; auto: when it pays.")
    threads: Annotated[Count, Field(le=1024)] | None = Field(
        default=None, description="CPU threads; all cores if left out."
    )

    # --- watching
    evaluations: Annotated[int, Field(ge=1)] = Field(default=10, description="Evaluations over the run.")
    evaluation_tokens: Count | None = Field(
        default=None, description="Validation tokens of each; the last one reads all."
    )
    sample_prompt: str | None = Field(
        default=None, description="Prompt of the samples; from the validation text if left out."
    )
    sample_tokens: Annotated[int, Field(ge=0)] = Field(default=60, description="Tokens of each sample; 0 for none.")
    save_every: Seconds = Field(default=60.0, description="Time between saves of the training state.")

    @pydantic.model_validator(mode="after")
    def _one_budget(self) -> PretrainConfig:
        given = [name for name in ("time", "tokens", "steps", "epochs") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} are both given; how long to train is one of time, tokens, steps, epochs"
            )
        if self.tokenizer is not None and self.vocab_size is not None:
            raise ValueError("vocab_size has no effect on a tokenizer that is given; leave one of the two out")
        if self.data and self.mix:
            raise ValueError("data and mix are both given; a training reads one text, or a mixture")
        if self.mix:
            check_mix(self.mix, self.mix_alpha)
        elif self.mix_alpha is not None:
            raise ValueError("mix_alpha has no effect without a mix; leave it out")
        if self.stride is not None and self.packing == "best-fit":
            raise ValueError(f"stride {self.stride} has no effect with best-fit packing; leave one of the two out")
        if self.context_length is not None and self.drop_tokens >= self.context_length:
            raise ValueError(
                f"drop_tokens {self.drop_tokens} would empty rows of context_length {self.context_length}; 3 is usual"
            )
        if self.warmup is not None and self.decay is not None and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} make more than the whole run; lower one")
        return self
