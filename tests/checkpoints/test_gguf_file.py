from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.checkpoints.gguf_file import open_gguf
from groundup.checkpoints.model_folder import load_model, save_model
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.export.gguf_file import export_gguf
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer

gguf = pytest.importorskip("gguf")

SIZES = {"n_layers": 2, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "d_head": 16, "d_ff": 96}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "llama"
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog. " * 20], vocab_size=280)
    config = config_for_size("d2", 288, 64, "llama", tie_embeddings=False, **SIZES)
    model = build_model(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    save_model(place, model, tokenizer)
    return place


def rewritten(
    source: Path, target: Path, change: dict[str, Any] | None = None, drop: str = "", extra: str = ""
) -> Path:
    """A copy of a GGUF file with other settings, a tensor less or a tensor more."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    for key, field in fields.items():
        if key == "general.architecture":
            continue
        sub_type = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(key, (change or {}).get(key, field.contents()), field.types[0], sub_type)
    for key, value in (change or {}).items():
        if key not in fields:
            (writer.add_string if isinstance(value, str) else writer.add_uint32)(key, value)
    for tensor in reader.tensors:
        if tensor.name != drop:
            writer.add_tensor(tensor.name, tensor.data.copy(), raw_dtype=tensor.tensor_type)
    if extra:
        writer.add_tensor(extra, torch.zeros(3).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize(("kind", "error"), [("f32", 0.0), ("bf16", 4e-3), ("f16", 5e-4), ("q8_0", 5e-3)])
def test_the_model_comes_back_up_to_its_type(kind: str, error: float, folder: Path, tmp_path: Path) -> None:
    written = export_gguf(folder, tmp_path / "m.gguf", type=kind, verify=False)
    (model, tokenizer), (back, its_tokenizer) = load_model(folder), load_model(written.path, dtype=torch.float32)
    assert back.config == open_gguf(written.path).config
    assert its_tokenizer.encode("the lazy fox") == tokenizer.encode("the lazy fox")
    assert open_tokenizer(written.path).sha256 == its_tokenizer.sha256
    for (name, ours), theirs in zip(model.named_parameters(), back.parameters(), strict=True):
        assert (ours - theirs).abs().max().item() <= error * ours.abs().max().item(), name
        if kind != "f32" and ours.ndim == 2:
            assert not torch.equal(ours, theirs), "the type was not used"


def test_what_a_file_may_not_be(folder: Path, tmp_path: Path) -> None:
    good = export_gguf(folder, tmp_path / "m.gguf", type="f32", verify=False).path
    bad = tmp_path / "bad.gguf"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"drop": "blk.1.ffn_up.weight"}, "missing tensor model.layers.1.mlp.up_proj.weight"),
        ({"drop": "token_embd.weight"}, "holds no language model"),
        ({"extra": "blk.0.attn_sinks.weight"}, "unexpected tensor blk.0.attn_sinks.weight"),
        (
            {"change": {"llama.attention.clamp_kqv": 8}},
            r"asks for what is not supported here: llama.attention.clamp_kqv=8",
        ),
        ({"change": {"llama.rope.scaling.type": "longrope"}}, "rotary positions of type 'longrope'"),
        (
            {"change": {"llama.feed_forward_length": 80}},
            r"tensor blk.0.ffn_gate.weight is \[96, 64\].* ask for \[80, 64\]",
        ),
        ({"change": {"llama.attention.value_length": 8}}, "keys and values of different widths"),
        ({"change": {"split.count": 3}}, "one of 3 parts"),
    ]
    for change, match in cases:
        with pytest.raises(GroundupError, match=match):
            load_model(rewritten(good, bad, **change))
    assert load_model(rewritten(good, bad))[0].config == load_model(good)[0].config


def test_a_head_stored_twice_is_a_tied_one(tmp_path: Path, folder: Path) -> None:
    tokenizer = load_model(folder)[1]
    config = config_for_size("d2", 288, 64, "llama", tie_embeddings=True, **SIZES)
    save_model(tmp_path / "tied", build_model(config), tokenizer)
    file = export_gguf(tmp_path / "tied", tmp_path / "m.gguf", type="f16", verify=False).path
    assert "output.weight" not in {tensor.name for tensor in gguf.GGUFReader(file).tensors}
    assert load_model(file)[0].head is None


def test_other_architectures_are_named(tmp_path: Path, folder: Path) -> None:
    good = export_gguf(folder, tmp_path / "m.gguf", type="f16", verify=False).path
    data = bytearray(good.read_bytes())
    at = data.index(b"llama", 24)
    data[at : at + 5] = b"rwkv7"
    (tmp_path / "other.gguf").write_bytes(data)
    with pytest.raises(GroundupError, match="unknown architecture of a GGUF file 'rwkv7'"):
        open_gguf(tmp_path / "other.gguf")
