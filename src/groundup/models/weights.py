"""Weights under other names: one table of (our name, their name, transform) a family, used in both directions.

A row with `{layer}` stands for every layer. There are two transforms: "transpose" (the first GPT-2 kept its matrices as
[in, out], and every file since does), and experts, which files keep apart and we as one stack. Also here: reading
another tool's config without ignoring anything in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from groundup.core.errors import GroundupError


@dataclass(frozen=True)
class Row:
    """One weight (or one a layer, with `{layer}` in both names) here and there.

    With `{expert}` in their name, ours is a stack [n_experts, ...] of theirs. `layers` says which layers have it, None
    that all do.
    """

    ours: str
    theirs: str
    transpose: bool = False
    layers: tuple[int, ...] | None = None
    n_experts: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Their names of what this weight is made of: one, or one an expert."""
        if self.n_experts:
            return tuple(self.theirs.format(expert=expert) for expert in range(self.n_experts))
        return (self.theirs,)


@dataclass(frozen=True)
class Fused:
    """A tensor [n_experts, rows, columns] in which some of a family's files hold what others hold as `parts`.

    With `{expert}` in the parts' names, each expert's rows are those of the parts, one after another; without, the one
    part is the tensor itself under the usual name.
    """

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class WeightTable:
    """A family's weights, and what its files may hold besides.

    `head` is the row of the head, which files of tied models usually leave out. `prefix` begins the names in some of
    the family's files and is absent in others. `ignored` matches tensors that hold no weights (saved masks). `fused`
    are the tensors of another spelling, which is read and never written.
    """

    rows: tuple[Row, ...]
    head: Row
    prefix: str = ""
    ignored: str = r"(?!)"
    fused: tuple[Fused, ...] = ()

    def expand(self, n_layers: int, tied: bool) -> Iterator[Row]:
        """The rows of a model with `n_layers` layers, one a tensor."""
        for row in self.rows:
            if "{layer}" in row.ours:
                for layer in range(n_layers) if row.layers is None else row.layers:
                    theirs = row.theirs.format(layer=layer, expert="{expert}")
                    yield replace(row, ours=row.ours.format(layer=layer), theirs=theirs, layers=None)
            else:
                yield row
        if not tied:
            yield self.head

    def their_name(self, found: str) -> str | None:
        """A file's tensor name in the full form of the table; None when the tensor holds no weights."""
        if re.fullmatch(self.ignored, found):
            return None
        return found if found == self.head.theirs or found.startswith(self.prefix) else self.prefix + found


def own_names(parameters: Iterable[str]) -> WeightTable:
    """The table of an architecture no other tool knows: every weight goes by the name it has here."""
    rows = tuple(Row(name, name) for name in parameters if name != "head.weight")
    return WeightTable(rows, head=Row("head.weight", "head.weight"))


def to_theirs(tensor: Tensor, row: Row) -> list[Tensor]:
    """Views of our tensor as their files keep it, one for each of the row's `sources`; writing there writes ours."""
    parts = tensor.unbind() if row.n_experts else (tensor,)
    return [part.mT if row.transpose else part for part in parts]


# Settings of a Hugging Face config that do not change what a model computes when it is run or trained here.
WITHOUT_EFFECT = """
    architectures model_type name_or_path _name_or_path transformers_version dtype torch_dtype initializer_range
    use_cache tokenizer_class auto_map transformers.js_config
    _attn_implementation _attn_implementation_autoset attn_implementation
    gradient_checkpointing chunk_size_feed_forward return_dict output_attentions output_hidden_states
    id2label label2id num_labels problem_type finetuning_task task_specific_params
    do_sample max_length min_length temperature top_k top_p repetition_penalty num_beams num_return_sequences
    early_stopping length_penalty no_repeat_ngram_size prefix unsloth_version unsloth_fixed
"""


class ForeignConfig:
    """The settings of a `config.json`, taken one by one; `finish` refuses what nobody took.

    A setting that is off (None, False, empty) needs no support; any other that this package does not know would
    change what the model computes, so it is refused by name rather than ignored.
    """

    def __init__(self, values: dict[str, Any], without_effect: str = "") -> None:
        self._left = dict(values)
        self._without_effect = {*WITHOUT_EFFECT.split(), *without_effect.split()}

    def take(self, name: str, default: Any = None) -> Any:
        """The value of a setting, or `default` when it is absent or null; required when `default` is `...`."""
        value = self._left.pop(name, None)
        if value is None and default is ...:
            raise GroundupError(f"config.json has no {name!r}, which this architecture needs")
        return default if value is None else value

    def require(self, name: str, *allowed: Any) -> None:
        """Refuse the model unless the setting is absent, null or one of the `allowed` values."""
        value = self._left.pop(name, None)
        if value is not None and value not in allowed:
            options = " or ".join(repr(option) for option in allowed)
            raise GroundupError(f"config.json asks for {name}={value!r}; only {options} is supported here")

    def take_equal(self, names: tuple[str, ...], default: Any) -> Any:
        """The one value of several settings; raises GroundupError when they differ. `default` as in `take`."""
        values = [self.take(name, default) for name in names]
        if len(set(values)) > 1:
            found = ", ".join(f"{name}={value!r}" for name, value in zip(names, values, strict=True))
            raise GroundupError(f"config.json asks for {found}; only one value for all of them is supported here")
        return values[0]

    def finish(self) -> None:
        """Refuse settings that are on and that no `take` or `require` asked for."""
        unknown = {
            name: value
            for name, value in self._left.items()
            if name not in self._without_effect
            and value is not None
            and value is not False
            and value not in ("", [], {})
        }
        if unknown:
            names = ", ".join(f"{name}={value!r}" for name, value in unknown.items())
            raise GroundupError(
                f"config.json asks for what this architecture does not support here: {names}; "
                "remove a setting only if you know that it changes nothing in the model"
            )


def eos_ids(value: int | list[int] | None) -> tuple[int, ...]:
    """End-of-text ids as Hugging Face writes them (none, one, or a list) as a tuple."""
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


def eos_value(ids: tuple[int, ...]) -> int | list[int] | None:
    """End-of-text ids as Hugging Face writes them."""
    return None if not ids else ids[0] if len(ids) == 1 else list(ids)
