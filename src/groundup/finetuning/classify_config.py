"""The settings of `groundup finetune classify`, apart from the work so that a command line's help does not pay for torch."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import Field

from groundup.finetuning.config import FinetuneConfig, Fraction

VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2  # Raschka 2024, section 6.2
Balance = Literal["none", "weights", "sample", "undersample"]


class Config(FinetuneConfig):
    """Settings of `groundup finetune classify`."""

    method: Literal["classify"] = Field("classify", description="The module in groundup/finetuning that makes the job.")  # pyright: ignore[reportIncompatibleVariableOverride]
    train: Literal["head", "last-block", "all"] | None = Field(
        default=None, description="What is trained of the model; last-block (with final norm and head) if left out."
    )
    test_data: tuple[str, ...] = Field(
        default=(), description="Files of examples to test with; else a share of the data."
    )
    validation_fraction: Fraction | None = Field(
        default=None, description="Share of the data kept for validation; 0.1 if left out."
    )
    test_fraction: Fraction | None = Field(
        default=None, description="Share of the data kept to test with; 0.2 if left out."
    )
    multi_label: bool = Field(default=False, description="A text may have several labels, as a|b or as a list.")
    balance: Balance = Field(
        default="none",
        description="For classes of unequal size: weights of the loss; sample, the rare ones more often; undersample, "
        "as many texts of each as the rarest has.",
    )
    keep: Literal["start", "end"] = Field(
        default="start", description="What is read of a text longer than the context."
    )

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.lora is not None and self.train is not None:
            raise ValueError(
                f"lora trains an adapter and the head; train {self.train} has no effect beside it, leave one out"
            )
        if self.test_data and self.test_fraction is not None:
            raise ValueError("test_fraction has no effect beside test_data; leave one of the two out")
        for name in ("validation_fraction", "test_fraction"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} 0 leaves nothing to measure with; give a share above 0")
        if (self.validation_fraction or VALIDATION_SHARE) + (self.test_fraction or TEST_SHARE) >= 1:
            raise ValueError("validation_fraction and test_fraction together leave no text to train on; lower one")
        if self.multi_label and self.balance != "none":
            raise ValueError(
                f"balance {self.balance} is for labels that exclude each other; leave it out with multi_label"
            )
        return self
