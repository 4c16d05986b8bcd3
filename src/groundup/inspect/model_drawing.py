"""A model as a drawing: the stream from the tokens down to the scores, and what reads from it and adds to it.

The one idea: the residual stream is the backbone (Elhage et al. 2021, "A Mathematical Framework for Transformer
Circuits", section "High-Level Architecture"): one line from top to bottom, parts to the side of it. Kinds of blocks that
differ are drawn once each, and a dashed arrow says that more lies between two parts than was seen. Plain SVG in the page's
own colours.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from groundup.inspect.block_structure import Step, block_structure
from groundup.inspect.model_tree import Node, alike, model_tree, numbers
from groundup.inspect.page import COLOURS, escape, readable_count
from groundup.models.base import LanguageModel
from groundup.models.layers.attention import Attend

_STREAM, _FIRST, _WIDTH, _GAP = 56, 118, 236, 34  # the stream's x, the first box's, a box's width, between boxes
_LINE, _HEAD = 17, 26  # heights of a line in a box and of its title
_MOST_LINES, _IN_A_ROW = 9, 3  # lines in a box, boxes beside each other
_BLUE, _ORANGE, _GREEN = COLOURS[0], COLOURS[1], COLOURS[2]


class _Drawing:
    """Shapes so far, and how far down and to the right they reach."""

    def __init__(self) -> None:
        self.shapes: list[str] = []
        self.y = 0.0
        self.width = float(_FIRST + _WIDTH)

    def line(self, *points: tuple[float, float], arrow: bool = False, is_dashed: bool = False) -> None:
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        marker = (' stroke-dasharray="3 3"' if is_dashed else "") + (' marker-end="url(#arrow)"' if arrow else "")
        self.shapes.append(f'<path d="M{path}" fill="none" stroke="currentColor" stroke-opacity=".55"{marker}/>')

    def text(self, x: float, y: float, words: str, *, style: str = "") -> None:
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>')

    def box(self, x: float, y: float, title: str, lines: Sequence[str], colour: str, aside: str = "") -> float:
        """A box with its title and lines; gives its height."""
        height = _HEAD + _LINE * len(lines) + (6 if lines else 0)
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{height:g}" rx="7" fill="{colour}" fill-opacity=".13" '
            f'stroke="{colour}" stroke-opacity=".7"/>'
        )
        self.text(x + 10, y + 18, title, style='font-weight="600"')
        self.text(x + _WIDTH - 10, y + 18, aside, style='text-anchor="end" opacity=".65" font-size="11"')
        for number, words in enumerate(lines):
            self.text(x + 10, y + _HEAD + 10 + _LINE * number, words, style='font-size="11.5" opacity=".85"')
        self.width = max(self.width, x + _WIDTH)
        return height

    def label(self, words: str) -> None:
        """Words at the stream, at its ends."""
        self.text(_STREAM, self.y + 14, words, style='text-anchor="middle" font-weight="600"')
        self.y += 24

    def on_stream(self, node: Node, colour: str) -> None:
        """A part the stream goes through."""
        self.line((_STREAM, self.y), (_STREAM, self.y + 16), (_FIRST, self.y + 16), arrow=True)
        height = self.box(_FIRST, self.y, node.name, _lines(node), colour, _count(node))
        self.line((_FIRST, self.y + height - 8), (_STREAM, self.y + height - 8), (_STREAM, self.y + height + 14))
        self.y += height + 14

    def beside_stream(self, node: Node, colour: str) -> None:
        """A part that reads nothing of the stream and is added to it."""
        height = self.box(_FIRST, self.y, node.name, _lines(node), colour, _count(node))
        middle = self.y + height / 2
        self.line((_STREAM, self.y), (_STREAM, self.y + height + 14))
        self.line((_FIRST, middle), (_STREAM + 9, middle), arrow=True)
        self.add(middle)
        self.y += height + 14

    def add(self, y: float) -> None:
        """The sign of a sum on the stream."""
        self.shapes.append(
            f'<circle cx="{_STREAM}" cy="{y:g}" r="8" fill="var(--paper, white)" stroke="currentColor"/>'
            f'<path d="M{_STREAM - 4.5} {y:g} h9 M{_STREAM} {y - 4.5:g} v9" stroke="currentColor"/>'
        )

    def svg(self, title: str) -> str:
        width, height = self.width + 22, self.y + 8
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'style="max-width: {width:g}px" font-family="system-ui, sans-serif" font-size="13" fill="currentColor">'
            f"<title>{escape(title)}</title>"
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="currentColor" fill-opacity=".7"/></marker></defs>'
            f"{''.join(self.shapes)}</svg>"
        )


def model_drawing(model: LanguageModel) -> str:
    """The model as an `<svg>` element: every part with the shapes of its weights, each kind of block once."""
    tree, drawing = model_tree(model), _Drawing()
    blocks = model.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    kinds = {f"blocks.{numbers(indices)}": indices for indices in alike(blocks)}
    drawing.label("tokens")
    for node in tree.children:
        if node.name in kinds:
            first = kinds[node.name][0]
            _draw_block(drawing, node, blocks[first], block_structure(model, first))
        elif node.name == "position_embedding":
            drawing.beside_stream(node, _GREEN)
        else:
            drawing.on_stream(node, _GREEN if "embedding" in node.name or node.name == "head" else "#888888")
    if model.head is None:
        drawing.on_stream(Node("head", "the weight of token_embedding", None, 1, 0), _GREEN)
    drawing.label(f"{model.config.vocab_size:,} scores")
    return drawing.svg(f"{tree.name}: from tokens to scores")


def _draw_block(drawing: _Drawing, node: Node, block: nn.Module, steps: list[Step] | None) -> None:
    """A frame with the steps of one block, and how many there are of its kind."""
    parts = {name: Node(name, type(part).__name__, None, node.n_copies, 0) for name, part in block.named_children()}
    parts |= {child.name: child for child in node.children if child.shape is None}
    colours = {name: _colour(name, part) for name, part in block.named_children()}
    drawn = {name for step in steps or () for chain in step.branches for name in chain}
    besides = [child for child in node.children if child.name not in drawn] if steps else []
    top, place = drawing.y, len(drawing.shapes)
    times = f"{node.n_copies} blocks built alike, one after another" if node.n_copies > 1 else "one block"
    drawing.text(_FIRST, top + 22, f"{node.name}: {times}", style='font-weight="600"')
    drawing.line((_STREAM, top), (_STREAM, top + 36))
    drawing.y += 36
    notes = [f"at work inside: {', '.join(f'{child.name} {_shapes(child)}' for child in besides)}"] if besides else []
    if steps is None:
        notes.append("how these parts are joined cannot be seen from outside")
        steps = [Step(((child.name,),), is_added=False) for child in node.children if child.shape is None]
    for words in notes:
        drawing.line((_STREAM, drawing.y), (_STREAM, drawing.y + 22))
        drawing.text(_FIRST, drawing.y + 10, words, style='opacity=".65"')
        drawing.y += 22
    for step in steps:
        ends = [_draw_chain(drawing, [parts[name] for name in chain], colours, step.loose) for chain in step.branches]
        bottom, rail = drawing.y + 8, drawing.width + 12
        for x, y in ends:
            # Side by side, they leave to the right, past those below.
            out = [(x, y)] if len(ends) == 1 else [(x + _WIDTH / 2, y - 14), (rail, y - 14)]
            drawing.line(
                *out, (out[-1][0], bottom), (_STREAM + (9 if step.is_added else 0), bottom), arrow=step.is_added
            )
        drawing.line((_STREAM, drawing.y), (_STREAM, bottom + 22))
        if step.is_added:
            drawing.add(bottom)
        if len(ends) > 1:
            drawing.width = rail
        drawing.y = bottom + 22
    frame = (
        f'<rect x="14" y="{top + 4:g}" width="{drawing.width - 4:g}" height="{drawing.y - top - 10:g}" rx="10" '
        'fill="var(--card, #f5f6f6)" stroke="currentColor" stroke-opacity=".25"/>'
    )
    drawing.shapes.insert(place, frame)


def _draw_chain(
    drawing: _Drawing, chain: list[Node], colours: dict[str, str], loose: frozenset[str]
) -> tuple[float, float]:
    """Parts that follow each other, some in a row; gives the lower middle of the last one."""
    drawing.line((_STREAM, drawing.y + 16), (_FIRST, drawing.y + 16), arrow=True)
    end = (0.0, 0.0)
    for start in range(0, len(chain), _IN_A_ROW):
        y, tallest = drawing.y, 0.0
        for column, part in enumerate(chain[start : start + _IN_A_ROW]):
            x = float(_FIRST + column * (_WIDTH + _GAP))
            is_loose = part.name in loose
            if column:
                drawing.line((x - _GAP, y + 16), (x, y + 16), arrow=True, is_dashed=is_loose)
            elif start:
                drawing.line(end, (end[0], y - 8), (x + 20, y - 8), (x + 20, y), arrow=True, is_dashed=is_loose)
            height = drawing.box(x, y, part.name, _lines(part), colours[part.name], _count(part))
            end, tallest = (x + _WIDTH / 2, y + height), max(tallest, height)
        drawing.y = y + tallest + 16
        drawing.line((_STREAM, y), (_STREAM, drawing.y))
    return end


def _colour(name: str, part: nn.Module) -> str:
    if any(isinstance(module, Attend) for module in part.modules()):
        return _BLUE
    return "#888888" if "norm" in name else _ORANGE


def _lines(node: Node) -> list[str]:
    """What a part is made of: a line for each weight or layer of it, with its shape; its kind when it has no weights."""
    lines = [f"{child.name}  {_shapes(child)}" for child in node.children] or [node.kind]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"and {len(lines) - _MOST_LINES + 1} more"]
    return [*lines, node.note] if node.note else lines


def _shapes(node: Node) -> str:
    """The shape of a weight, of a layer's weight and bias, or how many parameters a larger part has."""
    if node.shape is not None:
        return shape_text(node)
    if all(child.shape is not None for child in node.children):
        return shape_text(*node.children)
    return readable_count(node.n_parameters / node.n_copies)


def shape_text(*parameters: Node) -> str:
    """`384 × 128` of a weight, `384 × 128 + 384` of a weight and its bias."""
    return " + ".join(" × ".join(f"{n:,}" for n in node.shape or ()) for node in parameters)


def _count(node: Node) -> str:
    """The parameters of one copy."""
    return readable_count(node.n_parameters / node.n_copies) if node.n_parameters else ""
