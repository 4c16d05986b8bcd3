"""The settings of cleaning: the YAML file, the flags and the Python arguments are this one tree."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from groundup.core.config import Config, Count
from groundup.core.errors import unknown_name
from groundup.data.cleaning.rules import RULES, Bounds, Rule, groups_of, with_bounds
from groundup.data.reading import Reading


def _names(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = [part.strip() for part in value.split(",") if part.strip()]
    if not names:
        raise ValueError("no name in it; write names with commas between them, or leave it out")
    return names


Names = Annotated[tuple[str, ...], pydantic.BeforeValidator(_names)]
"""Names that people may write as `default,gopher`."""

Action = Literal["mask", "drop", "report"]
KINDS = ("email", "phone", "card", "iban", "ip", "key")

# A setting, and the group of rules without which nothing would listen to it.
_PARTNERS = {
    "privacy": "privacy",
    "phone_regions": "privacy",
    "hidden": "hidden",
    "boilerplate_documents": "boilerplate",
    "near_threshold": "near",
    "substring_characters": "substrings",
}


class CleanConfig(Config):
    """Settings of `groundup data clean`; every one of them decides what is kept, none how fast."""

    rules: Names = Field(
        default=("default",), description="Groups of rules and edits, by name; `all`, `default` and families too."
    )
    thresholds: dict[str, Bounds] = Field(
        default={}, description="Other bounds for a rule, as `word_count: [20, null]`."
    )
    text_field: str | None = Field(default=None, description="Column or JSON key that holds the text.")
    separator: str | None = Field(default=None, description="Text that separates documents inside a text file.")
    format: str | None = Field(
        default=None, description="Format of the files, or shape of their rows, if not detected."
    )
    map: dict[str, str] = Field(default={}, description="What the files call a field, as `text: body`.")
    encoding: str | None = Field(default=None, description="Encoding of text files, if not detected.")
    on_bad_row: Literal["skip", "stop"] = Field(
        default="skip",
        description="Leave a row that cannot be used out, counted; or take the rest of its file for unreadable.",
    )
    language: Names = Field(default=(), description="Keep only these languages, as en,de.")
    privacy: dict[str, Action] = Field(
        default={}, description="mask, drop or report for a kind of personal data: email phone card iban ip key."
    )
    phone_regions: Names = Field(
        default=(), description="Countries whose national telephone numbers are looked for, as GB,DE."
    )
    hidden: Literal["strip", "drop", "report"] = Field(
        default="strip", description="What is done about hidden Unicode."
    )
    block: tuple[str, ...] = Field(default=(), description="Remove documents that hold one of these strings.")
    against: tuple[str, ...] = Field(default=(), description="Evaluation files whose passages must not be in the text.")
    boilerplate_documents: Count = Field(
        default=10, description="A line in this many documents, and in a thousandth of all, is boilerplate."
    )
    near_threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="Similarity (Jaccard) from which two documents are near duplicates."
    )
    substring_characters: Count = Field(
        default=200, description="Passages of at least this many characters that repeat are taken out."
    )
    out_format: Literal["jsonl", "parquet"] = Field(
        default="jsonl", description="Format of the kept documents: jsonl (compressed by gzip) or parquet."
    )
    shard_size: Count = Field(default=256_000_000, description="Bytes of text in a file of kept documents.")
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Seed of the sample the reference model learns from."
    )

    @pydantic.model_validator(mode="after")
    def _check(self) -> CleanConfig:
        groups = self.groups
        for name in with_bounds(self.thresholds):
            if name in self.thresholds and RULES[name].group not in groups:
                raise ValueError(f"the bounds of {name} have no effect without the rules {RULES[name].group!r}")
        for setting, group in _PARTNERS.items():
            if getattr(self, setting) != type(self).model_fields[setting].default and group not in groups:
                raise ValueError(f"{setting} has no effect without the rules {group!r}; add them to rules")
        for kind in self.privacy:
            if kind not in KINDS:
                raise unknown_name("kind of personal data", kind, KINDS)
        for setting, group in (("block", "block"), ("against", "contamination")):
            if group in groups_of(self.rules) and "all" not in self.rules and not getattr(self, setting):
                raise ValueError(f"the rules {group!r} have no effect without {setting}; say which")
        return self

    @property
    def reading(self) -> Reading:
        """How the files are read."""
        return Reading(self.text_field, self.separator, self.format, self.map, self.encoding, self.on_bad_row)

    @property
    def groups(self) -> frozenset[str]:
        """The groups that are on: those named by `rules`, and those that a setting of their own calls for."""
        called = {
            group
            for group, value in (("language", self.language), ("block", self.block), ("contamination", self.against))
            if value
        }
        return groups_of(self.rules) | called

    @property
    def active(self) -> dict[str, Rule]:
        """The rules that documents are held to, with their bounds: of the groups that are on, those that can ever fail."""
        groups = self.groups
        idle = {
            *(() if self.language else ("language_is",)),
            *(() if "drop" in self.actions.values() else ("personal_data",)),
            *(() if self.hidden == "drop" else ("hidden_characters",)),
            *(() if self.block else ("blocked",)),
            *(() if self.against else ("contamination",)),
        }
        rules = with_bounds(self.thresholds).items()
        return {name: rule for name, rule in rules if rule.group in groups and name not in idle}

    @property
    def actions(self) -> dict[str, Action]:
        """What is done about each kind. Addresses of computers are only reported: `3.1.4.1` may be a section."""
        usual: dict[str, Action] = {kind: "report" if kind == "ip" else "mask" for kind in KINDS}
        return usual | self.privacy
