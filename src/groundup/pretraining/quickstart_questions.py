"""Questions and answers from the documentation that every Python carries: what the quickstart's model learns to answer by.

The one idea: the first sentence of a docstring answers "What does os.path.join do?". Every public module, class, function and
method of the standard library, and of the built-in types, gives one question in two of several phrasings. Whole names are held out,
so that a held-out question was never answered in training in any phrasing: what can be measured on them is whether the model
learned the form of an answer and where to stop, not what it knows.

As with the text, sources are parsed and never imported, and the same Python gives the same bytes.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import json
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.files import folder_written_atomically
from groundup.pretraining.quickstart_text import library_sources, plain_docstring, plain_prose

TRAIN, HELD_OUT = "train.jsonl", "held-out.jsonl"
SHORTEST_ANSWER, LONGEST_ANSWER = 15, 160  # characters
HELD_OUT_SHARE = 0.04
PHRASINGS_EACH = 2
ALWAYS_LEARNED = "os.path.join"  # the question people are told to try

PHRASINGS = {
    "function": (
        "What does {} do?",
        "What is {} for?",
        "Tell me what {} does.",
        "Explain {} in one sentence.",
        "what does {} do",
        "How would you describe {}?",
    ),
    "class": (
        "What is {}?",
        "What is the class {} for?",
        "Explain the class {} in one sentence.",
        "what is {}",
        "How would you describe {}?",
    ),
    "module": (
        "What is the {} module?",
        "What is {} for?",
        "What does the module {} offer?",
        "Tell me about the {} module.",
        "what is {}",
    ),
}

# So that an ordinary word gets an ordinary answer; said often enough to be learned.
SMALL_TALK = (
    (("Hello!", "Hi", "hello", "Good morning!"), "Hello! Ask me what something in Python does."),
    (
        ("Who are you?", "What are you?", "who are you", "What is your name?"),
        "I am a small language model that read the documentation of this Python.",
    ),
    (
        ("What can you do?", "Help", "What can I ask you?", "help me"),
        "Ask me about a name in Python, such as os.path.join, and I answer in one sentence.",
    ),
    (("Thank you!", "Thanks", "thanks", "Goodbye!"), "You are welcome."),
)
SMALL_TALK_TIMES = 30

_SENTENCE = re.compile(r".+?(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)[.!?](?=\s|$)")
_PUBLIC_NAME = {"posixpath": "os.path"}
_SAME_AS_ANOTHER = {"ntpath", "macpath"}  # os.path of other systems


@dataclass(frozen=True)
class Explained:
    """A public name, what it is (function, class, module) and the first sentence about it."""

    name: str
    kind: str
    sentence: str


@dataclass(frozen=True)
class QuickstartQuestions:
    """What `write_quickstart_questions` wrote."""

    folder: Path
    n_names: int
    n_train: int
    n_held_out: int

    def __str__(self) -> str:
        return (
            f"{self.n_train:,} questions about {self.n_names:,} names of this Python, answered by their documentation; "
            f"{self.n_held_out:,} about other names are held out"
        )


def write_quickstart_questions(folder: str | Path) -> QuickstartQuestions:
    """Write `train.jsonl` and `held-out.jsonl` into `folder`: conversations of a question and its answer.

    Raises `GroundupError` when this Python carries no documentation.
    """
    explained = list(explained_names())
    if not explained:
        raise GroundupError(
            "this Python carries no docstrings (run with -OO, or slimmed down), so there is nothing to ask about; "
            "use another Python"
        )
    held_out = [one for one in explained if _is_held_out(one.name)]
    learned = [one for one in explained if not _is_held_out(one.name)]
    train = [(question, one.sentence) for one in learned for question in _questions(one)[:PHRASINGS_EACH]]
    train += [pair for questions, answer in SMALL_TALK for pair in [(q, answer) for q in questions] * SMALL_TALK_TIMES]
    asked = [(question_about(one), one.sentence) for one in held_out]
    with folder_written_atomically(folder) as place:
        for name, pairs in ((TRAIN, train), (HELD_OUT, asked)):
            lines = (json.dumps(_conversation(*pair), ensure_ascii=False) + "\n" for pair in pairs)
            (place / name).write_text("".join(lines), encoding="utf-8")
    return QuickstartQuestions(Path(folder), len(learned), len(train), len(asked))


def explained_names() -> Iterator[Explained]:
    """Every public name whose documentation begins with a sentence: the built-in ones, then the library's; each once."""
    seen: set[str] = set()
    for one in (*_built_in_names(), *_library_names()):
        if one.name not in seen:
            seen.add(one.name)
            yield one


def first_sentence(text: str) -> str | None:
    """The first sentence of a documentation, on one line; None when it does not begin with a fitting one."""
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    found = _SENTENCE.match(paragraph)
    sentence = found[0] if found else f"{paragraph.rstrip(':;, ')}."
    fits = SHORTEST_ANSWER <= len(sentence) <= LONGEST_ANSWER and sentence[:1].isupper() and " " in sentence
    return sentence if fits else None


def _library_names() -> Iterator[Explained]:
    for module, path in library_sources(Path(sysconfig.get_path("stdlib"))):
        if module in _SAME_AS_ANOTHER:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        yield from _members(tree, _PUBLIC_NAME.get(module, module), "module")


def _members(node: ast.Module | ast.ClassDef, name: str, kind: str) -> Iterator[Explained]:
    yield from _explained(name, kind, plain_docstring(node))
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _members(child, f"{name}.{child.name}", "class")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield from _explained(f"{name}.{child.name}", "function", plain_docstring(child))


def _built_in_names() -> Iterator[Explained]:
    """Functions and types that need no import, and the methods of the types; they are in memory already."""
    for name, value in sorted(vars(builtins).items()):
        if name.startswith("_") or not callable(value) or getattr(value, "__module__", None) != "builtins":
            continue
        yield from _explained(name, "class" if isinstance(value, type) else "function", _documentation(value))
        if isinstance(value, type) and not issubclass(value, BaseException):
            for method, function in sorted(vars(value).items()):
                if not method.startswith("_"):
                    yield from _explained(f"{name}.{method}", "function", _documentation(function))


def _documentation(value: object) -> str | None:
    docstring = inspect.getdoc(value)
    return None if docstring is None else plain_prose(docstring)


def _explained(name: str, kind: str, text: str | None) -> Iterator[Explained]:
    if text and (sentence := first_sentence(text)):
        yield Explained(name, kind, sentence)


def question_about(one: Explained) -> str:
    """The first of the phrasings of this name."""
    return _questions(one)[0]


def _questions(one: Explained) -> list[str]:
    """All phrasings, in an order of this name's own."""
    phrasings = PHRASINGS[one.kind]
    first = _hash(f"phrasing {one.name}") % len(phrasings)
    return [phrasing.format(one.name) for phrasing in (*phrasings[first:], *phrasings[:first])]


def _is_held_out(name: str) -> bool:
    return name != ALWAYS_LEARNED and _hash(f"held out {name}") % 1000 < 1000 * HELD_OUT_SHARE


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def _conversation(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
