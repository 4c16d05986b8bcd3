"""How gradients become steps: AdamW for tables and vectors, Muon for the hidden matrices (or AdamW for all).

AdamW is PyTorch's, fused (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"). Muon is Jordan 2024
(kellerjordan.github.io/posts/muon): momentum, then replace the update by the nearest matrix whose singular values are
all about 1, so that every direction of a layer learns at one speed. Weight decay is decoupled and acts on hidden
matrices only: tables see most rows rarely, and norms and biases are few (GPT-2 and nanoGPT spare the vectors alike).

`torch.optim.Muon` exists and gives the same update (a test holds ours against it), but it orthogonalises matrix by
matrix. Here all matrices of a shape go through Newton-Schulz together, those of a mixture's experts, kept as one stack,
among them: 7.5 against 12.7 ms of processor time a step for 3 layers of width 128, 62 against 68 for 4 of width 256.
Iterations run in bf16 where the model computes in bf16, which is three times as fast on a processor that has it: the
iteration drives singular values into a band, not to a point, and forgives its rounding (Jordan 2024, "Newton-Schulz").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.training.objectives import TrainedModel

Polynomial = tuple[float, float, float]  # (a, b, c): a x + b x^3 + c x^5 of each singular value x

# Jordan 2024: one polynomial for every step; it lifts small singular values fastest while it keeps all below ~1.2.
QUINTIC: Polynomial = (3.4445, -4.7750, 2.0315)
# Amsel et al. 2025, "The Polar Express", algorithm 1: a polynomial for each step, best in the worst case for what the steps
# before have left. The first takes in the margin of 1.02 that keeps rounding from lifting a singular value above 1.
# Three of them served our runs better than five of Jordan's (docs/log.md).
POLAR_EXPRESS: tuple[Polynomial, ...] = (
    (8.156554524902461 / 1.02, -22.48329292557795 / 1.02**3, 15.878769915207462 / 1.02**5),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
)
STACK_ELEMENTS = 1 << 20  # matrices are stacked up to 4 MiB (fp32); larger products are efficient one by one


@dataclass(frozen=True)
class OptimizerSettings:
    """Peak learning rates by the role of a parameter, and the constants of both optimizers.

    `matrix_learning_rate` is in Muon's units (the size of a step's singular values; about 0.02) or AdamW's (about
    0.003).
    """

    matrix_learning_rate: float
    embedding_learning_rate: float
    head_learning_rate: float
    vector_learning_rate: float
    matrices: Literal["muon", "adamw"] = "muon"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.8, 0.95)
    epsilon: float = 1e-10
    momentum: float = 0.9
    polynomials: tuple[Polynomial, ...] = POLAR_EXPRESS


class Optimizer:
    """Both optimizers of a model as one: a step, and a state that is nothing but named tensors."""

    def __init__(self, model: TrainedModel, settings: OptimizerSettings) -> None:
        """Sort the trainable parameters by role; raises `GroundupError` when there is none."""
        self.settings = settings
        roles = {
            role: [(name, parameter) for name, parameter in found if parameter.requires_grad]
            for role, found in model.parameter_roles().items()
        }
        if not any(roles.values()):
            raise GroundupError("the model has no parameter to train: all of them are frozen")
        rates = {
            "matrices": settings.matrix_learning_rate,
            "embedding": settings.embedding_learning_rate,
            "head": settings.head_learning_rate,
            "vectors": settings.vector_learning_rate,
        }
        self._muon = None
        if settings.matrices == "muon":
            self._muon = Muon(roles.pop("matrices"), settings, dtype=model.compute_dtype)
        groups = []
        for role, named in roles.items():
            decay = settings.weight_decay if role == "matrices" else 0.0
            if named:
                parameters = [parameter for _, parameter in named]
                groups.append({"params": parameters, "lr": rates[role], "weight_decay": decay, "peak": rates[role]})
        self._named = [item for named in roles.values() for item in named]
        self._adamw = None
        if groups:
            self._adamw = torch.optim.AdamW(groups, betas=settings.betas, eps=settings.epsilon, fused=True)
            for _, parameter in self._named:  # what AdamW would make at its first step: the state is whole at any time
                zero = torch.zeros((), dtype=torch.float32, device=parameter.device)
                averages = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                self._adamw.state[parameter] = {"step": zero, **averages}

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Move every parameter by its gradient, at `scale` times its peak learning rate."""
        if self._muon is not None:
            self._muon.step(scale)
        if self._adamw is not None:
            for group in self._adamw.param_groups:
                group["lr"] = group["peak"] * scale
            self._adamw.step()

    def state_tensors(self) -> dict[str, Tensor]:
        """The state by flat names (`PARAMETER.momentum`, `.exp_avg`, `.exp_avg_sq`, `.step`); not copies."""
        tensors = self._muon.state_tensors() if self._muon is not None else {}
        if self._adamw is not None:
            for name, parameter in self._named:
                tensors |= {f"{name}.{key}": value for key, value in self._adamw.state[parameter].items()}
        return tensors

    @torch.no_grad()
    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state_tensors` gave; raises `GroundupError` for a state of another model or optimizer."""
        mine = self.state_tensors()
        if mine.keys() != tensors.keys():
            name = min(mine.keys() ^ tensors.keys())
            whose = (
                "the optimizer needs, and the state lacks" if name in mine else "the state has, and the optimizer lacks"
            )
            raise GroundupError(f"the saved optimizer state does not fit these settings: {whose} {name!r}")
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])


@dataclass(frozen=True)
class _Stack:
    """Parameters of one shape, and the momentum [n, rows, columns] of all their matrices, lying (rows <= columns)."""

    names: list[str]
    parameters: list[nn.Parameter]
    momentum: Tensor

    @property
    def momenta(self) -> list[Tensor]:
        """The momentum by parameter, as views: of a matrix [rows, columns], of a stack of them [n, rows, columns]."""
        if self.parameters[0].ndim == 2:
            return list(self.momentum)
        return list(self.momentum.split([len(parameter) for parameter in self.parameters]))


class Muon:
    """Momentum, orthogonalised; see the top of the file."""

    def __init__(
        self, named: list[tuple[str, nn.Parameter]], settings: OptimizerSettings, dtype: torch.dtype = torch.float32
    ) -> None:
        """For matrices [n_out, n_in] and stacks of them [n_experts, n_out, n_in]; Newton-Schulz runs in `dtype`."""
        self._settings, self._dtype = settings, dtype
        by_shape: dict[tuple[int, ...], list[tuple[str, nn.Parameter]]] = {}
        for name, parameter in named:
            assert parameter.ndim in (2, 3), (name, parameter.shape)
            *n_experts, n_out, n_in = parameter.shape
            by_shape.setdefault((*n_experts, min(n_out, n_in), max(n_out, n_in)), []).append((name, parameter))
        self._stacks = []
        for (*n_experts, rows, columns), same in by_shape.items():
            n_each = math.prod(n_experts)
            n = max(1, STACK_ELEMENTS // (n_each * rows * columns))
            for part in (same[i : i + n] for i in range(0, len(same), n)):
                momentum = torch.zeros(len(part) * n_each, rows, columns, device=part[0][1].device)
                self._stacks.append(_Stack([name for name, _ in part], [p for _, p in part], momentum))

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Move every matrix; one without a gradient goes on with its momentum."""
        settings = self._settings
        rate = settings.matrix_learning_rate * scale
        for stack in self._stacks:
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in stack.parameters]
            update = torch.cat([_lying(gradient).view(-1, *stack.momentum.shape[1:]) for gradient in gradients])
            stack.momentum.lerp_(update, 1 - settings.momentum)
            update.lerp_(stack.momentum, settings.momentum)  # Nesterov: look one step of momentum ahead
            n_at_once = max(1, STACK_ELEMENTS // update[0].numel(), len(stack.parameters))
            parts = [orthogonalize(part, settings.polynomials, self._dtype) for part in update.split(n_at_once)]
            update = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(update.dtype)
            shape = (len(stack.parameters), *stack.parameters[0].shape[:-2], *update.shape[1:])
            for parameter, matrix in zip(stack.parameters, update.view(shape), strict=True):
                parameter.mul_(1 - rate * settings.weight_decay)
                factor = shape_factor(*parameter.shape[-2:])
                parameter.add_(matrix if _lies(parameter) else matrix.mT, alpha=-rate * factor)

    def state_tensors(self) -> dict[str, Tensor]:
        """Momentum [n_out or n_in, the longer last; of a stack before them n_experts] by parameter, as views."""
        pairs = (zip(stack.names, stack.momenta, strict=True) for stack in self._stacks)
        return {f"{name}.momentum": momentum for stack in pairs for name, momentum in stack}


def shape_factor(n_out: int, n_in: int) -> float:
    """What an orthogonal step on a weight [n_out, n_in] is multiplied by: sqrt(max(1, n_out / n_in)), as Jordan 2024.

    An orthogonal [n_out, n_in] matrix with n_out > n_in keeps the length of an input while it spreads it over more
    outputs, so each would move less; the factor restores the change per output (Bernstein 2025, "Deriving Muon": the
    root of n_out / n_in for a step of norm 1 between RMS norms). Moonshot's 0.2 sqrt(max(n_out, n_in)) (Liu et al.
    2025, section 2.2) instead imitates AdamW's step sizes; with learning rates of its own for the matrices, Muon has
    no need to.
    """
    return max(1.0, n_out / n_in) ** 0.5


def orthogonalize(stack: Tensor, polynomials: tuple[Polynomial, ...], dtype: torch.dtype) -> Tensor:
    """Drive the singular values of each matrix of [n, rows, columns], rows <= columns, towards 1; in `dtype`.

    Each Newton-Schulz step applies one odd polynomial to all singular values at once.
    """
    x = (stack / stack.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)).to(dtype)
    for a, b, c in polynomials:
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


def _lies(matrices: Tensor) -> bool:
    return matrices.shape[-2] <= matrices.shape[-1]


def _lying(matrices: Tensor) -> Tensor:
    return matrices if _lies(matrices) else matrices.mT
