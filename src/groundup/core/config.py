"""Configuration: one frozen tree that is the YAML file, the command-line flags and the Python arguments.

Each setting is a field of a `Config` with a type, a default and a description; the description is the help text of the
flag. Unknown keys are refused with the nearest name, and every problem is told in one message.
"""

from __future__ import annotations

import re
import typing
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import yaml

from groundup.core.errors import GroundupError, nearest
from groundup.core.files import write_atomically

C = TypeVar("C", bound="Config")


def parse_duration(value: Any) -> Any:
    """Seconds from `90`, `"90s"`, `"10m"`, `"1h30m"` or `"2d"`; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{value!r} is not a duration; write 90s, 10m, 1h30m or 2d") from None


def parse_count(value: Any) -> Any:
    """A whole number from `5000`, `"20k"`, `"1.5M"` or `"2B"`; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", value.strip().lower().replace("_", "").replace(",", ""))
    if not found:
        raise ValueError(f"{value!r} is not a count; write 5000, 20k, 1.5M or 2B")
    count = Decimal(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}[found[2]]
    if count != int(count):
        raise ValueError(f"{value!r} is not a whole number")
    return int(count)


Seconds = Annotated[float, pydantic.BeforeValidator(parse_duration), pydantic.Field(gt=0, allow_inf_nan=False)]
"""A duration in seconds that people may write as `10m`."""

Count = Annotated[int, pydantic.BeforeValidator(parse_count), pydantic.Field(gt=0, le=10**15)]
"""A positive whole number that people may write as `1.5M`."""


class Config(pydantic.BaseModel):
    """Base of every configuration: frozen, unknown keys refused, all problems in one error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def build(cls: type[C], values: dict[str, Any], source: str = "the settings") -> C:
        """Check `values` and make the configuration.

        Raises `GroundupError` listing every problem; `source` names where the values came from.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            problems = [_problem(cls, item) for item in error.errors()]
            raise GroundupError(f"{source}: " + "; ".join(problems)) from None

    @classmethod
    def read(cls: type[C], path: str | Path, **overrides: Any) -> C:
        """Read a YAML file; `overrides` that are not None win over it."""
        return cls.build(read_yaml(path) | {k: v for k, v in overrides.items() if v is not None}, source=str(path))

    def write(self, path: str | Path) -> None:
        """Write the tree as YAML, atomically, so that `read` gives it back."""
        values = self.model_dump(mode="json")
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        if yaml.safe_load(text) != values:  # a few characters (U+0085 among them) survive only as escapes
            text = yaml.safe_dump(values, sort_keys=False, allow_unicode=False)
        write_atomically(path, text)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise GroundupError(f"config file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GroundupError(f"config file {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise GroundupError(f"config file {path} is not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise GroundupError(f"config file {path} holds a {type(values).__name__}; it must hold `setting: value` lines")
    return values


class _Loader(yaml.SafeLoader):
    """The safe loader, which would let the last of two equal keys win, made to refuse them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is set twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _problem(cls: type[Config], item: Any) -> str:
    """One pydantic problem as a sentence that names the setting, the value and the way out."""
    name = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        guess = nearest(str(item["loc"][-1]), _settings_at(cls, item["loc"][:-1]))
        return f"unknown setting {name!r}" + (f", did you mean {guess!r}?" if guess else "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{name} is required"
    if item["type"] == "value_error":
        return message if item["loc"] == () else f"{name}: {message}"
    return f"{name} is {item['input']!r}: {message[0].lower() + message[1:]}"


def _settings_at(cls: type[Config], loc: tuple[int | str, ...]) -> list[str]:
    """The names of the settings inside the nested configuration that `loc` leads to."""
    for part in loc:
        annotation = cls.model_fields[part].annotation if part in cls.model_fields else None
        kinds = [annotation, *typing.get_args(annotation)]
        cls = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Config)), Config)
    return list(cls.model_fields)
