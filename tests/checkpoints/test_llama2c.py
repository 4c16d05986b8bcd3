"""llama2.c's checkpoints: the real one, and both versions of the format written here from its description."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

import groundup as gu
from groundup.checkpoints import sources
from groundup.checkpoints.model_folder import load_model, resolve_model
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, architecture, build_model
from groundup.tokenization.imports.llama2c_vocabulary import read_llama2c_vocabulary

STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
SIZES = {"context_length": 24, "d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_head": 8, "d_ff": 48}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that end inside a head."""
    monkeypatch.setattr(sources, "_PIECE_BYTES", 700)


def made(tied: bool) -> LanguageModel:
    return build_model(architecture("llama").Config(vocab_size=270, tie_embeddings=tied, **SIZES), seed=3)


def to_pairs(weight: torch.Tensor, d_head: int) -> torch.Tensor:
    """Rows of queries or keys in llama2.c's order, written the plain way: row 2i is our i, row 2i+1 our i + half."""
    rows = []
    for head in range(len(weight) // d_head):
        for i in range(d_head // 2):
            rows += [weight[head * d_head + i], weight[head * d_head + d_head // 2 + i]]
    return torch.stack(rows)


def write(path: Path, model: LanguageModel, version: int) -> None:
    """The file as llama2.c's export.py describes it."""
    config, tied = model.config, model.head is None
    parts = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def layers(name: str) -> list[torch.Tensor]:
        found = [parts[f"blocks.{layer}.{name}.weight"] for layer in range(config.n_layers)]
        return [to_pairs(weight, 8) for weight in found] if name.endswith(("query", "key")) else found

    embedding, final = [parts["token_embedding.weight"]], [parts["final_norm.weight"]]
    head = [] if tied else [parts["head.weight"]]
    attention = [w for name in ("query", "key", "value", "output") for w in layers(f"attention.{name}")]
    feed_forward = [w for name in ("gate", "down", "up") for w in layers(f"feed_forward.{name}")]
    norms = layers("attention_norm"), layers("feed_forward_norm")
    sizes = [32, 48, 2, 4, 2, 270, 24]
    if version == 0:
        sizes[5] *= 1 if tied else -1
        content = struct.pack("<7i", *sizes)
        angles = [torch.full((24, 8), 9.0)]
        weights = [*embedding, *norms[0], *attention, *norms[1], *feed_forward, *final, *angles, *head]
    else:
        content = struct.pack("<Ii7iB", 0x616B3432, version, *sizes, tied).ljust(256, b"\0")
        weights = [*norms[0], *norms[1], *final, *embedding, *attention, *feed_forward, *head]
    path.write_bytes(content + b"".join(weight.numpy().tobytes() for weight in weights))


def vocabulary(path: Path, n_tokens: int = 270) -> None:
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [" ", "a", "b", " a", "ab", " ab", "é", "t", "h", "th", " th"]
    content = struct.pack("<i", 7)
    for id, piece in enumerate(pieces[:n_tokens]):
        data = piece.encode()
        content += struct.pack("<fi", -float(id), len(data)) + data
    path.write_bytes(content)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_finds_its_place(version: int, tied: bool, tmp_path: Path) -> None:
    model = made(tied)
    write(tmp_path / "mine.bin", model, version)
    vocabulary(tmp_path / "tokenizer.bin")
    loaded, tokenizer = load_model(resolve_model(tmp_path / "mine.bin"))
    assert dict(loaded.named_parameters()).keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter), name
    assert loaded.config.model_copy(update={"bos_id": None, "eos_ids": ()}) == model.config
    assert (loaded.config.bos_id, loaded.config.eos_ids, tokenizer.vocab_size) == (1, (2,), 270)


def test_the_vocabulary_file(tmp_path: Path) -> None:
    vocabulary(tmp_path / "tokenizer.bin")
    tokenizer = read_llama2c_vocabulary(tmp_path / "tokenizer.bin")
    assert [tokenizer.token_of(id) for id in tokenizer.encode("ab thé")] == ["▁ab", "▁th", "é"]
    assert tokenizer.encode("  a") == [259, 259, 262], "spaces in runs are kept, as run.c keeps them"
    assert tokenizer.encode("c") == [259, 3 + ord("c")], "a byte for what has no piece"
    for broken in (b"", b"\0" * 40, (tmp_path / "tokenizer.bin").read_bytes()[:-2]):
        (tmp_path / "tokenizer.bin").write_bytes(broken)
        with pytest.raises(GroundupError, match=r"tokenizer\.bin is no vocabulary file of llama2\.c"):
            read_llama2c_vocabulary(tmp_path / "tokenizer.bin")


def test_what_is_no_such_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.bin"
    write(file, made(True), 0)
    with pytest.raises(
        GroundupError, match=r"none of tok270\.model, tok270\.bin, .* lies beside it; put it there, or name"
    ):
        load_model(file)
    vocabulary(tmp_path / "tokenizer.bin")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(GroundupError, match=r"cut short: a model of its sizes .* the file has"):
        load_model(file)
    file.write_bytes(struct.pack("<Ii7iB", 0x616B3432, 2, *[1] * 7, 1).ljust(256, b"\0"))
    with pytest.raises(
        GroundupError, match=r"version 2, whose weights are quantised to 8 bits; export it with `--version 1`"
    ):
        load_model(file)
    for content in (b"\x80\x04", b"PK\x03\x04" + b"archive/data.pkl" * 20):
        file.write_bytes(content)
        with pytest.raises(GroundupError, match=r"not a checkpoint of llama2\.c.*model\.safetensors"):
            load_model(file)


@pytest.mark.shared_data
def test_the_real_model_tells_its_story(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "models" / "stories260K.bin"
    assert gu.load(file).generate("", temperature=0, max_new_tokens=40).startswith(STORY)
    own = gu.load(file, tokenizer=shared_data / "models" / "tok512.model").tokenizer
    plain = read_llama2c_vocabulary(shared_data / "models" / "tok512.bin")
    for text in (STORY, 'Zoë said: "Größe, 3.14!"\n\nThe end', "日本", ""):
        assert own.encode(text) == plain.encode(text)


@pytest.mark.shared_data
def test_the_real_model_as_a_folder_in_transformers(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    result = gu.import_model(shared_data / "models" / "stories260K.bin", tmp_path / "stories")
    assert (result.n_parameters, result.max_logit_difference, result.dtype) == (260_032, 0.0, "fp32")
    found = gu.verify_with_transformers(tmp_path / "stories", [STORY])
    assert found.ids_equal and found.max_logit_difference < 1e-4
    assert gu.load(tmp_path / "stories").generate("", temperature=0, max_new_tokens=40).startswith(STORY)
