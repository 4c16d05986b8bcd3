"""A vocabulary extended for a domain: the tokenizer, and the model that is to be trained on with it.

Its one idea: nothing known is lost, and that is measured. Old ids, old rows and old logits stay; the folder written is read back
and compared, and bytes per token are counted on text the new entries were not learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.checkpoints.hub import is_hub_name
from groundup.checkpoints.packages import PACKAGE_PREFIX
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.data.corpus import corpus_text
from groundup.data.reading import Reading
from groundup.tokenization.extension import Extension, extend_tokenizer
from groundup.tokenization.tokenizer import Tokenizer

_MOST_BYTES = 300_000_000  # of more text an even sample is read: its different words must fit in memory
_HELD_OUT_BYTES = 1_000_000
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Extended:
    """What became of it: bytes per token (before, after) by text, and for a model the greatest change of an old logit."""

    folder: Path
    n_added: int
    vocab_size: int
    bytes_per_token: dict[str, tuple[float, float]]
    max_logit_change: float | None


def extend_vocabulary(
    model: str | Path,
    text: str | Path | Sequence[str | Path],
    *,
    add: int,
    out: str | Path,
    old_text: str | Path | Sequence[str | Path] | None = None,
    text_field: str | None = None,
    separator: str | None = None,
    reporter: Reporter = QUIET,
) -> Extended:
    """Add `add` entries, learned from `text`, to the tokenizer of `model` and write the result to the folder `out`.

    For a model or run folder the model gains a row for each, the mean of the rows of its old pieces; for a tokenizer, of any
    kind `open_tokenizer` knows, only the tokenizer is written. A tenth of the text (at most 1 MB) is not learned from, but
    measured on; `old_text` is measured too. Raises `GroundupError` when the algorithm cannot be extended, the text
    cannot fill `add` entries, or the result, read back, is not what it should be.
    """
    folder = _model_folder(model)
    out = Path(out)
    if folder is not None and out.resolve() in (folder.resolve(), Path(model).resolve()):
        raise GroundupError(f"{out} is the model itself; choose another folder for the extended one")
    tokenizer = open_tokenizer(folder if folder is not None else model, reporter=reporter)
    fields: dict[str, Any] = {"reading": Reading(text_field, separator), "validation_fraction": 0.0}
    held_out: list[str] = []
    pieces = corpus_text(text, max_bytes=_MOST_BYTES, **fields)
    extension = extend_tokenizer(tokenizer, _without_a_tenth(pieces, held_out), add, reporter=reporter)
    _check_ids(tokenizer, extension, held_out)
    measured = {"new text": held_out}
    if old_text is not None:
        measured["old text"] = list(corpus_text(old_text, max_bytes=_HELD_OUT_BYTES, **fields))
    ratios = {
        name: (_bytes_per_token(tokenizer, texts), _bytes_per_token(extension.tokenizer, texts))
        for name, texts in measured.items()
        if texts
    }
    for name, (before, after) in ratios.items():
        reporter.say(f"{name:<11} {before:.3f} bytes a token before, {after:.3f} after ({after / before - 1:+.1%})")
    change = None
    if folder is None:
        extension.tokenizer.save(out)
    else:
        change = _extend_model(folder, out, extension, reporter)
    again = Tokenizer.load(out)
    if again.sha256 != extension.tokenizer.sha256:
        raise GroundupError(f"{out} was written but reads back as another tokenizer; do not use it, and report this")
    return Extended(out, add, again.vocab_size, ratios, change)


def _model_folder(name: str | Path) -> Path | None:
    """The model folder that `name` means, or None when it means only a tokenizer."""
    path = Path(name)
    if (
        path.suffix == ".gguf"
        or str(name).startswith(PACKAGE_PREFIX)
        or any((place / "config.json").is_file() for place in (path, path / "model"))
        or (not path.exists() and "/" in str(name) and is_hub_name(str(name)))
    ):
        from groundup.checkpoints.model_folder import resolve_model

        return resolve_model(name)
    return None


def _without_a_tenth(texts: Iterator[str], held_out: list[str]) -> Iterator[str]:
    """All texts but every tenth, until enough are held out; the last tenth of a text that comes alone."""
    n_bytes, first = 0, None
    for number, text in enumerate(texts):
        if number == 0:
            first = text
        elif number % 10 == 9 and n_bytes < _HELD_OUT_BYTES:
            held_out.append(text)
            n_bytes += len(text.encode("utf-8"))
        else:
            if first is not None:
                yield first
                first = None
            yield text
    if first is not None:
        cut = len(first) - min(len(first) // 10, _HELD_OUT_BYTES)
        held_out.append(first[cut:])
        yield first[:cut]


def _check_ids(tokenizer: Tokenizer, extension: Extension, texts: Sequence[str]) -> None:
    """New tokens put back into their pieces must give the old ids, or old text would be read as something else."""
    for text in texts:
        if extension.old_ids(extension.tokenizer.encode(text)) != tokenizer.encode(text):
            raise GroundupError(
                "this tokenizer cannot be extended: with more merges it cuts text differently, not only further; "
                "its merges are not in the order they were learned"
            )


def _bytes_per_token(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    n_tokens = sum(len(tokenizer.encode_array(text)) for text in texts)
    return sum(len(text.encode("utf-8")) for text in texts) / max(n_tokens, 1)


def _extend_model(folder: Path, out: Path, extension: Extension, reporter: Reporter) -> float:
    import torch

    from groundup.checkpoints.model_folder import load_model, save_model
    from groundup.checkpoints.vocabulary_growth import grown

    model, _ = load_model(folder)
    larger = grown(model, extension.first_id, extension.old_pieces)
    dtype = model.token_embedding.weight.dtype
    save_model(out, larger, extension.tokenizer, dtype=dtype)
    loaded, _ = load_model(out)
    ids = torch.arange(extension.first_id)[: model.config.context_length][None]
    with torch.inference_mode():
        old, new = model(ids).float(), loaded(ids).float()[..., : extension.first_id]
    change = float((new - old[..., : extension.first_id]).abs().max())
    for name in ("token_embedding", *(("head",) if model.head is not None else ())):
        before, after = getattr(model, name).weight, getattr(loaded, name).weight
        means = torch.stack([before[pieces].float().mean(0) for pieces in extension.old_pieces]).to(dtype)
        end = extension.first_id + len(extension.old_pieces)
        if not torch.equal(after[: extension.first_id], before[: extension.first_id]) or not torch.equal(
            after[extension.first_id : end], means
        ):
            raise GroundupError(f"{out} was written but its {name} rows are not what they should be; do not use it")
    if change > _TOLERANCE * max(1.0, float(old.abs().max())):
        raise GroundupError(f"{out} was written but gives old tokens other logits (by {change:.2g}); do not use it")
    size = readable_bytes((loaded.n_parameters() - model.n_parameters()) * dtype.itemsize)
    reporter.say(
        f"model       {loaded.config.vocab_size:,} rows (were {model.config.vocab_size:,}, {size} more); read back: old rows "
        f"equal, new rows the mean of their pieces, max |change| of an old token's logit {change:.1e}"
    )
    return change
