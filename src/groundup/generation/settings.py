"""The settings of generation, apart from the arithmetic so that the command line can offer them without loading torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from groundup.core.config import Config


class SamplingSettings(Config):
    """How the next token is chosen and when a text ends; the defaults of the narrowing rules leave all tokens in."""

    max_new_tokens: int = Field(default=200, ge=1, description="most tokens to write")
    temperature: float = Field(
        default=0.8,
        ge=0,
        allow_inf_nan=False,
        description="0 takes the likeliest token always; 1 draws as the model believes",
    )
    top_k: int = Field(default=0, ge=0, description="draw from the k likeliest tokens (0: all)")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="draw from the fewest tokens that hold this share of probability"
    )
    min_p: float = Field(default=0.0, ge=0, le=1, description="leave out tokens below this share of the likeliest one")
    repetition_penalty: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="above 1, tokens already in the text become less likely"
    )
    seed: int = Field(default=0, ge=0, description="the same seed and prompt give the same text")
    stop: tuple[str, ...] = Field(default=(), description="end when one of these strings is written; it is left out")

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("an empty stop string would end every text at once; leave it out")
        return value

    @model_validator(mode="after")
    def _every_setting_counts(self) -> SamplingSettings:
        idle = [
            name for name, neutral in (("top_k", 0), ("top_p", 1.0), ("min_p", 0.0)) if getattr(self, name) != neutral
        ]
        if self.temperature == 0 and idle:
            raise ValueError(
                f"temperature 0 always takes the likeliest token, so {' and '.join(idle)} would do nothing; "
                f"leave {'it' if len(idle) == 1 else 'them'} out or raise the temperature"
            )
        return self
