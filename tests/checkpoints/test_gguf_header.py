from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from groundup.checkpoints.gguf_header import GGUFFile
from groundup.core.errors import GroundupError

gguf = pytest.importorskip("gguf")

KINDS = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")


def write(path: Path) -> dict[str, np.ndarray]:
    """A file with settings of every type and a matrix of each kind; gives the matrices' numbers after rounding."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 3)
    writer.add_float32("llama.eps", 1e-5)
    writer.add_bool("flag", True)
    writer.add_int64("far", -(1 << 40))
    writer.add_array("words", ["é", "", "a b"])
    writer.add_array("numbers", [1, -2, 3])
    numbers = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    rounded = {}
    for kind in KINDS:
        stored = gguf.quantize(numbers, gguf.GGMLQuantizationType[kind])
        writer.add_tensor(kind, stored, raw_dtype=gguf.GGMLQuantizationType[kind])
        rounded[kind] = gguf.dequantize(stored, gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return rounded


def test_fields_and_numbers_are_those_of_the_library(tmp_path: Path) -> None:
    rounded = write(tmp_path / "m.gguf")
    file = GGUFFile(tmp_path / "m.gguf")
    theirs = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert file.fields == {key: field.contents() for key, field in theirs.items() if not key.startswith("GGUF.")}
    assert file.fields["words"] == ["é", "", "a b"] and file.fields["far"] == -(1 << 40)
    for kind in KINDS:
        assert file.type_name(kind) == kind and file.tensors[kind].shape == (5, 64)
        assert np.array_equal(file.rows(kind, 0, 5).float().numpy(), rounded[kind])
        assert np.array_equal(file.rows(kind, 2, 4).float().numpy(), rounded[kind][2:4])
    assert [file.dtype(kind) for kind in ("BF16", "F16", "Q4_1")] == [torch.bfloat16, torch.float16, torch.float32]


def test_a_file_cut_short_is_named_wherever_it_is_cut(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    data = (tmp_path / "m.gguf").read_bytes()
    for length in (5, 20, 40, 150, 300, 700, len(data) - 100):
        (tmp_path / "cut.gguf").write_bytes(data[:length])
        with pytest.raises(GroundupError, match=r"cut\.gguf is damaged or cut short"):
            GGUFFile(tmp_path / "cut.gguf")


def test_other_files_and_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(GroundupError, match="no GGUF file"):
        GGUFFile(path)
    path.write_bytes(b"GGUF" + (9).to_bytes(4, "little") + bytes(16))
    with pytest.raises(GroundupError, match="version 9"):
        GGUFFile(path)
    path.write_bytes(b"")
    with pytest.raises(GroundupError, match="no GGUF file"):
        GGUFFile(path)
