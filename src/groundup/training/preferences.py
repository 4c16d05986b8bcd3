"""Learning from which answer people preferred: DPO, IPO, ORPO, SimPO and KTO as objectives of the one loop.

The one idea: each of them is a short formula of a few numbers an answer (`Answers`): its summed log probability under the
model that learns and under the reference, the model as it was before, and its length in tokens. Reference numbers
are made once, before training.

Sources: DPO, Rafailov et al. 2023, equation 7. IPO, Azar et al. 2023, equation 17, with log ratios per token as its authors
ran it (TRL asked them). ORPO, Hong et al. 2024, equations 4 to 7. SimPO, Meng et al. 2024, equation 6. KTO, Ethayarajh et al.
2024, section 4.1 (equations 7 and 8).

Shapes: P pairs, N answers, B rows of tokens, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.models.base import LanguageModel
from groundup.training.objectives import IGNORED_LABEL
from groundup.training.token_losses import answer_log_probabilities

PreferenceLoss = Literal["dpo", "ipo", "orpo", "simpo", "kto"]
WITH_REFERENCE = ("dpo", "ipo", "kto")  # the losses that look at the model as it was before


@dataclass(frozen=True)
class PreferenceSettings:
    """Which loss, and its constants; None is the loss's usual value.

    `beta` is how firmly answers are held to the reference (dpo, ipo, kto), the weight of the odds ratio (orpo: lambda of
    the paper), or the scale of the reward (simpo). `gamma` is SimPO's margin between rewards. The weights are
    KTO's, of liked and of disliked answers.
    """

    loss: PreferenceLoss = "dpo"
    beta: float = 0.1
    gamma: float = 1.0
    liked_weight: float = 1.0
    disliked_weight: float = 1.0

    def describe(self) -> str:
        """The loss and its constants in a line."""
        more = f", gamma {self.gamma:g}" if self.loss == "simpo" else ""
        if self.loss == "kto":
            more = f", weights {self.liked_weight:.3g} liked, {self.disliked_weight:.3g} disliked"
        return f"{self.loss}, beta {self.beta:g}{more}"


# Where their papers and TRL begin: SimPO's table 7 (beta 2.0 to 2.5, gamma / beta about 0.5), ORPO's section 6.1.
USUAL_BETA = {"dpo": 0.1, "ipo": 0.1, "orpo": 0.1, "simpo": 2.0, "kto": 0.1}


@dataclass(frozen=True)
class Answers:
    """Answers as the loss sees them: summed log probabilities in nats, lengths in tokens."""

    policy_N: Tensor
    n_tokens_N: Tensor
    reference_N: Tensor | None = None  # for the losses in WITH_REFERENCE

    @property
    def ratio_N(self) -> Tensor:
        """How much likelier the answer has become than it was, in nats."""
        assert self.reference_N is not None
        return self.policy_N - self.reference_N

    @property
    def mean_N(self) -> Tensor:
        """Log probability per token."""
        return self.policy_N / self.n_tokens_N

    def rewards(self, settings: PreferenceSettings) -> Tensor:
        """What the loss takes for the answer's worth: beta times its ratio, or per token without a reference."""
        return settings.beta * (self.ratio_N if settings.loss in WITH_REFERENCE else self.mean_N)


def pair_losses(chosen: Answers, rejected: Answers, settings: PreferenceSettings) -> Tensor:
    """The loss of each pair, [P]; for every loss but KTO, which judges single answers."""
    return _PAIR_LOSSES[settings.loss](chosen, rejected, settings)


def _dpo(chosen: Answers, rejected: Answers, settings: PreferenceSettings) -> Tensor:
    return -F.logsigmoid(settings.beta * (chosen.ratio_N - rejected.ratio_N))


def _ipo(chosen: Answers, rejected: Answers, settings: PreferenceSettings) -> Tensor:
    margin = chosen.ratio_N / chosen.n_tokens_N - rejected.ratio_N / rejected.n_tokens_N
    return (margin - 1 / (2 * settings.beta)) ** 2


def _orpo(chosen: Answers, rejected: Answers, settings: PreferenceSettings) -> Tensor:
    log_odds = _log_odds(chosen.mean_N) - _log_odds(rejected.mean_N)
    return -chosen.mean_N - settings.beta * F.logsigmoid(log_odds)


def _log_odds(mean_N: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean); 1 - p by expm1, which stays exact where p is near 1."""
    return mean_N - torch.log(-torch.expm1(mean_N.clamp(max=-1e-7)))


def _simpo(chosen: Answers, rejected: Answers, settings: PreferenceSettings) -> Tensor:
    return -F.logsigmoid(settings.beta * (chosen.mean_N - rejected.mean_N) - settings.gamma)


_PAIR_LOSSES: dict[str, Callable[[Answers, Answers, PreferenceSettings], Tensor]] = {
    "dpo": _dpo,
    "ipo": _ipo,
    "orpo": _orpo,
    "simpo": _simpo,
}


def kto_losses(answers: Answers, liked_N: Tensor, divergence: Tensor, settings: PreferenceSettings) -> Tensor:
    """The loss of each judged answer, [N]; `divergence` is how far the model has moved (see `divergence_of`)."""
    gain_N = settings.beta * (answers.ratio_N - divergence)
    # 1 - sigmoid(x) is sigmoid(-x)
    liked, disliked = settings.liked_weight * torch.sigmoid(-gain_N), settings.disliked_weight * torch.sigmoid(gain_N)
    return torch.where(liked_N, liked, disliked)


def divergence_of(ratios_N: Tensor) -> Tensor:
    """KTO's reference point: the mean log ratio of answers to other prompts, not below zero, without gradient.

    An estimate of how far the model has moved from the reference (their section 4.1).
    """
    return ratios_N.mean().clamp(min=0).detach()


@dataclass(frozen=True)
class AnswerBatch:
    """Whole conversations, whose labels are the tokens of the answer that is judged (-100: everything before).

    Rows of pairs lie chosen first, then the rejected ones in the same order; rows of judged answers have `liked_B`.
    """

    tokens_BT: Tensor
    labels_BT: Tensor
    reference_B: Tensor | None = None  # the reference's summed log probabilities
    liked_B: Tensor | None = None
    step: int = -1  # of the training; KTO takes its reference point once a step

    @property
    def n_targets(self) -> int:
        """How many losses the batch has: pairs, or judged answers."""
        return len(self.tokens_BT) // (2 if self.liked_B is None else 1)

    def to(self, device: torch.device | str) -> AnswerBatch:
        """The same batch on a device."""
        moved = (
            None if each is None else each.to(device, non_blocking=True) for each in (self.reference_B, self.liked_B)
        )
        return AnswerBatch(self.tokens_BT.to(device), self.labels_BT.to(device), *moved, step=self.step)


def judged(model: LanguageModel, batch: AnswerBatch) -> Answers:
    """What the model makes of the answers of a batch."""
    policy_B = answer_log_probabilities(model, batch.tokens_BT, batch.labels_BT)
    n_tokens_B = (batch.labels_BT != IGNORED_LABEL).sum(dim=1)
    return Answers(policy_B, n_tokens_B, batch.reference_B)


def split_pairs(answers: Answers) -> tuple[Answers, Answers]:
    """The chosen and the rejected answers of a batch of pairs."""
    n = len(answers.policy_N) // 2
    reference = (None, None) if answers.reference_N is None else answers.reference_N.split(n)
    halves = zip(answers.policy_N.split(n), answers.n_tokens_N.split(n), reference, strict=True)
    chosen, rejected = (Answers(*half) for half in halves)
    return chosen, rejected


class PreferenceObjective:
    """The sum of the losses of a batch of pairs or of judged answers.

    For KTO, `mismatched(step)` gives answers beside prompts that are not theirs, for the reference point: those of the
    whole step, whichever part of it a process or a micro-batch has, so that how a step is cut changes nothing.
    """

    def __init__(
        self, settings: PreferenceSettings, mismatched: Callable[[int], Sequence[AnswerBatch]] | None = None
    ) -> None:
        assert (settings.loss == "kto") == (mismatched is not None)
        self.settings = settings
        self._mismatched = mismatched
        self._known: tuple[int, Tensor] | None = None  # the step, and its reference point

    def __call__(self, model: LanguageModel, batch: AnswerBatch) -> Tensor:
        answers = judged(model, batch)
        if batch.liked_B is None:
            return pair_losses(*split_pairs(answers), self.settings).sum()
        return kto_losses(answers, batch.liked_B, self.divergence(model, batch.step), self.settings).sum()

    @torch.no_grad()
    def divergence(self, model: LanguageModel, step: int) -> Tensor:
        """KTO's reference point at a step; worked out once a step, since the weights do not move within one."""
        if self._known is None or self._known[0] != step:
            assert self._mismatched is not None
            device, training = model.token_embedding.weight.device, model.training
            model.eval()  # dropout would draw from the step's random numbers, before its first batch only
            ratios = [judged(model, batch.to(device)).ratio_N for batch in self._mismatched(step)]
            model.train(training)
            self._known = (step, divergence_of(torch.cat(ratios)))
        return self._known[1]
