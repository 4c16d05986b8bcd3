"""What each head looks at: one small picture a head, rows of layers, columns of heads, and one of them large.

The one idea: attention weights are a table of who reads whom. Row t, column s is how much of what token t gathers comes
from token s; rows sum to one, and nothing is above the diagonal. They come from the plain attention of the model's own
layers (`LanguageModel.attention_weights`), not from the fast path, which never forms them. What a head is for is told by
heads.py.

Shapes: L layers, H heads, T tokens.
"""

from __future__ import annotations

import base64
import json
import re

import torch
from rich.console import Group, RenderableType
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.inspect.heads import NAMED_FROM, HeadFindings, HeadScore, attention_layers, find_heads
from groundup.inspect.page import escape, page, table
from groundup.inspect.terminal import terminal_table, visible
from groundup.inspect.tokens import piece_of
from groundup.models.base import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer

_MOST_TOKENS = 256
_LOOKED_AT = 3  # tokens told of for each token of a chosen head
_MOST_HEADS = 48  # lines in the terminal; of more, those that were named are told

_STYLE = """
.heads { display: grid; gap: .6rem; padding: 3px; } .heads canvas { width: 100%; image-rendering: pixelated; cursor: pointer;
  border: 1px solid var(--line); } .heads .named { outline: 2px solid #d55e00; } .heads .chosen { outline: 2px solid
  var(--accent); } .heads figcaption { min-height: 1.4em; font-size: .75rem; }
#large { display: grid; grid-template-columns: minmax(16rem, 40rem); margin: 1rem 0; } #large svg { cursor: crosshair; }
#large text { font: 10px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: currentColor; }
#large .on { font-weight: 700; fill: var(--accent); } #tell { min-height: 3.2em; }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById('data').textContent);
const bytes = Uint8Array.from(atob(data.weights), c => c.charCodeAt(0));
const T = data.tokens.length, tell = document.getElementById('tell'), large = document.getElementById('large');
const at = (head, t, s) => bytes[(head * T + t) * T + s];
const say = (head, t, s) => {
  const weight = s > t ? 'cannot see' : (100 * at(head, t, s) / 255).toFixed(0) + ' % from';
  tell.textContent = `${data.names[head]}: token ${t} ${data.tokens[t]} ${weight} token ${s} ${data.tokens[s]}`;
};
const svg = (tag, set, inside) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in set) made.setAttribute(name, set[name]);
  if (inside) made.append(...inside);
  return made;
};
const shown = token => token.length > 12 ? token.slice(0, 11) + '…' : token;
function enlarge(head) {
  const cell = Math.max(4, Math.min(26, 620 / T)), labels = cell >= 9;
  const side = labels ? 10 + 6.1 * Math.max(...data.tokens.map(token => shown(token).length)) : 2, size = side + T * cell;
  const cells = [], down = [], across = [];
  for (let t = 0; t < T; t++) for (let s = 0; s <= t; s++) {
    const level = at(head, t, s) / 255;
    const set = {x: side + s * cell, y: side + t * cell, width: cell - .5, height: cell - .5, fill: '#0072b2'};
    const box = svg('rect', {...set, 'fill-opacity': .06 + .94 * Math.sqrt(level)});
    box.onmousemove = () => {
      say(head, t, s);
      [...down, ...across].forEach(label => label.classList.remove('on'));
      if (labels) { down[t].classList.add('on'); across[s].classList.add('on'); }
    };
    cells.push(box);
  }
  if (labels) for (let t = 0; t < T; t++) {
    const middle = side + (t + .5) * cell;
    down.push(svg('text', {x: side - 5, y: middle + 3, 'text-anchor': 'end'}, [shown(data.tokens[t])]));
    across.push(svg('text', {transform: `translate(${middle + 3} ${side - 5}) rotate(-90)`}, [shown(data.tokens[t])]));
  }
  large.replaceChildren(svg('svg', {viewBox: `0 0 ${size} ${size}`}, [...cells, ...down, ...across]));
  document.getElementById('which').textContent = data.names[head];
  document.querySelectorAll('canvas').forEach((canvas, other) => canvas.classList.toggle('chosen', other === head));
}
document.querySelectorAll('canvas').forEach((canvas, head) => {
  canvas.width = canvas.height = T;
  const context = canvas.getContext('2d'), image = context.createImageData(T, T);
  for (let t = 0; t < T; t++) for (let s = 0; s < T; s++) {
    const p = 4 * (t * T + s);
    image.data.set([0, 114, 178, s > t ? 0 : 16 + 239 * Math.sqrt(at(head, t, s) / 255)], p);
  }
  context.putImageData(image, 0, 0);
  canvas.onmousemove = event => {
    const box = canvas.getBoundingClientRect();
    const place = (offset, length) => Math.min(T - 1, Math.max(0, Math.floor(offset / length * T)));
    say(head, place(event.clientY - box.top, box.height), place(event.clientX - box.left, box.width));
  };
  canvas.onclick = () => { enlarge(head); document.getElementById('which').scrollIntoView({behavior: 'smooth'}); };
});
enlarge(data.chosen);
"""


def attention_weights(model: LanguageModel, tokenizer: Tokenizer, text: str) -> tuple[list[str], Tensor]:
    """The tokens of `text` and the weights [L, H, T, T] of every head reading them; L are the layers that attend.

    Raises GroundupError for a model without attention and for a text of no or too many tokens.
    """
    attention_layers(model)
    ids = tokenizer.encode(text)
    limit = min(_MOST_TOKENS, model.config.context_length)
    if not 1 <= len(ids) <= limit:
        raise GroundupError(f"the text has {len(ids):,} tokens; attention can be looked at for 1 to {limit:,} of them")
    place = next(model.parameters()).device
    weights_LBHTT = model.attention_weights(torch.tensor([ids], device=place))
    return [visible(piece_of(tokenizer, id)) for id in ids], weights_LBHTT[:, 0].float().cpu()


def attention_terminal(
    model: LanguageModel, tokenizer: Tokenizer, text: str, head: str | None = None
) -> RenderableType:
    """A line for each head: how much, on average, it takes from the token itself, the one before and the first, and
    what it does on repeated random tokens. With a `head` ("1.3": layer 1, head 3) what each token takes from, there."""
    tokens, weights_LHTT = attention_weights(model, tokenizer, text)
    findings = find_heads(model, special_ids=frozenset(tokenizer.special_ids))
    if head is not None:
        at = _place(findings, head)
        return _one_head(tokens, weights_LHTT.flatten(0, 1)[at], findings.scores[at])
    n_tokens = weights_LHTT.shape[-1]
    order = torch.arange(n_tokens)
    distance_TT = (order[:, None] - order).clamp_min(0)
    rows = []
    is_large = len(findings.scores) > _MOST_HEADS
    for score, weights_TT in zip(findings.scores, weights_LHTT.flatten(0, 1), strict=True):
        if is_large and not score.kind:
            continue
        before = weights_TT.diagonal(-1).mean().item() if n_tokens > 1 else 0.0
        shares = (weights_TT.diagonal().mean().item(), before, weights_TT[:, 0].mean().item())
        reach = (weights_TT * distance_TT).sum(1).mean().item()
        told = (score.previous, score.induction)
        rows.append(
            (
                _name(score),
                *(f"{share:.0%}" for share in shares),
                f"{reach:.1f}",
                *(f"{s:.0%}" for s in told),
                score.kind,
            )
        )
    header = ("head", "itself", "before", "first", "back", "previous", "induction", "is")
    return Group(
        terminal_table(header, rows, numbers=range(1, 7)),
        *([f"and {len(findings.scores) - len(rows)} heads that are neither; --html shows all"] if is_large else []),
        "",
        "Of this text, on average: taken from itself, the token before, the first, and how many tokens back.",
        "Of random tokens, repeated: taken from the previous one, and from what followed the last time (induction).",
        "",
        *_found(findings),
    )


def attention_html(model: LanguageModel, tokenizer: Tokenizer, text: str, head: str | None = None) -> str:
    """A page with one heat map a head, one of them large: `head`, or the strongest induction head; a click chooses."""
    tokens, weights_LHTT = attention_weights(model, tokenizer, text)
    findings = find_heads(model, special_ids=frozenset(tokenizer.special_ids))
    chosen = findings.scores.index(findings.strongest("induction")) if head is None else _place(findings, head)
    names = [
        f"layer {score.layer}, head {score.head}" + (f" ({score.kind})" if score.kind else "")
        for score in findings.scores
    ]
    levels = (weights_LHTT * 255).round().to(torch.uint8).numpy().tobytes()
    values = {"tokens": tokens, "names": names, "chosen": chosen, "weights": base64.b64encode(levels).decode()}
    data = json.dumps(values).replace("<", "\\u003c")
    n_heads = weights_LHTT.shape[1]
    style = f"grid-template-columns: 3.5rem repeat({n_heads}, minmax(4.5rem, 11rem))"
    cells = "<span></span>" + "".join(f'<span class="soft">head {number}</span>' for number in range(n_heads))
    for at, (score, name) in enumerate(zip(findings.scores, names, strict=True)):
        if at % n_heads == 0:
            cells += f'<span class="soft">layer {score.layer}</span>'
        named = ' class="named"' if score.kind else ""
        cells += f'<figure><canvas title="{name}"{named}></canvas><figcaption>{score.kind}</figcaption></figure>'
    rows = [(_name(score), f"{score.previous:.1%}", f"{score.induction:.1%}", score.kind) for score in findings.scores]
    found = "".join(f"<p>{escape(line)}</p>" for line in _found(findings))
    body = (
        f"<style>{_STYLE}</style><h1>Attention</h1><p class='soft'>Down: the token that reads. Across: the token read. "
        f"Darker: more of it. A click on a head shows it large.</p>{found}"
        f'<div class="scroll"><div class="heads" style="{style}">{cells}</div></div>'
        f'<h2 id="which"></h2><p id="tell" class="soft">Move over a square.</p><div id="large"></div>'
        f"<h2>What the heads are for</h2><details><summary>Every head on repeated random tokens</summary>"
        f"{table(rows, ('head', 'to the previous token', 'to what followed the last time', 'is'))}</details>"
        f'<script type="application/json" id="data">{data}</script>'
    )
    return page("Attention", body, _SCRIPT)


def _place(findings: HeadFindings, name: str) -> int:
    """The number among all heads of one named "layer.head"."""
    names = [_name(score) for score in findings.scores]
    if name not in names:
        problem = "is not a head" if re.fullmatch(r"\d+\.\d+", name) else "does not name a head as LAYER.HEAD"
        raise GroundupError(f"{name!r} {problem}; this model has {names[0]} to {names[-1]}, counted from zero")
    return names.index(name)


def _name(score: HeadScore) -> str:
    return f"{score.layer}.{score.head}"


def _one_head(tokens: list[str], weights_TT: Tensor, score: HeadScore) -> RenderableType:
    """What each token takes from in one head, most first."""
    rows = []
    for t, token in enumerate(tokens):
        top = weights_TT[t, : t + 1].topk(min(_LOOKED_AT, t + 1))
        shown = [
            f"{tokens[s]} ({t - s} back) {p:.0%}"
            for p, s in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]
        rows.append((t, token, "  ".join(shown)))
    kind = f", {'an' if score.kind == 'induction' else 'a'} {score.kind} head" if score.kind else ""
    title = (
        f"layer {score.layer}, head {score.head}{kind}: {score.previous:.0%} previous, {score.induction:.0%} induction"
    )
    return Group(title, "", terminal_table(("position", "token", "takes most from"), rows, numbers=(0,)))


def _found(findings: HeadFindings) -> list[str]:
    """The heads that were named, and whether repetition helps the model at all, in sentences."""
    lines = []
    for kind, measure in (("previous token", "previous"), ("induction", "induction")):
        named, strongest = findings.named(kind), findings.strongest(measure)
        shares = ", ".join(f"{_name(score)} ({getattr(score, measure):.0%})" for score in named)
        none = f"none above {NAMED_FROM:.0%}; the strongest is {_name(strongest)} ({getattr(strongest, measure):.0%})"
        lines.append(f"{kind} heads: {shares or none}")
    lines.append(
        f"{findings.period} random tokens, {findings.n_repeats} times over: loss {findings.first_loss:.2f} nats a token the "
        f"first time, {findings.repeated_loss:.2f} when they come again"
    )
    return lines
