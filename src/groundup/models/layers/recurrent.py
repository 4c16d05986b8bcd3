"""Recurrent layers: one token after another, each changing a memory of fixed size.

A cell is one step: what was remembered and a new input make what is remembered next. The textbook's three are here as
plain functions of one step, `reference` runs them one after another, and `Recurrent` runs the same through torch's own
kernels, whose layout of weights it shares (`nn.RNN`, `nn.LSTM`, `nn.GRU`), so weights can be passed to and fro.

- rnn: Elman 1990, "Finding Structure in Time", with tanh.
- lstm: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
- gru: Cho et al. 2014, section 2.3, with the reset gate behind the product, as in torch and cuDNN.

Documents packed into one row are cut apart and run beside each other, so none can remember another.

Shapes: B batch, T tokens, D width of the input, H width of the memory, G gates; N documents, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from groundup.models.layers.linear import fill_normal, linear

if TYPE_CHECKING:
    from groundup.models.base import Reading

Memory = tuple[Tensor, ...]  # [B, H] each; the first is what the layer gives out
Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # [G H, D], [G H, H], [G H], [G H]


def rnn_step(x_BD: Tensor, memory: Memory, weights: Weights) -> Memory:
    """`h' = tanh(W x + b + U h + c)`."""
    w_input, w_memory, b_input, b_memory = weights
    return (torch.tanh(linear(x_BD, w_input, b_input) + linear(memory[0], w_memory, b_memory)),)


def lstm_step(x_BD: Tensor, memory: Memory, weights: Weights) -> Memory:
    """Gates say what to take in, what to keep and what to show; the cell itself is only scaled and added to.

    `i, f, o = sigmoid(W x + b + U h + c)`, `g = tanh(...)` (in the order i, f, g, o); `c' = f c + i g`, `h' = o tanh(c')`.
    """
    (hidden_BH, cell_BH), (w_input, w_memory, b_input, b_memory) = memory, weights
    gates = linear(x_BD, w_input, b_input) + linear(hidden_BH, w_memory, b_memory)
    take, keep, new, show = gates.chunk(4, dim=-1)
    cell_BH = torch.sigmoid(keep) * cell_BH + torch.sigmoid(take) * torch.tanh(new)
    return torch.sigmoid(show) * torch.tanh(cell_BH), cell_BH


def gru_step(x_BD: Tensor, memory: Memory, weights: Weights) -> Memory:
    """`r, z = sigmoid(W x + b + U h + c)`, `n = tanh(W x + b + r (U h + c))`, `h' = (1 - z) n + z h`."""
    w_input, w_memory, b_input, b_memory = weights
    reset_x, keep_x, new_x = linear(x_BD, w_input, b_input).chunk(3, dim=-1)
    reset_h, keep_h, new_h = linear(memory[0], w_memory, b_memory).chunk(3, dim=-1)
    keep = torch.sigmoid(keep_x + keep_h)
    new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
    return ((1 - keep) * new + keep * memory[0],)


@dataclass(frozen=True)
class Cell:
    """A step, what it remembers by name, and torch's kernel for many steps."""

    n_gates: int
    memories: tuple[str, ...]
    step: Callable[[Tensor, Memory, Weights], Memory]
    kernel: Callable[..., tuple[Tensor, ...]]
    remembering: int | None = None  # which gate keeps what was; one that is open from the start learns faster


CELLS = {
    "rnn": Cell(1, ("hidden",), rnn_step, torch.rnn_tanh),
    # A forget gate that begins open: Jozefowicz et al. 2015, section 2.2 (Gers et al. 2000 had said so).
    "lstm": Cell(4, ("hidden", "cell"), lstm_step, torch.lstm, remembering=1),
    "gru": Cell(3, ("hidden",), gru_step, torch.gru, remembering=1),
}


def reference(cell: Cell, x_BTD: Tensor, memory: Memory, weights: Weights) -> tuple[Tensor, Memory]:
    """All steps, one after another: what the layer gives out [B, T, H], and what it remembers in the end."""
    outputs = []
    for x_BD in x_BTD.unbind(1):
        memory = cell.step(x_BD, memory, weights)
        outputs.append(memory[0])
    return torch.stack(outputs, dim=1), memory


def fused(cell: Cell, x_BTD: Tensor, memory: Memory, weights: Weights) -> tuple[Tensor, Memory]:
    """The same by torch's kernel: oneDNN's or cuDNN's for all steps at once, where there is one."""
    start = tuple(part[None] for part in memory)
    parameters = [weight.to(x_BTD.dtype) for weight in weights]
    # Biases: yes; layers: 1; dropout: none; keep what a gradient needs; one direction; batch first.
    settings = (True, 1, 0.0, torch.is_grad_enabled(), False, True)
    out_BTH, *end = cell.kernel(x_BTD, start[0] if len(cell.memories) == 1 else start, parameters, *settings)
    return out_BTH, tuple(part[0] for part in end)


class Recurrent(nn.Module):
    """A layer of one kind of cell, [B, T, D] to [B, T, H]; weights lie as in torch's layers."""

    def __init__(self, kind: str, layer: int, d_input: int, d_hidden: int) -> None:
        super().__init__()
        self.cell, self.layer = CELLS[kind], layer
        width = self.cell.n_gates * d_hidden
        self.input_weight = nn.Parameter(torch.empty(width, d_input))
        self.memory_weight = nn.Parameter(torch.empty(width, d_hidden))
        self.input_bias = nn.Parameter(torch.empty(width))
        self.memory_bias = nn.Parameter(torch.empty(width))

    @property
    def weights(self) -> Weights:
        """The four, in torch's order."""
        return self.input_weight, self.memory_weight, self.input_bias, self.memory_bias

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Fill the weights.

        The memory's matrices are orthogonal, so that what is remembered neither fades nor explodes in being multiplied
        again and again (Saxe et al. 2014, section 3; Le et al. 2015 for recurrent networks); the others keep the scale
        of what they read. The gate that remembers begins open.
        """
        d_hidden = self.memory_weight.shape[1]
        fill_normal(self.input_weight, self.input_weight.shape[1] ** -0.5, generator)
        for gate in self.memory_weight.split(d_hidden):
            gate.copy_(nn.init.orthogonal_(torch.empty(d_hidden, d_hidden), generator=generator))
        nn.init.zeros_(self.input_bias)
        nn.init.zeros_(self.memory_bias)
        if self.cell.remembering is not None:
            self.input_bias.split(d_hidden)[self.cell.remembering].fill_(1.0)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        if reading.document_ids_BT is not None:
            return self._documents_apart(x_BTD, reading.positions_BT)
        state, names = cast(Any, reading.state), self.cell.memories
        start = None
        if state is not None:
            start = tuple(state.tensors[name][self.layer].to(x_BTD.dtype) for name in names)
        out_BTH, end = self.run(x_BTD, start)
        if state is not None:
            for name, part in zip(names, end, strict=True):
                state.put(name, self.layer, part)
        return out_BTH

    def run(self, x_BTD: Tensor, start: Memory | None = None) -> tuple[Tensor, Memory]:
        """All steps of rows that remember `start` (None: nothing); gives the outputs and the memory in the end."""
        return fused(self.cell, x_BTD, self.nothing(x_BTD) if start is None else start, self.weights)

    def run_reference(self, x_BTD: Tensor, start: Memory | None = None) -> tuple[Tensor, Memory]:
        """The same by `reference`."""
        return reference(self.cell, x_BTD, self.nothing(x_BTD) if start is None else start, self.weights)

    def nothing(self, x_BTD: Tensor) -> Memory:
        """What rows remember that have read nothing."""
        return tuple(x_BTD.new_zeros(x_BTD.shape[0], self.memory_weight.shape[1]) for _ in self.cell.memories)

    def _documents_apart(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """Run every document of every row as a row of its own, documents of about one length together."""
        flat_ND = x_BTD.flatten(0, 1)
        outputs, places = [], []
        for places_NS, real_NS in document_batches(positions_BT):
            rows_NSD = flat_ND.index_select(0, places_NS.flatten()).unflatten(0, places_NS.shape)
            outputs.append(self.run(rows_NSD)[0].flatten(0, 1)[real_NS.flatten()])
            places.append(places_NS[real_NS])
        back = torch.cat(places).argsort()
        return torch.cat(outputs).index_select(0, back).unflatten(0, x_BTD.shape[:2])


def document_batches(positions_BT: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Where the documents of packed rows lie: batches of (places [N, S] in the flattened rows, which of them are real).

    Documents between two powers of two of length make a batch, so at most half of it is filling.
    """
    firsts = (positions_BT.flatten() == 0).nonzero()[:, 0]
    n_places = positions_BT.numel()
    lengths = torch.diff(firsts, append=firsts.new_tensor([n_places]))
    sizes = torch.ceil(torch.log2(lengths.double())).long()
    for size in sizes.unique().tolist():
        members = sizes == size
        steps_S = torch.arange(int(lengths[members].max()), device=firsts.device)
        places_NS = firsts[members, None] + steps_S
        # What fills a row up comes behind the document, where nothing of it can be remembered.
        yield places_NS.clamp(max=n_places - 1), steps_S < lengths[members, None]
