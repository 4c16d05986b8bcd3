from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from groundup.checkpoints.model_folder import load_model, open_source, save_model
from groundup.core.errors import GroundupError
from groundup.data.prepare import prepare
from groundup.export.gguf_file import export_gguf
from groundup.export.llama_cpp import compare_with_llama_cpp
from groundup.models import build_model, config_for_size
from groundup.pretraining.pretrain import pretrain
from groundup.tokenization.gguf_vocabulary import gguf_from_tokenizer, tokenizer_from_gguf
from groundup.tokenization.training import train_tokenizer

gguf = pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

TEXT = "The quick brown foxes' 12345 jumps;  over\n\nthe lazy dog, it's 9 o'clock. Crème brûlée. "


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT * 20], vocab_size=320, pattern="gpt2")


def tiny(folder: Path, tokenizer, architecture: str = "llama", **sizes) -> Path:
    given = {"n_layers": 1, "d_model": 32, "d_ff": 64} | sizes
    save_model(folder, build_model(config_for_size("d1", 320, 64, architecture, **given)), tokenizer)
    return folder


def test_a_run_of_this_programs_own_goes_to_llama_cpp(tmp_path: Path) -> None:
    """The default architecture and tokenizer, trained for a moment, as `groundup pretrain` leaves them."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(2, 7))) for _ in range(300)]
    (tmp_path / "text.txt").write_text(" ".join(draw.choices(words, k=8000)), encoding="utf-8")
    tokenizer = train_tokenizer([TEXT * 20], vocab_size=320)
    prepare(tmp_path / "text.txt", tokenizer, tmp_path / "data")
    pretrain(tmp_path / "data", out=tmp_path / "run", size="d2", d_model=64, context_length=64, steps=20)
    written = export_gguf(tmp_path / "run", tmp_path / "mine.gguf", type="f16")
    assert written.comparison is not None
    assert written.comparison.n_positions >= 30 and written.comparison.max_difference < 0.05
    assert load_model(written.path)[0].config.architecture == "qwen3"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "dbrx", "qwen2", "smollm", "default", "falcon"])
def test_every_pre_tokenizer_is_the_one_of_its_name(name: str, tmp_path: Path, tokenizer) -> None:
    fields = gguf_from_tokenizer(tokenizer, 320) | {"tokenizer.ggml.pre": name}
    folder = tiny(tmp_path / "model", tokenizer_from_gguf(fields, tmp_path))
    written = export_gguf(folder, tmp_path / "m.gguf", type="f32")
    assert gguf.GGUFReader(written.path).fields["tokenizer.ggml.pre"].contents() == name
    assert written.comparison is not None and written.comparison.n_texts > 40


def test_a_file_of_another_model_or_tokenizer_is_found_out(tmp_path: Path, tokenizer) -> None:
    folder = tiny(tmp_path / "model", tokenizer)
    written = export_gguf(folder, tmp_path / "m.gguf", type="f32", verify=False)
    other = tiny(tmp_path / "other", train_tokenizer([TEXT * 20], vocab_size=320, pattern="qwen2"))
    with pytest.raises(GroundupError, match=r"llama\.cpp reads other tokens in"):
        compare_with_llama_cpp(written.path, open_source(other), "f32", 64)
    model = load_model(folder)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    save_model(tmp_path / "changed", model, tokenizer)
    with pytest.raises(GroundupError, match="Do not use the file"):
        compare_with_llama_cpp(written.path, open_source(tmp_path / "changed"), "f32", 64)
    data = bytearray(written.path.read_bytes())
    data[data.index(b"blk.0.attn_q.weight") + 4] = ord("9")
    written.path.write_bytes(data)
    with pytest.raises(GroundupError, match=r"llama\.cpp could not run the file .*exit code"):
        compare_with_llama_cpp(written.path, open_source(folder), "f32", 64)


def test_the_same_file_twice_and_nothing_half_written(
    tmp_path: Path, tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny(tmp_path / "model", tokenizer)
    first = export_gguf(folder, tmp_path / "a.gguf", verify=False)
    second = export_gguf(folder, tmp_path / "deep" / "b.gguf", verify=False)
    assert first.path.read_bytes() == second.path.read_bytes() and first.n_tensors == 12
    monkeypatch.setattr(gguf, "quantize", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_gguf(folder, tmp_path / "a.gguf", verify=False)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gguf", "deep", "model"]
    monkeypatch.setattr("groundup.export.gguf_file.free_bytes", lambda _: 10)
    with pytest.raises(GroundupError, match="the disk has 10 bytes free"):
        export_gguf(folder, tmp_path / "c.gguf", verify=False)


@pytest.mark.parametrize(
    ("architecture", "sizes", "match"),
    [
        ("rnn", {}, "a rnn model cannot be a GGUF file: llama.cpp has no such architecture"),
        (
            "llama",
            {"rope_scaling": {"kind": "dynamic", "factor": 2.0, "original_context_length": 32}},
            "cannot be a GGUF",
        ),
        ("qwen3", {"attention_bias": True}, "it has attention_bias True, and llama.cpp has no setting for it"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(
    architecture: str, sizes: dict, match: str, tmp_path: Path, tokenizer
) -> None:
    given = {"d_ff": None} | sizes if architecture == "rnn" else sizes
    folder = tiny(tmp_path / "model", tokenizer, architecture, **given)
    with pytest.raises(GroundupError, match=match):
        export_gguf(folder, tmp_path / "m.gguf", verify=False)
    assert not (tmp_path / "m.gguf").exists()


def test_names_and_types(tmp_path: Path, tokenizer) -> None:
    folder = tiny(tmp_path / "model", tokenizer)
    with pytest.raises(GroundupError, match=r"does not end in \.gguf"):
        export_gguf(folder, tmp_path / "m.bin")
    with pytest.raises(GroundupError, match="unknown type of a GGUF file 'q8'; did you mean 'q8_0'"):
        export_gguf(folder, tmp_path / "m.gguf", type="q8")
    written = export_gguf(folder, tmp_path / "m.gguf", verify=False)
    with pytest.raises(GroundupError, match="is the model itself"):
        export_gguf(written.path, written.path)
