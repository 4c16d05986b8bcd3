"""What attention heads are for, as far as one number tells: heads that look one token back, heads that find a repetition.

The one idea: random tokens mean nothing, so on a random sequence that is repeated a head can only follow places and
repetitions. At a token seen before, an *induction head* looks at what came after it the last time, and so foretells it
(Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"). Its prefix-matching score is the attention it
gives there on average (Olsson et al. 2022, "In-context Learning and Induction Heads", appendix "Head Activation
Evaluators": 25 random tokens, repeated); a *previous-token head* is scored by the attention to the token just before.

Shapes: L attention layers, B sequences, H heads, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.models.base import LanguageModel
from groundup.models.layers.attention import Attend

PERIOD, REPEATS, SEQUENCES = 25, 4, 8
NAMED_FROM = (
    0.3  # attention from which a head is named; ours: chance gives 1 / T, and trained heads of a kind lie far above
)


@dataclass(frozen=True)
class HeadScore:
    """One head, by the number of its block and its own: shares of its attention on repeated random tokens."""

    layer: int
    head: int
    induction: float  # to the tokens that followed earlier ones of the same kind
    previous: float  # to the token just before

    @property
    def kind(self) -> str:
        """`induction` or `previous token`, whichever is the stronger, or nothing when it is neither."""
        if max(self.induction, self.previous) < NAMED_FROM:
            return ""
        return "induction" if self.induction > self.previous else "previous token"


@dataclass(frozen=True)
class HeadFindings:
    """All heads, and the loss (nats a token) on random tokens at their first coming and at every later one."""

    scores: tuple[HeadScore, ...]
    period: int
    n_repeats: int
    first_loss: float
    repeated_loss: float

    def named(self, kind: str) -> list[HeadScore]:
        """The heads of a kind, the strongest first."""
        found = [score for score in self.scores if score.kind == kind]
        return sorted(found, key=lambda score: -(score.induction if kind == "induction" else score.previous))

    def strongest(self, measure: str) -> HeadScore:
        """The head with the highest `induction` or `previous` score, named or not."""
        return max(self.scores, key=lambda score: getattr(score, measure))


def attention_layers(model: LanguageModel) -> list[int]:
    """The numbers of the blocks that attend; raises GroundupError for a model that has none."""
    blocks = model.get_submodule("blocks").children()
    found = [index for index, block in enumerate(blocks) if any(isinstance(part, Attend) for part in block.modules())]
    if not found:
        raise GroundupError(
            f"{model.config.architecture} has no attention to look at: it carries what it read in a state; "
            "`groundup inspect next` shows what each of its layers expects"
        )
    return found


@torch.no_grad()
def find_heads(model: LanguageModel, seed: int = 0, special_ids: frozenset[int] = frozenset()) -> HeadFindings:
    """Score every head on sequences of random tokens, repeated; the same seed gives the same sequences.

    `special_ids` are left out of the draw. Raises GroundupError for a model without attention, and for a context or a
    vocabulary too small to repeat anything in.
    """
    layers = attention_layers(model)
    allowed = torch.tensor([id for id in range(model.config.vocab_size) if id not in special_ids])
    period = min(PERIOD, model.config.context_length // 2, len(allowed))
    if period < 3:
        raise GroundupError(
            f"a context of {model.config.context_length} and {len(allowed)} tokens leave no room to repeat a sequence in"
        )
    n_repeats = min(REPEATS, model.config.context_length // period)
    tokens_BT = _repeated(allowed, period, n_repeats, seed).to(next(model.parameters()).device)
    weights_LBHTT = model.attention_weights(tokens_BT).float().cpu()
    induction_LH, previous_LH = prefix_matching(weights_LBHTT, period), previous_token(weights_LBHTT)
    scores = [
        HeadScore(layer, head, induction_LH[at, head].item(), previous_LH[at, head].item())
        for at, layer in enumerate(layers)
        for head in range(weights_LBHTT.shape[2])
    ]
    loss_T = _losses(model, tokens_BT)
    return HeadFindings(
        tuple(scores), period, n_repeats, loss_T[: period - 1].mean().item(), loss_T[period:].mean().item()
    )


def prefix_matching(weights_LBHTT: Tensor, period: int) -> Tensor:
    """[L, H]: attention from every repeated token to all tokens that followed it before, on sequences of this period."""
    n_tokens = weights_LBHTT.shape[-1]
    queries_T = torch.arange(n_tokens)[:, None]
    keys_T = torch.arange(n_tokens)[None]
    follows = ((queries_T - keys_T + 1) % period == 0) & (keys_T <= queries_T)
    to_those = (weights_LBHTT * follows).sum(-1)[..., period:]
    return to_those.mean(dim=(1, 3))


def previous_token(weights_LBHTT: Tensor) -> Tensor:
    """[L, H]: attention from every token but the first to the one before it."""
    return weights_LBHTT.diagonal(-1, dim1=-2, dim2=-1).mean(dim=(1, 3))


def _repeated(allowed: Tensor, period: int, n_repeats: int, seed: int) -> Tensor:
    """Sequences [B, T] of different random ids each, repeated."""
    generator = torch.Generator().manual_seed(seed)
    rows = [allowed[torch.randperm(len(allowed), generator=generator)[:period]] for _ in range(SEQUENCES)]
    return torch.stack(rows).repeat(1, n_repeats)


def _losses(model: LanguageModel, tokens_BT: Tensor) -> Tensor:
    """The loss [T - 1] at each token but the first, the mean of the sequences; nats."""
    training = model.training
    logits_BTV = model.eval()(tokens_BT[:, :-1]).float()
    model.train(training)
    losses = F.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten(), reduction="none")
    return losses.view(len(tokens_BT), -1).mean(0).cpu()
