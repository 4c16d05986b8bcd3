"""What an adapter is: its kind, its rank, and which matrices it goes on; also as one line for a flag.

`--lora r=16,alpha=32,targets=query+value,dora` names what differs from the defaults, and `--lora ""` nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from groundup.core.config import Config
from groundup.core.errors import GroundupError, unknown_name

ALL_LINEAR, ATTENTION, FEED_FORWARD = "all-linear", "attention", "feed-forward"

_KEYS = {"r": "rank", "rank": "rank", "alpha": "alpha", "dropout": "dropout", "targets": "targets"}
_KEYS |= {"tokens": "new_tokens"}
_FLAGS = ("lora", "dora", "rslora")


class AdapterConfig(Config):
    """The settings of one adapter.

    A pattern is `all-linear`, `attention`, `feed-forward`, or a name: ours or the published one, whole or its end, with *
    for anything (`query`, `q_proj`, `blocks.3.*`).
    """

    kind: Literal["lora", "dora"] = pydantic.Field(
        default="lora", description="lora; or dora, which learns each row's length apart from its direction"
    )
    rank: int = pydantic.Field(default=16, ge=1, description="numbers the input is narrowed to")
    alpha: float | None = pydantic.Field(
        default=None, gt=0, description="strength: the update counts alpha / rank times; not given: 2 times"
    )
    dropout: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="probability of dropping a number before the adapter"
    )
    rslora: bool = pydantic.Field(
        default=False, description="divide alpha by the root of the rank, for ranks of 64 and more"
    )
    # Adapters on every linear layer are what full fine-tuning's quality takes (Dettmers et al. 2023, "QLoRA", section 4).
    targets: tuple[str, ...] = pydantic.Field(
        default=(ALL_LINEAR,), min_length=1, description="which matrices it goes on"
    )
    rank_pattern: dict[str, pydantic.PositiveInt] = pydantic.Field(
        default_factory=dict, description="other ranks, by pattern"
    )
    alpha_pattern: dict[str, pydantic.PositiveFloat] = pydantic.Field(
        default_factory=dict, description="other alphas, by pattern"
    )
    new_tokens: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        default=(), description="ids of tokens whose rows in embedding and head are trained too"
    )

    def scale(self, rank: int, alpha: float | None) -> float:
        """What the low-rank product of a matrix of this rank is multiplied with.

        Hu et al. 2021, section 4.1; with `rslora` Kalajdzievski 2023, theorem 3.2: by the root, so that what an update does
        does not shrink as ranks grow.
        """
        if alpha is None:
            return 2.0
        return alpha / (rank**0.5 if self.rslora else rank)

    @classmethod
    def parse(cls, text: str) -> AdapterConfig:
        """The settings in a flag's text; raises GroundupError naming what it does not know.

        Parts are separated by commas, targets (and token ids) by +. An empty text means the defaults.
        """
        values: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals and key in _FLAGS:
                values |= {"rslora": True} if key == "rslora" else {"kind": key}
                continue
            if key not in _KEYS:
                error = unknown_name("setting", key, [*_KEYS, *_FLAGS])
                raise GroundupError(f"--lora {text}: {error}; write it as r=16,alpha=32,targets=query+value,dora")
            if not value:
                raise GroundupError(f"--lora {text}: {key} has no value; write {key}=...")
            values[_KEYS[key]] = tuple(value.split("+")) if _KEYS[key] in ("targets", "new_tokens") else value
        return cls.build(values, source=f"--lora {text}")

    def describe(self) -> str:
        """One line for people: `lora, rank 16, alpha 32, on all-linear`."""
        alpha = "scale 2" if self.alpha is None else f"alpha {self.alpha:g}"
        extras = [f"dropout {self.dropout:g}"] if self.dropout else []
        extras += [f"{len(self.new_tokens)} tokens' rows"] if self.new_tokens else []
        kind = f"{self.kind}, rank-stabilised" if self.rslora else self.kind
        return ", ".join([kind, f"rank {self.rank}", alpha, *extras, f"on {' and '.join(self.targets)}"])
