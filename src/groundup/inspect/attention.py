"""What each head looks at: one small picture a head, rows of layers, columns of heads.

The one idea: attention weights are a table of who reads whom. Row t, column s is how much of what token t gathers comes
from token s; rows sum to one, and nothing is above the diagonal. They come from the plain attention of the model's own
layers (`LanguageModel.attention_weights`), not from the fast path, which never forms them.

Shapes: L layers, H heads, T tokens.
"""

from __future__ import annotations

import base64
import json

import torch
from rich.console import RenderableType
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.inspect.page import page
from groundup.inspect.terminal import terminal_table, visible
from groundup.models.base import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer

_MOST_TOKENS = 256

_SCRIPT = """
const data = JSON.parse(document.getElementById('data').textContent);
const bytes = Uint8Array.from(atob(data.weights), c => c.charCodeAt(0));
const T = data.tokens.length, tell = document.getElementById('tell');
document.querySelectorAll('canvas').forEach((canvas, head) => {
  const at = (t, s) => bytes[(head * T + t) * T + s];
  canvas.width = canvas.height = T;
  const context = canvas.getContext('2d'), image = context.createImageData(T, T);
  for (let t = 0; t < T; t++) for (let s = 0; s < T; s++) {
    const p = 4 * (t * T + s);
    image.data.set([0, 114, 178, s > t ? 0 : 16 + 239 * Math.sqrt(at(t, s) / 255)], p);
  }
  context.putImageData(image, 0, 0);
  canvas.onmousemove = event => {
    const box = canvas.getBoundingClientRect();
    const t = Math.min(T - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * T)));
    const s = Math.min(T - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * T)));
    const weight = s > t ? 'cannot see' : (100 * at(t, s) / 255).toFixed(0) + ' % from';
    tell.textContent = `${canvas.title}: token ${t} ${data.tokens[t]} ${weight} token ${s} ${data.tokens[s]}`;
  };
});
"""


def attention_weights(model: LanguageModel, tokenizer: Tokenizer, text: str) -> tuple[list[str], Tensor]:
    """The tokens of `text` and the weights [L, H, T, T] of every head reading them."""
    ids = tokenizer.encode(text)
    limit = min(_MOST_TOKENS, model.config.context_length)
    if not 1 <= len(ids) <= limit:
        raise GroundupError(f"the text has {len(ids):,} tokens; attention can be looked at for 1 to {limit:,} of them")
    place = next(model.parameters()).device
    weights_LBHTT = model.attention_weights(torch.tensor([ids], device=place))
    return [visible(tokenizer.decode([id], continued=True)) for id in ids], weights_LBHTT[:, 0].float().cpu()


def attention_terminal(model: LanguageModel, tokenizer: Tokenizer, text: str) -> RenderableType:
    """A line for each head: how much, on average, it takes from the token itself, the one before and the first."""
    _, weights_LHTT = attention_weights(model, tokenizer, text)
    n_tokens = weights_LHTT.shape[-1]
    order = torch.arange(n_tokens)
    distance_TT = (order[:, None] - order).clamp_min(0)
    rows = []
    for layer, heads in enumerate(weights_LHTT):
        for head, weights_TT in enumerate(heads):
            before = weights_TT.diagonal(-1).mean().item() if n_tokens > 1 else 0.0
            shares = (weights_TT.diagonal().mean().item(), before, weights_TT[:, 0].mean().item())
            reach = (weights_TT * distance_TT).sum(1).mean().item()
            rows.append((layer, head, *(f"{share:.0%}" for share in shares), f"{reach:.1f}"))
    return terminal_table(("layer", "head", "itself", "one before", "the first", "tokens back"), rows, numbers=range(6))


def attention_html(model: LanguageModel, tokenizer: Tokenizer, text: str) -> str:
    """A page with one heat map a head; moving the pointer over it tells who reads whom, and how much."""
    tokens, weights_LHTT = attention_weights(model, tokenizer, text)
    levels = (weights_LHTT * 255).round().to(torch.uint8).numpy().tobytes()
    data = json.dumps({"tokens": tokens, "weights": base64.b64encode(levels).decode()}).replace("<", "\\u003c")
    n_layers, n_heads = weights_LHTT.shape[:2]
    style = f"display: grid; grid-template-columns: 4rem repeat({n_heads}, minmax(5rem, 1fr)); gap: .6rem"
    cells = "<span></span>" + "".join(f'<span class="soft">head {head}</span>' for head in range(n_heads))
    for layer in range(n_layers):
        cells += f'<span class="soft">layer {layer}</span>' + "".join(
            f'<canvas title="layer {layer}, head {head}" style="width: 100%; image-rendering: pixelated; '
            'border: 1px solid var(--line)"></canvas>'
            for head in range(n_heads)
        )
    body = (
        "<h1>Attention</h1><p class='soft'>Down: the token that reads. Across: the token read. Darker: more of it.</p>"
        f'<p id="tell">Move over a square.</p><div class="scroll"><div style="{style}">{cells}</div></div>'
        f'<script type="application/json" id="data">{data}</script>'
    )
    return page("Attention", body, _SCRIPT)
