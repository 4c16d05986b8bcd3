"""Other people's templates run in a cage: Jinja without files, without the insides of Python, and without endless work.

A chat template is a program that comes with a model, so it is given plain JSON values and a few harmless names. The dialect is
the one published templates are written for (the settings, filters and functions `transformers` gives them: trimmed blocks,
`break` and `continue`, `tojson` that leaves HTML alone, `raise_exception`, `strftime_now`, `{% generation %}`). Against hostile
ones: every turn of a loop, every call and every character that is made is counted, and a rendering may take so many.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import Template, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

# A `{% generation %}` block's text stands between these two. Halves of surrogate pairs are in no text (disguise.py).
GENERATION_BEGIN, GENERATION_END = "\udcfe", "\udcff"

_MOST_STEPS = 500_000  # turns of loops and calls in one rendering: a thousand messages take some ten thousand
_MOST_CHARACTERS = 1 << 26  # made in one rendering, written or not: a long conversation has some hundred thousand
_WIDENING = frozenset(("center", "ljust", "rjust", "zfill", "expandtabs"))  # methods that make text of any length
# In formats: a width beyond four digits, or one that is taken from a value.
_WIDE_PERCENT = re.compile(r"%[-#0 +\d.]*(?:\*|\d{5})")
_WIDE_FIELD = re.compile(r"\{[^{}]*:[^{}]*(?:\d{5}|\{)")


class TemplateRefusal(TemplateError):
    """What a template says by `raise_exception`."""


class _Budget(threading.local):
    steps = characters = 0


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**", "%", "+"))

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self.budget = _Budget()
        for name in ("center", "random"):  # makes text of any length; is another at every rendering
            del self.filters[name]
        del self.globals["lipsum"]
        self.filters |= {"tojson": _to_json, "format": self._format, "indent": _bounded(self.filters["indent"])}
        self.filters = {name: self._counted(name, function) for name, function in self.filters.items()}
        self.globals |= {"dict": _Dict(), "namespace": _Namespace, "raise_exception": _refuse}

    def count(self, steps: int = 1) -> None:
        """Called at every turn of a loop and every call."""
        self.budget.steps += steps
        if self.budget.steps > _MOST_STEPS:
            raise SecurityError(f"it takes more than {_MOST_STEPS:,} steps")

    def made(self, n: int) -> None:
        """Count characters (or items of a list) that are made, or are about to be."""
        self.budget.characters += n
        if self.budget.characters > _MOST_CHARACTERS:
            raise SecurityError(f"it makes more than {_MOST_CHARACTERS:,} characters")

    def written(self, value: Any) -> str:
        """What `{{ value }}` writes."""
        self._walk(value)
        text = str(value)
        self.made(len(text))
        return text

    def joined(self, *values: Any) -> str:
        """What `a ~ b` makes."""
        return "".join(map(self.written, values))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.count()
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            self._before(getattr(obj, "__name__", ""), owner, args)
        result = super().call(context, obj, *args, **kwargs)
        if isinstance(result, str | list) and owner is not self:
            self.made(len(result))
        return result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("powers are not allowed in a template")
        if operator == "%" and isinstance(left, str) and _WIDE_PERCENT.search(left):
            raise SecurityError("it formats with a width that is not small")
        for sequence, times in ((left, right), (right, left)):
            if operator == "*" and isinstance(sequence, str | list | tuple) and isinstance(times, int):
                self.made(len(sequence) * times)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, str | list | tuple):
            self.made(len(result))
        return result

    def _walk(self, value: Any) -> None:
        """Count the parts of a nested value, one that is in several places as often: so much would be written of it."""
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            self.count(len(value))
            for item in value:
                self._walk(item)

    def _before(self, name: str, text: Any, args: tuple[Any, ...]) -> None:
        """Count what replacing and joining, which may square a length, will make."""
        if name == "replace" and len(args) > 1 and all(isinstance(each, str) for each in (text, *args[:2])):
            self.made(text.count(args[0]) * len(args[1]))
        if name == "join" and args and isinstance(args[0], list | tuple):
            self._walk(args[0])
            self.made(sum(len(str(item)) + len(str(text)) for item in args[0]))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        n_passed = 1 if getattr(function, "jinja_pass_arg", None) else 0  # Jinja's own things come first

        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            passed, given = args[:n_passed], args[n_passed:]
            if name == "join" and not isinstance(given[0], Undefined):
                given = ([*given[0]], *given[1:])  # it may be a generator, which is read once
                self._before(name, given[1] if len(given) > 1 else kwargs.get("d", ""), given[:1])
            if name in ("tojson", "string", "pprint", "urlencode", "xmlattr"):
                self._walk(given[0])
            if name == "replace":
                self._before(name, str(given[0]), given[1:])
            result = function(*passed, *given, **kwargs)
            if isinstance(result, str | list):
                self.made(len(result))
            return result

        return counted

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            if _WIDE_FIELD.search(value.__self__.replace("{{", "")):
                raise SecurityError("it formats with a width that is not small")
            return wrapped(*args, **kwargs)

        return checked

    def _format(self, value: str, *args: Any, **kwargs: Any) -> str:
        return self.call_binop(None, "%", str(value), kwargs or args)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr in _WIDENING and isinstance(obj, str):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        # A loop inside a loop needs no call, so each body begins with one of ours.
        for loop in list(source.find_all((nodes.For, nodes.Macro))):
            loop.body.insert(0, nodes.ExprStmt(self._asked("count", []), lineno=loop.lineno))
        # What is written may be kept (`{% set %}` blocks, macros) and written again, so it is counted where it is made.
        for output in list(source.find_all(nodes.Output)):
            output.nodes = [
                part if isinstance(part, nodes.TemplateData) else self._asked("written", [part])
                for part in output.nodes
            ]
        for concat in list(source.find_all(nodes.Concat)):
            concat.nodes = [self._asked("joined", concat.nodes)]
        source.set_environment(self)
        return super()._generate(source, name, filename, defer_init)

    def _asked(self, name: str, arguments: list[nodes.Expr]) -> nodes.Call:
        return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`: what the assistant wrote, by the template's own word."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return f"{GENERATION_BEGIN}{caller()}{GENERATION_END}"


class _Namespace(Namespace):
    """What `namespace()` makes; names that begin with an underscore are Python's own and not a template's."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        for name in dict(*args[1:], **kwargs):
            _check_name(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


class _Dict:
    """What `dict` is in a template: it makes dictionaries and is no way to Python's types."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


def _check_name(name: object) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"it sets {name!r} on a namespace")


def _refuse(message: object) -> None:
    raise TemplateRefusal(str(message))


def _bounded(indent: Callable[..., str]) -> Callable[..., str]:
    def bounded(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
        if isinstance(width, int) and width > 1000:
            raise SecurityError(f"it indents by {width}")
        return indent(s, width, first, blank)

    return bounded


# A letter's disguise (disguise.py) that was written as an escape: not the second half of a pair, not after a backslash.
_ESCAPED = re.compile(r"(?<!\\)(?<!\\ud[89ab][0-9a-f][0-9a-f])\\u(dc[0-9a-f]{2})")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(indent, int) and indent > 100:
        raise SecurityError(f"it indents JSON by {indent}")
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if ensure_ascii else text


_ENVIRONMENT = _Environment()


@lru_cache(maxsize=16)
def compiled(source: str) -> Template:
    """A template ready to run. Raises jinja2's `TemplateSyntaxError`, which knows the line."""
    return _ENVIRONMENT.from_string(source)


def run(source: str, values: Mapping[str, Any], now: datetime) -> str:
    """What a template writes for `values`. Raises `TemplateRefusal` with its own words, or whatever else went wrong in it."""
    template = compiled(source)
    _ENVIRONMENT.budget.steps = _ENVIRONMENT.budget.characters = 0
    return template.render(**values, strftime_now=now.strftime)
