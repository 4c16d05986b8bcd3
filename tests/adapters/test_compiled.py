"""The compiler sees through adapters: the same loss and gradients, switched on and off, on bases of any precision."""

from __future__ import annotations

import pytest
import torch

from groundup.adapters.bases import keep_base_in
from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, adapters_off, add_adapter
from groundup.data.batches import Batch
from groundup.models import build_model, config_for_size
from groundup.training.objectives import next_token_loss
from groundup.training.precision import missing_for_compile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing_for_compile() is not None, reason="torch.compile needs a C++ compiler"),
]


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", "lora"), ("fp32", "dora"), ("int8", "lora"), ("int4", "lora")]
)
def test_compiled_equals_eager(precision: str, kind: str) -> None:
    if precision == "int4":
        pytest.importorskip("bitsandbytes")
    torch.compiler.reset()
    model = build_model(config_for_size("d2", 64, 32, "gpt2", d_model=64, d_head=16, n_layers=1), seed=1)
    generator = torch.Generator().manual_seed(2)

    def scatter(parameters) -> None:
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))

    scatter(model.parameters())
    keep_base_in(model, precision).compute_dtype = torch.float32
    add_adapter(model, AdapterConfig(kind=kind, rank=2))  # type: ignore[arg-type]
    scatter(adapter_parameters(model).values())
    ids = torch.randint(64, (2, 33), generator=generator)
    batch = Batch(ids[:, :-1], ids[:, 1:])
    fast = torch.compile(next_token_loss, dynamic=False, fullgraph=True)

    def found(objective) -> tuple[float, list[torch.Tensor]]:
        loss = objective(model, batch)
        return float(loss), list(torch.autograd.grad(loss, list(adapter_parameters(model).values())))

    (loss, gradients), (expected, theirs) = found(fast), found(next_token_loss)
    assert loss == pytest.approx(expected, rel=1e-4)
    for mine, other in zip(gradients, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-2, atol=1e-2 * float(other.abs().max()) + 1e-6)
    with adapters_off(model), torch.no_grad():
        assert float(fast(model, batch)) == pytest.approx(float(next_token_loss(model, batch)), rel=1e-4)
