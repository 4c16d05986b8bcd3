"""Models filled from sources of tensors: the right numbers in the right places, and no more memory than they take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from groundup.checkpoints import sources
from groundup.checkpoints.model_folder import save_model
from groundup.checkpoints.sources import ModelSource, build_from, fill
from groundup.core.errors import GroundupError
from groundup.models import architecture, build_model, config_for_size
from groundup.models.weights import Row, to_theirs
from groundup.tokenization.training import train_tokenizer

TOKENIZER = train_tokenizer(["a folder is a folder is a folder " * 30], vocab_size=272)


class Memory:
    """Tensors in memory as a `TensorSource`; it counts the rows it is asked for."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors, self.n_rows = tensors, 0
        self.names = sorted(tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        return self.tensors[name].dtype

    def file(self, name: str) -> Path:
        return Path("memory")

    def read(self, name: str, start: int, stop: int) -> Tensor:
        self.n_rows += stop - start
        return self.tensors[name][start:stop]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pieces a tensor, so that a wrong border shows."""
    monkeypatch.setattr(sources, "_PIECE_BYTES", 1000)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_expert_stacks_and_turned_matrices_are_filled_in_place(dtype: torch.dtype) -> None:
    experts = {f"experts.{i}.up": numbers(31, 40 + i)[:, :40].half() for i in range(3)}
    source = Memory(experts)
    for turn in (False, True):
        parameter = torch.empty((3, 40, 31) if turn else (3, 31, 40), dtype=dtype)
        fill(parameter, Row("up", "experts.{expert}.up", turn, n_experts=3), source, {name: name for name in experts})
        expected = [(tensor.mT if turn else tensor).to(dtype) for tensor in experts.values()]
        assert torch.equal(parameter, torch.stack(expected))
    assert source.n_rows == 2 * 3 * 31, "each row is read once"


def test_mixed_dtypes_become_the_one_asked_for() -> None:
    model = build_model(config_for_size("d2", 300, 16, "gpt2"))
    family, ours = architecture("gpt2"), dict(model.named_parameters())
    kinds = [torch.float32, torch.bfloat16, torch.float16]
    rows = list(family.weights(model.config).expand(2, True))
    tensors = {
        row.theirs: to_theirs(ours[row.ours].detach(), row)[0].to(kinds[i % 3]).contiguous()
        for i, row in enumerate(rows)
    }
    source = ModelSource(Path("here"), model.config, TOKENIZER, Memory(tensors))
    loaded = build_from(source, None, "cpu")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}, "the default when kinds are mixed"
    for i, row in enumerate(rows):
        assert torch.equal(loaded.get_parameter(row.ours), ours[row.ours].to(kinds[i % 3]).float())
    half = build_from(source, torch.bfloat16, "cpu")
    assert {parameter.dtype for parameter in half.parameters()} == {half.compute_dtype} == {torch.bfloat16}


def test_a_wrong_shape_names_tensor_and_file() -> None:
    with pytest.raises(GroundupError, match=r"memory: tensor a is \[5, 4\], but config.json asks for \[4, 5\]"):
        fill(torch.empty(4, 5), Row("ours", "a"), Memory({"a": numbers(5, 4)}), {"a": "a"})


MEASURE = """
import json, sys, torch
from groundup.checkpoints.model_folder import load_model, save_model
from groundup.models import model_types

model_types()  # imports every architecture

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

def peak(function):
    before = kilobytes("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the high water mark begins anew
    return function(), (kilobytes("VmHWM") - before) * 1024

folder, dtype = sys.argv[1], getattr(torch, sys.argv[2])
(model, tokenizer), loading = peak(lambda: load_model(folder, dtype=dtype))
_, saving = peak(lambda: save_model(folder + "-again", model, tokenizer, dtype=torch.bfloat16))
size = sum(parameter.nbytes for parameter in model.parameters())
print(json.dumps([size, loading / size, saving / size]))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"d_model": 512, "n_layers": 12, "n_heads": 8, "n_kv_heads": 4, "d_head": 64, "d_ff": 1536}
    config = architecture("qwen3").Config(vocab_size=16384, context_length=64, tie_embeddings=False, **sizes)
    model, place = build_model(config), tmp_path_factory.mktemp("large")
    save_model(place / "fp32-shards", model, TOKENIZER, shard_bytes=50_000_000)
    save_model(place / "bf16-one", model, TOKENIZER, dtype=torch.bfloat16)
    return place


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux counts it")
@pytest.mark.parametrize("name", ["fp32-shards", "bf16-one"])
def test_no_second_copy_of_a_model(large: Path, name: str) -> None:
    """Peak resident memory above what there was before, of a model of 218 MB."""
    command = [sys.executable, "-c", MEASURE, str(large / name), "float32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    size, loading, saving = json.loads(done.stdout)
    assert size > 200e6
    assert 0.9 < loading < 1.15
    assert saving < 0.15, "in bf16: a copy would be half"
