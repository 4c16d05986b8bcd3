"""Safetensors as the library reads and writes them, in pieces: same numbers, whatever the dtype, shape and order."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from groundup.checkpoints import sources
from groundup.checkpoints.tensor_files import TensorFiles, save_tensors, write_tensors
from groundup.core.errors import GroundupError

TENSORS = {
    "matrix": torch.randn(37, 11, generator=torch.Generator().manual_seed(0)),
    "turned": torch.randn(11, 37, generator=torch.Generator().manual_seed(1)).mT,
    "half": torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(2)).bfloat16(),
    "scalar": torch.tensor(3.5),
    "counts": torch.tensor([1, -2, 3]),
    "mask": torch.tensor([True, False, True]),
    "nothing": torch.zeros(0, 4),
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pieces a tensor, so that a wrong border shows."""
    monkeypatch.setattr(sources, "_PIECE_BYTES", 100)


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    save_tensors(TENSORS, tmp_path / "a.safetensors", metadata={"format": "pt"})
    read = load_file(tmp_path / "a.safetensors")
    assert set(read) == set(TENSORS)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_bytes_are_those_the_library_writes(tmp_path: Path) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    save_tensors(TENSORS, tmp_path / "ours")
    save_file(contiguous, tmp_path / "theirs")
    read = [load_file(tmp_path / name) for name in ("ours", "theirs")]
    assert list(read[0]) == list(read[1]), "the order in the file is the library's"
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size


def test_all_in_one_dtype(tmp_path: Path) -> None:
    fractions = {name: TENSORS[name] for name in ("matrix", "turned", "half")}
    save_tensors(fractions, tmp_path / "a.safetensors", dtype=torch.float16)
    for name, tensor in load_file(tmp_path / "a.safetensors").items():
        assert torch.equal(tensor, fractions[name].to(torch.float16))


def test_shards_hold_at_most_what_they_may(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.full((10, 10), float(i)) for i in range(5)} | {"large": torch.zeros(30, 10)}
    write_tensors(tmp_path, tensors, torch.float32, shard_bytes=800)
    sizes = {path.name: len(load_file(path)) for path in tmp_path.glob("*.safetensors")}
    assert sorted(sizes.values()) == [1, 1, 2, 2]
    files = TensorFiles(tmp_path)
    assert files.names == sorted(tensors)
    assert torch.equal(files.read("t4", 3, 5), torch.full((2, 10), 4.0))
    assert files.shape("large") == (30, 10) and files.dtype("large") == torch.float32
    assert load_file(files.file("t3"))["t3"].mean() == 3


def test_rows_come_from_their_place(tmp_path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in TENSORS.items()}, tmp_path / "model.safetensors")
    files = TensorFiles(tmp_path)
    for name in ("matrix", "turned", "half", "counts", "mask", "nothing"):
        read = [piece.clone() for _, piece in sources.pieces(files, name)]
        assert torch.equal(torch.cat([TENSORS[name][:0], *read]), TENSORS[name])
    assert len(list(sources.pieces(files, "matrix"))) == 19


def test_a_file_cut_after_it_was_opened_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"matrix": TENSORS["matrix"]}, file)
    files = TensorFiles(tmp_path)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 50)
    with pytest.raises(GroundupError, match=r"model\.safetensors is damaged or cut short .tensor matrix ends early"):
        list(sources.pieces(files, "matrix"))


def test_a_file_replaced_after_it_was_opened_is_read_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"matrix": TENSORS["matrix"]}, file)
    files = TensorFiles(tmp_path)
    save_file({"matrix": torch.zeros(37, 11)}, tmp_path / "new")
    (tmp_path / "new").rename(file)
    assert torch.equal(files.read("matrix", 0, 37), TENSORS["matrix"])


def test_quantised_numbers_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"a.weight": torch.zeros(4, 4, dtype=torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(GroundupError, match=r"tensor a\.weight is stored as F8_E4M3.*original in bfloat16"):
        TensorFiles(tmp_path)


def test_a_disk_that_fills_is_told(tmp_path: Path) -> None:
    """A limit on the size of files makes a real error."""
    code = (
        "import resource, sys, signal, torch\n"
        "from pathlib import Path\n"
        "from groundup.checkpoints.tensor_files import save_tensors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    save_tensors({'a': torch.zeros(10_000)}, Path(sys.argv[1]))\n"
        "except OSError as error:\n"
        "    print('OSError', error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.safetensors")], capture_output=True, text=True)
    assert done.stdout.split() == ["OSError", str(errno.EFBIG)], done.stderr
