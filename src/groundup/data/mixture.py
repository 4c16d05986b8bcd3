"""Mixtures: several prepared texts read together, each with a share of the rows.

One idea: shares are whole numbers. Weights that people give (0.7 and 0.3) become parts of a short period (7 and 3 of 10
rows), so that the order of the sources is exact and needs no memory (interleave.py). Without weights they follow from the
sizes, p(i) ~ n_i^alpha: 1 takes every text as large as it is, 0 takes all alike, between them small texts are read
more often than their size (Devlin 2019, multilingual BERT: 0.7; Conneau et al. 2020, "Unsupervised cross-lingual
representation learning at scale", section 3.1: 0.3).

A run on one text is a mixture of one source.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pydantic

from groundup.core.config import Config
from groundup.core.errors import GroundupError
from groundup.data.packing import Rows, training_rows
from groundup.data.store import TokenSplit, TokenStore

LONGEST_PERIOD = 10_000  # rows; shares that need a longer one are rounded to its fractions


class MixSource(Config):
    """One source of a mixture, as a person names it."""

    name: str = pydantic.Field(description="What its figures are called.")
    data: str = pydantic.Field(description="A prepared data folder.")
    weight: float | None = pydantic.Field(default=None, description="Its share of the rows; weights need not sum to 1.")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """`web=data/a:0.7`, or without the weight, as flags and short YAML write it."""
        if not isinstance(value, str):
            return value
        name, equals, rest = value.partition("=")
        data, colon, weight = rest.rpartition(":")
        if not equals or not (data if colon else rest):
            raise ValueError(f"{value!r} is no source of a mixture; write NAME=FOLDER:WEIGHT, such as web=data/web:0.7")
        if not colon:
            return {"name": name, "data": rest}
        try:
            return {"name": name, "data": data, "weight": float(weight)}
        except ValueError:
            return {"name": name, "data": rest}  # a colon of the path

    @pydantic.field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError(f"{name!r} is no name for a source; use letters, digits, _ . and -")
        return name

    @pydantic.model_validator(mode="after")
    def _positive_weight(self) -> MixSource:
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(f"the weight of {self.name} is {self.weight:g}; it must be a number above 0")
        return self


Mix = tuple[MixSource, ...]


def check_mix(mix: Mix, alpha: float | None) -> None:
    """Refuse a mixture whose entries contradict each other; raises ValueError, for a validator to pass on."""
    if len(mix) == 1:
        raise ValueError(f"a mixture of one source is no mixture; give {mix[0].data} as the data")
    for what, values in (
        ("name", [each.name for each in mix]),
        ("folder", [os.path.abspath(each.data) for each in mix]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"the {what} {twice!r} is in the mixture twice; give each source once, with one weight")
    without = [each.name for each in mix if each.weight is None]
    if without and len(without) < len(mix):
        raise ValueError(f"{' and '.join(without)} has no weight and others have; give all of them one, or none")
    if alpha is not None and not without:
        raise ValueError("mix_alpha makes weights from sizes, and the mixture has its own; leave one of the two out")


@dataclass(frozen=True)
class Source:
    """One text of a run; the name is empty where it is the only one."""

    name: str
    store: TokenStore
    part: int = 1  # of every `period` rows


@dataclass(frozen=True)
class Mixture:
    """The texts a run reads, all prepared with one tokenizer, and the share of each."""

    sources: tuple[Source, ...]

    @classmethod
    def of(cls, store: TokenStore) -> Mixture:
        """The mixture of one text."""
        return cls((Source("", store),))

    @classmethod
    def open(
        cls, mix: Mix, alpha: float | None = None, *, tokenizer_sha: str | None = None, verify: bool = True
    ) -> Mixture:
        """Open the stores of a mixture and settle its shares; `tokenizer_sha` as in `TokenStore.open`.

        Raises `GroundupError` for a folder that is no prepared data (it names the source), for stores of different
        tokenizers, and for a share below one row in `LONGEST_PERIOD`.
        """
        stores = []
        for each in mix:
            try:
                stores.append(TokenStore.open(each.data, tokenizer_sha, verify=verify))
            except GroundupError as error:
                raise GroundupError(f"source {each.name} of the mixture: {error}") from None
        _check_one_tokenizer(mix, stores)
        sizes = [store.split("train").n_tokens for store in stores]
        by_size = weights_by_size(sizes, 1.0 if alpha is None else alpha)
        parts = shares_as_parts({each.name: each.weight or w for each, w in zip(mix, by_size, strict=True)})
        return cls(tuple(map(Source, (each.name for each in mix), stores, parts)))

    @property
    def is_mixed(self) -> bool:
        """Whether there is more to tell than of a single text."""
        return len(self.sources) > 1

    @property
    def parts(self) -> tuple[int, ...]:
        return tuple(source.part for source in self.sources)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each source in the rows, summing to 1."""
        return tuple(source.part / sum(self.parts) for source in self.sources)

    @property
    def store(self) -> TokenStore:
        """The first store: for what they have in common, the tokenizer."""
        return self.sources[0].store

    def splits(self, name: str) -> list[TokenSplit]:
        """The `train` or the `validation` split of each source."""
        return [source.store.split(name) for source in self.sources]

    def n_tokens(self, name: str) -> int:
        """Tokens of a split, all sources together."""
        return sum(split.n_tokens for split in self.splits(name))

    def validation_shares(self) -> list[tuple[Source, TokenSplit, float]]:
        """(source, its validation split, share) of the sources that have validation text; the shares sum to 1."""
        with_text = [
            (source, split) for source, split in zip(self.sources, self.splits("validation"), strict=True)
            if split.n_tokens >= 2
        ]  # fmt: skip
        total = sum(source.part for source, _ in with_text)
        return [(source, split, source.part / total) for source, split in with_text]

    def rows(
        self, context_length: int, *, packing: str = "windows", stride: int | None = None, split: str = "train"
    ) -> list[Rows]:
        """The rows of each source, as `training_rows` makes them.

        Raises `GroundupError` naming the source whose text is shorter than a row.
        """
        found = []
        for source in self.sources:
            try:
                tokens = source.store.split(split)
                found.append(training_rows(tokens, context_length, packing=packing, stride=stride))
            except GroundupError as error:
                raise GroundupError(
                    f"source {source.name} of the mixture: {error}" if source.name else str(error)
                ) from None
        return found


def settled_mix(mix: Mix, mixture: Mixture) -> Mix:
    """The entries with the weights that were found for them, so that opening them again derives nothing."""
    return tuple(
        each.model_copy(update={"weight": float(source.part)}) if each.weight is None else each
        for each, source in zip(mix, mixture.sources, strict=True)
    )


def _check_one_tokenizer(mix: Sequence[MixSource], stores: Sequence[TokenStore]) -> None:
    first, first_store = mix[0], stores[0]
    for each, store in zip(mix[1:], stores[1:], strict=True):
        one, other = first_store.manifest["tokenizer"], store.manifest["tokenizer"]
        if one["sha256"] != other["sha256"]:
            raise GroundupError(
                f"the sources of a mixture need one tokenizer: {first.name} ({first.data}) was prepared with {_said(one)}, "
                f"{each.name} ({each.data}) with {_said(other)}; prepare one of them again with the tokenizer of the other: "
                f"groundup data prepare TEXT --tokenizer {first_store.tokenizer_folder} --out FOLDER"
            )


def _said(tokenizer: dict[str, Any]) -> str:
    return f"tokenizer {tokenizer['sha256'][:12]} ({tokenizer['algorithm']}, {tokenizer['vocab_size']:,} tokens)"


def weights_by_size(sizes: Sequence[int], alpha: float) -> list[float]:
    """Weights p(i) ~ n_i^alpha, summing to 1."""
    largest = max(max(sizes), 1)
    powers = [(size / largest) ** alpha for size in sizes]
    return [power / math.fsum(powers) for power in powers]


def shares_as_parts(weights: dict[str, float]) -> list[int]:
    """Whole numbers in the ratio of the weights, their sum at most `LONGEST_PERIOD`.

    Exact where the weights as written have such a ratio (0.7 and 0.3 are 7 and 3); else rounded to fractions of
    `LONGEST_PERIOD`, largest remainder first. Raises `GroundupError` for a source that would get none.
    """
    exact = [Fraction(repr(weight)) for weight in weights.values()]
    total = sum(exact)
    shares = [weight / total for weight in exact]
    period = math.lcm(*(share.denominator for share in shares))
    if period > LONGEST_PERIOD:
        period = LONGEST_PERIOD
    parts = [int(share * period) for share in shares]
    remainders = [share * period - part for share, part in zip(shares, parts, strict=True)]
    for i in sorted(range(len(parts)), key=lambda i: (-remainders[i], i))[: period - sum(parts)]:
        parts[i] += 1
    for name, share, part in zip(weights, shares, parts, strict=True):
        if not part:
            raise GroundupError(
                f"source {name} would have a share of {float(share):.2g} of the mixture, less than one row in {period:,}; "
                "give it more weight, or leave it out"
            )
    common = math.gcd(*parts)
    return [part // common for part in parts]
