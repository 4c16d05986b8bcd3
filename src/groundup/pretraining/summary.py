"""What a run came to, for its report, its model card and the next run's reader."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from groundup.checkpoints.model_folder import card_head, card_usage
from groundup.core.device import peak_memory_bytes
from groundup.core.runs import (
    CostSummary,
    DataSummary,
    Forecast,
    MixtureSummary,
    Row,
    RunFolder,
    RunSummary,
    SourceSummary,
    SplitSummary,
    TokenizerSummary,
)
from groundup.data.batches import Progress
from groundup.data.mixture import Mixture
from groundup.data.store import SPLITS
from groundup.evaluation.perplexity import Scores
from groundup.models import known_elsewhere
from groundup.models.base import AttentionConfig, LanguageModel, ModelConfig
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.planner import Plan
from groundup.tokenization.tokenizer import Tokenizer

PIECES_SHOWN = 60


def summarize(
    run: RunFolder,
    config: PretrainConfig,
    plan: Plan,
    mixture: Mixture,
    tokenizer: Tokenizer,
    model: LanguageModel,
    *,
    outcome: str,
    training_seconds: float,
    compile_seconds: float | None,
    wall_seconds: float,
    since_plan_seconds: float | None,
    n_tokens: int,
    max_logit_difference: float | None,
    device: str,
    progress: Sequence[Progress] = (),
) -> RunSummary:
    """Gather what `report.html` tells besides the curves.

    `wall_seconds` are those of this session; `since_plan_seconds` those since the plan was made, None in a resumed run.
    `progress` is what was read of each source.
    """
    rows = [row for row in run.read_metrics() if row.get("val_loss") is not None]
    scores = rows[-1] if rows else {}
    architecture = model.config
    n_parameters = model.n_parameters()
    memory = peak_memory_bytes(device)
    finished = outcome == "finished"
    forecasts = (
        # the training clock ends with the last look
        Forecast(
            "training time",
            plan.training_seconds + plan.last_look_seconds,
            training_seconds if finished else None,
            "seconds",
        ),
        Forecast("wall time", plan.wall_seconds, since_plan_seconds if finished else None, "seconds"),
        Forecast("tokens", plan.tokens, n_tokens if finished else None, "tokens"),
        Forecast("validation loss", plan.loss, scores.get("val_loss") if finished else None, "nats a token"),
        Forecast(
            "validation loss at the tokens read",
            plan.loss_at(n_tokens) if finished and n_tokens else None,
            scores.get("val_loss"),
            "nats a token",
        ),
        Forecast("peak memory", plan.memory_bytes, memory, "bytes"),
    )
    return RunSummary(
        title=run.path.name,
        status=outcome,
        architecture=architecture.architecture,
        n_parameters=n_parameters,
        context_length=architecture.context_length,
        model={
            "layers": architecture.n_layers,
            "width": architecture.d_model,
            **_attention_sizes(architecture),
            "vocabulary": architecture.vocab_size,
            "context": f"{architecture.context_length} tokens",
            "embedding and head": "one matrix" if architecture.tie_embeddings else "two matrices",
            "parameters": f"{n_parameters:,} ({model.n_parameters(embeddings=False):,} without embedding and head)",
            "arithmetic": config.precision + (", compiled" if config.compile == "on" else ""),
        },
        tokenizer=tokenizer_summary(mixture, tokenizer),
        data=data_summary(mixture, progress, scores),
        cost=CostSummary(
            training_seconds=training_seconds,
            wall_seconds=wall_seconds,
            compile_seconds=compile_seconds,
            n_tokens=n_tokens,
            flops=float(model.flops_per_token(config.context_length)) * n_tokens,
            peak_memory_bytes=memory,
        ),
        val_loss=scores.get("val_loss"),
        val_perplexity=scores.get("val_perplexity"),
        val_bits_per_byte=scores.get("val_bits_per_byte"),
        forecasts=tuple(forecast for forecast in forecasts if forecast.expected is not None),
        checks={}
        if max_logit_difference is None
        else {"model folder read back": f"max |logit difference| {max_logit_difference:.1e}"},
        notes=(plan.reason,),
        next_commands=_next_commands(run, config, finished),
    )


def tokenizer_summary(mixture: Mixture, tokenizer: Tokenizer) -> TokenizerSummary:
    """The tokenizer and how it cuts the beginning of the first validation (else training) text."""
    train = mixture.splits("train")
    split = next(split for split in (*mixture.splits("validation"), *train) if split.n_tokens)
    tokens = [int(token) for token in split.read(0, min(PIECES_SHOWN, split.n_tokens))]
    text = tokenizer.decode(tokens, skip_special=True)
    n_text_tokens = sum(split.n_tokens - split.n_documents for split in train)
    return TokenizerSummary(
        algorithm=tokenizer.algorithm,
        vocab_size=tokenizer.vocab_size,
        bytes_per_token=sum(split.n_bytes for split in train) / max(1, n_text_tokens),
        sha256=tokenizer.sha256,
        pieces=tuple((token, piece) for token, piece, _ in tokenizer.pieces(text)),
    )


def data_summary(mixture: Mixture, progress: Sequence[Progress] = (), scores: Row | None = None) -> DataSummary:
    """The files of the text with their hashes, what each side of the split holds, and what was read of each source.

    `scores` is the last row of the metrics that has validation losses.
    """
    files, splits, manners = [], {}, []
    for source in mixture.sources:
        manifest, before = source.store.manifest, f"{source.name}: " if source.name else ""
        files += [SourceSummary(file["path"], file["n_bytes"], file["sha256"]) for file in manifest["sources"]]
        for name in SPLITS:
            split = source.store.split(name)
            splits[before + name] = SplitSummary(split.n_documents, split.n_tokens, split.n_bytes)
        manners.append(f"{before}split by {manifest['split_by']}")
    rows = []
    if mixture.is_mixed and progress:
        for source, share, done in zip(mixture.sources, mixture.shares, progress, strict=True):
            found = {name: (scores or {}).get(f"{name}/{source.name}") for name in ("val_loss", "val_bits_per_byte")}
            n_tokens = source.store.split("train").n_tokens
            rows.append(MixtureSummary(source.name, share, n_tokens, done.tokens, done.epochs, **found))
    return DataSummary(sources=tuple(files), splits=splits, note="; ".join(manners), mixture=tuple(rows))


def model_card(config: PretrainConfig, mixture: Mixture, scores: Scores | None) -> str:
    """The README.md of a model folder: what it is, what it read, what it reaches, how to open it."""
    n_train, n_validation = (sum(split.n_bytes for split in mixture.splits(name)) for name in SPLITS)
    manifests = [source.store.manifest for source in mixture.sources]
    names = sorted({Path(file["path"]).name for manifest in manifests for file in manifest["sources"]})
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more files" if len(names) > 5 else "")
    mixed = ""
    if mixture.is_mixed:
        shares = zip(mixture.sources, mixture.shares, strict=True)
        mixed = f"\nOf what it read: {', '.join(f'{share:.1%} {source.name}' for source, share in shares)}.\n"
    reached = ""
    if scores is not None:
        reached = (
            f"On {scores.n_tokens:,} held-out tokens: loss {scores.loss:.4f} nats a token, perplexity {scores.perplexity:.2f}, "
            f"{scores.bits_per_byte:.4f} bits per byte.\n\n"
        )
    head = card_head(config.architecture)
    return f"""{head}# A {config.architecture} language model, {config.n_layers} layers of width {config.d_model}

Trained from scratch with Groundup on {n_train:,} bytes of text ({shown}); {n_validation:,} bytes were held out.
{mixed}
{reached}It continues text in the manner of what it read. It knows nothing else, follows no instructions, and repeats whatever
errors and opinions its text holds.

{card_usage(config.architecture, "path/to/this/folder")}"""


def _next_commands(run: RunFolder, config: PretrainConfig, finished: bool) -> tuple[str, ...]:
    if not finished:
        return (f"groundup resume {shlex.quote(str(run.path))}",)
    place, prompt = shlex.quote(str(run.path)), shlex.quote(config.sample_prompt or "The")
    commands = (
        f"groundup generate {place} -- {prompt}"
        if prompt.lstrip("'").startswith("-")
        else f"groundup generate {place} {prompt}",
        f"groundup inspect model {place}",
    )
    return (*commands, f"groundup verify {place}") if known_elsewhere(config.architecture) else commands


def _attention_sizes(architecture: ModelConfig) -> dict[str, str | int]:
    """What only a model with attention has."""
    if not isinstance(architecture, AttentionConfig):
        return {}
    heads = f"{architecture.n_heads} ({architecture.n_kv_heads} for keys and values), {architecture.d_head} wide"
    return {"heads": heads, "feed-forward width": architecture.d_ff}
