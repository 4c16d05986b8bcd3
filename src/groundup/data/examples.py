"""Examples: conversations as ids with a mask of what is learned, made once, then read from disk.

The one idea: what cannot be learned from is refused while the examples are made, with its file and line: an order of roles that no
conversation has, an answer that does not fit the context, nothing to learn, what the template refuses. Refusals are counted by
reason, and more than a small share of them is an error, never a smaller training.

A folder holds `tokens.bin` (int32), `trained.bin` (a byte each), `offsets.bin` (int64, one more than examples) and the manifest,
which names the key of what it was made from. In training an example of n tokens is n - 1 positions: each but the last is an input,
each but the first a label if it is trained. Examples packed into a row never see each other, and positions restart.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np

from groundup.chat.errors import CannotRender
from groundup.chat.renderer import Rendered, Renderer
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import folder_written_atomically, read_json, sha256_of, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.data.packing import packed, rooms_of
from groundup.data.reading_records import Records
from groundup.data.records import Conversation, Messages, place_of
from groundup.data.remarks import Remarks, reject_row
from groundup.data.windows import IGNORED_LABEL

ExamplePacking = Literal["best-fit", "none"]
EXAMPLE_PACKINGS: tuple[str, ...] = get_args(ExamplePacking)
MAX_REJECTED = 0.05  # of the rows; more is hardly chance but a wrong template, context or file

_FORMAT, _VERSION = "groundup examples", 1
_FILES = {"tokens": np.dtype("<i4"), "trained": np.dtype("?"), "offsets": np.dtype("<i8")}
_MAY_FOLLOW = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "calling": ("tool",),
    "tool": ("tool", "assistant"),
}


class Examples:
    """Examples in a folder, memory-mapped. `manifest` has what was counted while they were made."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.tokens, self.trained, self.offsets = (
            _mapped(folder / f"{name}.bin", kind) for name, kind in _FILES.items()
        )
        if len(self.offsets) != len(self) + 1 or not len(self.tokens) == len(self.trained) == self.offsets[-1]:
            raise GroundupError(f"the examples in {folder} are damaged; delete the folder, they are made again")

    @classmethod
    def open(cls, folder: str | Path, key: str | None = None) -> Examples:
        """Open examples. Raises `GroundupError` when there are none, or (with `key`) none of this key."""
        folder = Path(folder)
        if not (folder / "manifest.json").is_file():
            raise GroundupError(f"there are no examples in {folder}")
        manifest = read_json(folder / "manifest.json")
        if manifest.get("format") != _FORMAT or manifest.get("version") != _VERSION:
            raise GroundupError(
                f"{folder} holds no examples that this program reads; delete the folder, they are made again"
            )
        if key is not None and manifest["key"] != key:
            raise GroundupError(
                f"the examples in {folder} were made of other data, or by another template, tokenizer or context; make them again"
            )
        return cls(folder, manifest)

    def __len__(self) -> int:
        return self.manifest["n_examples"]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, int64 [n]."""
        return np.diff(self.offsets)

    @property
    def eos_id(self) -> int:
        """The id that fills empty room; any would do, since labels and lengths say what is empty."""
        return self.manifest["fill_id"]

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, trained) of one example."""
        here = slice(self.offsets[index], self.offsets[index + 1])
        return self.tokens[here], self.trained[here]

    def summary(self) -> list[str]:
        """What was made and what was refused, a line each."""
        m = self.manifest
        share = m["n_trained"] / max(1, m["n_tokens"])
        lines = [
            f"{m['n_examples']:,} examples of {m['n_conversations']:,} conversations, {m['n_tokens']:,} tokens, {share:.1%} trained"
        ]
        if m["n_cut"]:
            lines.append(f"{m['n_cut']:,} cut after the last answer that fits {m['context_length']:,} positions")
        return lines + [f"rejected: {count:,} x {reason}" for reason, count in m["rejected"].items()]


class ExampleWriter:
    """Takes examples one by one; memory grows by 8 bytes for each. Made by `writing_examples`."""

    def __init__(self, tokens: BinaryIO, trained: BinaryIO) -> None:
        self._tokens, self._trained = tokens, trained
        self.offsets = array("q", [0])
        self.n_trained = 0

    def add(self, ids: Sequence[int], trained: Sequence[bool]) -> None:
        """Add one example."""
        assert len(ids) == len(trained) >= 2, (len(ids), len(trained))
        self._tokens.write(np.array(ids, _FILES["tokens"]).tobytes())
        self._trained.write(np.array(trained, _FILES["trained"]).tobytes())
        self.offsets.append(self.offsets[-1] + len(ids))
        self.n_trained += sum(trained[1:])


@contextmanager
def writing_examples(folder: str | Path, manifest: dict[str, Any]) -> Iterator[ExampleWriter]:
    """Give a writer; the folder appears, whole, when the block ends. `manifest` is written as it is then."""
    with folder_written_atomically(folder) as temporary:
        with open(temporary / "tokens.bin", "wb") as tokens, open(temporary / "trained.bin", "wb") as trained:
            writer = ExampleWriter(tokens, trained)
            yield writer
        np.frombuffer(writer.offsets, np.int64).astype(_FILES["offsets"]).tofile(temporary / "offsets.bin")
        counts = {"n_examples": len(writer.offsets) - 1, "n_tokens": writer.offsets[-1], "n_trained": writer.n_trained}
        write_json(temporary / "manifest.json", {"format": _FORMAT, "version": _VERSION, **counts, **manifest})


def examples_key(files: Iterable[str | Path], renderer: Renderer, context_length: int, **settings: Any) -> str:
    """The key of examples made of these files' contents, in this order, by this renderer; `settings` are whatever else decides."""
    made_of = {
        "files": [sha256_of(path) for path in files],
        "template": renderer.template.source,
        "tokenizer": renderer.tokenizer.sha256,
        "now": renderer.now.isoformat(),
        "context_length": context_length,
        **settings,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


def make_examples(
    conversations: Iterable[Conversation],
    renderer: Renderer,
    folder: str | Path,
    *,
    context_length: int,
    key: str = "",
    max_rejected: float = MAX_REJECTED,
    total: int | None = None,
    reporter: Reporter = QUIET,
) -> Examples:
    """Render conversations, one after the other, into `folder`, and open it.

    `total` is their number, for the progress bar. Raises `GroundupError` when the template cannot be trained with, when more
    than the share `max_rejected` of the rows is refused (those that reading refused count too), and when nothing is left.
    """
    renderer.check()
    if context_length < 1:
        raise GroundupError(f"context_length is {context_length}; it must be at least 1")
    fill = next((id for id in (renderer.tokenizer.pad_id, renderer.tokenizer.eos_id) if id is not None), 0)
    manifest: dict[str, Any] = {"key": key, "context_length": context_length, "fill_id": fill}
    remarks, n, n_cut = Remarks(), 0, 0
    with writing_examples(folder, manifest) as writer, reporter.bar("rendering conversations", total or 0) as bar:
        for conversation in conversations:
            n += 1
            try:
                found = rendered_examples(conversation, renderer, context_length)
            except CannotRender as refused:
                reject_row(remarks, place_of(conversation), refused.what, refused.detail, on_bad_row="skip")
                found = []
            for ids, trained, cut in found:
                writer.add(ids, trained)
                n_cut += cut
            bar.advance()
        n_before = 0
        if isinstance(conversations, Records):
            n_before = conversations.n_rejected
            remarks.update({what: count for what, count in conversations.remarks.items() if what.startswith(_REJECTED)})
        rejected = {what.removeprefix(_REJECTED): count for what, count in sorted(remarks.items())}
        _check_share(rejected, remarks.n_rejected + n_before, n + n_before, max_rejected)
        manifest |= {
            "n_conversations": n,
            "n_cut": n_cut,
            "n_rejected": remarks.n_rejected + n_before,
            "rejected": rejected,
        }
    return Examples.open(folder)


_REJECTED = "rows rejected: "
_MOST_REASONS = 5  # in an error; the manifest has them all


def _check_share(rejected: dict[str, int], n_rejected: int, n: int, most: float) -> None:
    if n and n_rejected <= most * n and n_rejected < n:
        return
    if not n:
        raise GroundupError("there is no conversation to learn from")
    counted = sorted(rejected.items(), key=lambda entry: -entry[1])
    reasons = "; ".join(f"{count:,} x {what}" for what, count in counted[:_MOST_REASONS])
    if len(counted) > _MOST_REASONS:
        reasons += f"; and {len(counted) - _MOST_REASONS} other reasons"
    if n_rejected == n:
        raise GroundupError(f"none of the {n:,} conversations can be learned from: {reasons}")
    raise GroundupError(
        f"{n_rejected:,} of {n:,} conversations cannot be learned from, and at most {most:.0%} may be left out: {reasons}. Repair "
        f"them, or allow more with max_rejected (above {n_rejected / n:.2f})"
    )


def learnable(conversation: Conversation, renderer: Renderer) -> list[Rendered]:
    """What a conversation is learned from, whatever its length. Raises `CannotRender` when nothing can be."""
    check_roles(conversation.messages)
    if not any(message["role"] == "assistant" and message.get("weight", 1) for message in conversation.messages):
        raise CannotRender("no answer is to be trained (all have weight 0)")
    found = renderer.renderings(conversation.messages, conversation.tools)
    if not all(any(rendering.trained[1:]) for rendering in found):
        raise CannotRender("the chat template marks nothing as the assistant's")
    return found


def rendered_examples(
    conversation: Conversation, renderer: Renderer, context_length: int
) -> list[tuple[list[int], list[bool], bool]]:
    """(ids, trained, whether it was cut) of each example a conversation gives. Raises `CannotRender`.

    What follows the last answer is left out, and so are answers that do not fit whole, from the first of them on.
    """
    found, refused = [], None
    for rendering in learnable(conversation, renderer):
        try:
            found.append(_fitted(rendering, context_length))
        except CannotRender as error:
            refused = refused or error
    if refused and not found:
        raise refused
    return [*found[:-1], (*found[-1][:2], found[-1][2] or refused is not None)]


def _fitted(rendering: Rendered, context_length: int) -> tuple[list[int], list[bool], bool]:
    answers = [answer for answer in rendering.answers if answer.end <= context_length + 1]
    if not answers:
        raise CannotRender(
            f"the answer does not fit {context_length:,} positions",
            f" (it ends at token {rendering.answers[0].end:,}); give a longer context_length",
        )
    end = answers[-1].end
    return rendering.ids[:end], rendering.trained[:end], len(answers) < len(rendering.answers)


def check_roles(messages: Messages) -> None:
    """Raise `CannotRender` unless a system message comes first or not at all, user and assistant take turns, results follow
    calls and the last message is the assistant's."""
    before = ""
    for number, message in enumerate(messages, 1):
        role = message["role"]
        if role not in _MAY_FOLLOW[before]:
            where = (
                f"after {'an assistant that calls a tool' if before == 'calling' else before}" if before else "first"
            )
            raise CannotRender("the roles are in a wrong order", f": message {number} is of role {role}, {where}")
        before = "calling" if role == "assistant" and message.get("tool_calls") else role
    if before not in ("assistant", "calling"):
        raise CannotRender(
            "the roles are in a wrong order", f": the last message is of role {before or 'none'}, not assistant"
        )


class PackedExamples:
    """Examples as rows of `context_length` positions: several to a row (`best-fit`), or each alone and padded (`none`).

    Raises `GroundupError` for an example that is longer than a row.
    """

    def __init__(self, examples: Examples, context_length: int, packing: str = "best-fit") -> None:
        if packing not in EXAMPLE_PACKINGS:
            raise unknown_name("packing of examples", packing, EXAMPLE_PACKINGS)
        lengths = examples.lengths - 1
        if lengths.max() > context_length:
            raise GroundupError(
                f"the longest example has {lengths.max():,} positions, a row only {context_length:,}; make the examples with "
                f"context_length {context_length}"
            )
        self.examples = examples
        self.packing = packing
        # Alone, no row needs more room than the longest example.
        self.context_length = context_length if packing == "best-fit" else int(lengths.max())
        self.crosses_documents = packing == "best-fit"
        if packing == "best-fit":
            self._order, self._first = packed(lengths, context_length)
        else:
            self._order, self._first = np.arange(len(lengths)), np.arange(len(lengths) + 1)
        self._lengths = lengths[self._order]

    def __len__(self) -> int:
        return len(self._first) - 1

    @property
    def eos_id(self) -> int:
        """The id empty room is filled with."""
        return self.examples.eos_id

    @property
    def tokens_per_row(self) -> float:
        """Positions of a row that are in use, on average."""
        return float(self._lengths.sum()) / len(self)

    @property
    def padding(self) -> float:
        """The share of all positions that is empty."""
        return 1 - self.tokens_per_row / self.context_length

    def in_row(self, index: int) -> list[int]:
        """The numbers of the examples in a row, in order."""
        return self._order[self._first[index] : self._first[index + 1]].tolist()

    def new_targets(self, index: int) -> int:
        """How many of a row's targets no row before it has: all."""
        return self.context_length

    def rows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, labels and document numbers of several rows, each int64 [len(indices), context_length]."""
        piece, room = rooms_of(self._first, self._lengths, indices, self.context_length)
        lengths = self._lengths[piece]
        starts = self.examples.offsets[self._order[piece]]
        places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        inputs = np.full(room.in_use.shape, self.eos_id, np.int64)
        labels = np.full(room.in_use.shape, IGNORED_LABEL, np.int64)
        inputs[room.in_use] = self.examples.tokens[places]
        labels[room.in_use] = np.where(
            self.examples.trained[places + 1], self.examples.tokens[places + 1], IGNORED_LABEL
        )
        return inputs, labels, room.documents


def _mapped(path: Path, kind: np.dtype) -> np.ndarray:
    try:
        n = path.stat().st_size // kind.itemsize
        return np.asarray(np.memmap(path, kind, "r", shape=(n,))) if n else np.empty(0, kind)
    except FileNotFoundError:
        raise GroundupError(f"{path} is missing; delete the folder, it is made again") from None
