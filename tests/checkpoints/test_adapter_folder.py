"""The adapter's folder: written and opened again, refused where it does not fit, and moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter
from groundup.checkpoints.adapter_folder import load_adapted, load_adapter, read_adapter, save_adapter
from groundup.checkpoints.adapter_moving import export_adapter, import_adapter, merge_to_folder
from groundup.checkpoints.model_folder import load_model, resolve_model, save_model
from groundup.checkpoints.tensor_files import read_tensors, save_tensors
from groundup.checkpoints.vocabulary_growth import grown
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, build_model, config_for_size
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

VOCAB = 280


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=VOCAB)


def scattered(model: LanguageModel, part: str, seed: int = 1, by: float = 0.1) -> LanguageModel:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part in name:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def base(name: str = "llama", seed: int = 1) -> LanguageModel:
    heads = {} if name in ("lstm", "mamba") else {"d_head": 16}
    return scattered(build_model(config_for_size("d2", VOCAB, 16, name, d_model=64, **heads), seed), "", seed)


@pytest.fixture
def adapted(tokenizer: Tokenizer, tmp_path: Path) -> LanguageModel:
    """A model and its adapter, in the folders base and run/model."""
    model = base()
    save_model(tmp_path / "base", model, tokenizer)
    scattered(add_adapter(model, AdapterConfig(rank=4)), ".adapters.")
    save_adapter(tmp_path / "run" / "model", model, tokenizer, base=tmp_path / "base")
    return model


def tokens(vocabulary: int = VOCAB) -> torch.Tensor:
    return torch.randint(vocabulary, (2, 12), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", ["llama", "lstm", "mamba", "custom"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
@torch.no_grad()
def test_a_folder_gives_the_same_model_back(name: str, kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = base(name)
    save_model(tmp_path / "base", model, tokenizer)
    config = AdapterConfig(kind=kind, rank=4, rslora=True, alpha=3, rank_pattern={"output": 2})  # type: ignore[arg-type]
    if name == "mamba":
        config = config.model_copy(update={"rank_pattern": {"selection": 2}})
    scattered(add_adapter(model, config), ".adapters.")
    save_adapter(tmp_path / "adapter", model, tokenizer, base=tmp_path / "base")
    again, vocabulary = load_model(resolve_model(tmp_path / "adapter"))
    assert torch.equal(again(tokens()), model(tokens()))
    assert vocabulary.vocab_size == tokenizer.vocab_size
    assert not any(parameter.requires_grad for parameter in again.parameters())
    first = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    save_adapter(tmp_path / "adapter", again, vocabulary, base=tmp_path / "base")
    assert {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()} == first


@torch.no_grad()
def test_the_base_is_found_again_when_both_were_moved(adapted: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("base", "run"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    again, _ = load_model(resolve_model(tmp_path / "elsewhere" / "run"))
    assert torch.equal(again(tokens()), adapted(tokens()))
    (tmp_path / "elsewhere" / "base").rename(tmp_path / "far")
    with pytest.raises(GroundupError, match=r"base .* was not found.*--base"):
        load_model(resolve_model(tmp_path / "elsewhere" / "run"))
    again, _ = load_model(resolve_model(tmp_path / "elsewhere" / "run"), base=tmp_path / "far")
    assert torch.equal(again(tokens()), adapted(tokens()))


def test_another_base_is_refused(adapted: LanguageModel, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "other", base(seed=2), tokenizer)
    save_model(tmp_path / "gpt2", base("gpt2"), tokenizer)
    save_model(tmp_path / "half", base(), tokenizer, dtype=torch.bfloat16)
    with pytest.raises(GroundupError, match=r"is not the base .* begins with"):
        load_adapted(tmp_path / "run" / "model", base=tmp_path / "other")
    with pytest.raises(GroundupError, match="made for a llama model"):
        load_adapted(tmp_path / "run" / "model", base=tmp_path / "gpt2")
    with pytest.raises(GroundupError, match="is an adapter itself"):
        load_adapted(tmp_path / "run" / "model", base=tmp_path / "run")
    load_adapted(tmp_path / "run" / "model", base=tmp_path / "half")  # the same numbers, rounded


def test_merging_gives_a_whole_model_that_computes_the_same(adapted: LanguageModel, tmp_path: Path) -> None:
    merged = merge_to_folder(tmp_path / "run", tmp_path / "merged")
    with torch.no_grad():
        whole, _ = load_model(tmp_path / "merged")
        assert float((whole(tokens()) - adapted(tokens())).abs().max()) < 1e-4
    assert merged.comparison.max_difference < 1e-4 < 0.1 < merged.comparison.moved
    assert merged.comparison.n_changed == 0 and merged.dtype == "fp32"
    half = merge_to_folder(tmp_path / "run", tmp_path / "half", dtype="bf16")
    assert 1e-4 < half.comparison.max_difference < 0.5
    with pytest.raises(GroundupError, match="is a whole model"):
        merge_to_folder(tmp_path / "merged", tmp_path / "twice")


def test_an_adapter_is_imported_and_exported_with_all_it_needs(adapted: LanguageModel, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (bare / name).write_bytes((tmp_path / "run" / "model" / name).read_bytes())
    moved = import_adapter(bare, tmp_path / "mine", base=tmp_path / "base")
    assert moved.comparison.max_difference == 0 and moved.comparison.moved > 0.1
    assert {"tokenizer.json", "base.json", "README.md"} <= {path.name for path in (tmp_path / "mine").iterdir()}
    export_adapter(tmp_path / "run", tmp_path / "public", base_name="someone/base")
    assert (
        json.loads((tmp_path / "public" / "adapter_config.json").read_text())["base_model_name_or_path"]
        == "someone/base"
    )


@torch.no_grad()
def test_rows_of_new_tokens_travel_and_the_base_is_given_room(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "base", base(), tokenizer)
    model = grown(base(), VOCAB, [[1], [2]])
    scattered(add_adapter(model, AdapterConfig(rank=2, new_tokens=(VOCAB, VOCAB + 1))), ".adapters.")
    save_adapter(tmp_path / "adapter", model, tokenizer, base=tmp_path / "base")
    ids = tokens(VOCAB + 2)
    ids[:, 0] = VOCAB
    again, _ = load_adapted(tmp_path / "adapter")
    assert torch.equal(again(ids), model(ids))
    with pytest.raises(GroundupError, match=r"tokens up to id 281, and the model has rows for 280"):
        load_adapter(base(), tmp_path / "adapter")


def test_tokens_without_rows_are_refused_with_the_fix(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "base", base(), tokenizer)
    save_adapter(tmp_path / "adapter", add_adapter(grown(base(), VOCAB, [[1]])), tokenizer, base=tmp_path / "base")
    with pytest.raises(
        GroundupError, match=r"nothing brings the rows of ids 280 to 280; save .*trainable_token_indices"
    ):
        load_adapted(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("use_qalora", True, "use_qalora=True"),
        ("layer_replication", [[0, 1], [0, 2]], "layer_replication"),
        ("target_parameters", ["experts.down_proj"], "target_parameters"),
        ("something_new", 3, "something_new=3"),
        ("peft_type", "IA3", "only LORA"),
        ("r", 8, r"rank of 8 .* needs \[8, 192\]"),
        ("use_dora", True, "lora_magnitude_vector is missing"),
        ("bias", "lora_only", "bias='lora_only'"),
    ],
)
def test_a_setting_that_changes_the_numbers_is_refused_by_name(
    adapted: LanguageModel, tmp_path: Path, key: str, value: object, message: str
) -> None:
    file = tmp_path / "run" / "model" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(GroundupError, match=message):
        load_adapted(tmp_path / "run" / "model")


def test_a_file_that_is_not_right_is_named(adapted: LanguageModel, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "model"
    tensors = read_tensors(folder / "adapter_model.safetensors")
    first = next(name for name in tensors if name.endswith("lora_A.weight"))
    for broken, message in (
        ({name: tensor for name, tensor in tensors.items() if name != first}, "lora_A.weight is missing"),
        (tensors | {first.replace("layers.0", "layers.7"): tensors[first]}, "no such linear layer"),
        (tensors | {"lora_A.weight": tensors[first]}, "not under"),
        (tensors | {"base_model.model.model.extra.weight": tensors[first]}, "extra.weight is saved whole"),
    ):
        save_tensors(broken, folder / "adapter_model.safetensors")
        with pytest.raises(GroundupError, match=message):
            load_adapted(folder)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(GroundupError, match=r"adapter_model.bin.*can run any code"):
        read_adapter(folder)


def test_a_model_with_an_adapter_is_no_whole_model(
    adapted: LanguageModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(GroundupError, match="has an adapter"):
        save_model(tmp_path / "whole", adapted, tokenizer)
    with pytest.raises(GroundupError, match="is a whole model and stands on no base"):
        load_model(tmp_path / "base", base="x")
    with pytest.raises(GroundupError, match="is an adapter itself"):
        save_adapter(tmp_path / "second", adapted, tokenizer, base=tmp_path / "run")
    assert adapter_parameters(adapted)
