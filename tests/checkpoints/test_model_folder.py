"""The model folder as a user meets it: whole, sharded, damaged, incomplete, of another model, from the hub."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import groundup.checkpoints.model_folder as model_folder
from groundup.checkpoints.model_folder import load_model, read_config, resolve_model, save_model, verify_model
from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_json
from groundup.models import LanguageModel, build_model, config_for_size
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

TOKENS = torch.randint(300, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a folder is a folder is a folder " * 30], vocab_size=272)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return build_model(config_for_size("d2", 300, 16, d_model=64, tie_embeddings=False))


@pytest.fixture(scope="module")
def saved(model: LanguageModel, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def refused(folder: Path) -> str:
    with pytest.raises(GroundupError) as error:
        load_model(folder)
    return str(error.value)


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    weights = load_file(folder / "model.safetensors") | {name.replace("__", "."): t for name, t in changes.items()}
    save_file({name: t for name, t in weights.items() if t is not None}, folder / "model.safetensors")


def change_config(folder: Path, **changes: object) -> None:
    write_json(folder / "config.json", read_json(folder / "config.json") | changes)


# ---- whole


def test_the_files_are_those_other_tools_expect(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_special_ids_come_from_the_tokenizer(saved: Path, tokenizer: Tokenizer) -> None:
    expected = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    assert read_json(saved / "generation_config.json") == expected
    assert expected.items() <= read_json(saved / "config.json").items()


def test_stops_named_only_for_generation_are_kept(folder: Path) -> None:
    write_json(folder / "generation_config.json", {"eos_token_id": [7, 5]})
    change_config(folder, eos_token_id=5)
    assert read_config(folder).eos_ids == (5, 7)


def test_bf16_weights_take_half_the_space_and_load_as_they_are(
    model: LanguageModel, tokenizer: Tokenizer, saved: Path, tmp_path: Path
) -> None:
    save_model(tmp_path / "half", model, tokenizer, dtype=torch.bfloat16)
    size, half = ((place / "model.safetensors").stat().st_size for place in (saved, tmp_path / "half"))
    assert half == pytest.approx(size / 2, rel=0.02)
    loaded, _ = load_model(tmp_path / "half")
    assert (loaded.token_embedding.weight.dtype, loaded.compute_dtype) == (torch.bfloat16, torch.bfloat16)
    masters, _ = load_model(tmp_path / "half", dtype=torch.float32)
    assert torch.equal(masters.token_embedding.weight, model.token_embedding.weight.bfloat16().float())
    assert 0 < verify_model(tmp_path / "half", model, TOKENS) < 0.1


def test_verify_compares_in_fp32_and_leaves_the_model_as_it_was(saved: Path, model: LanguageModel) -> None:
    model.compute_dtype = torch.bfloat16
    model.train()
    try:
        assert verify_model(saved, model, TOKENS[0]) == 0.0
        assert model.training
        assert model.compute_dtype == torch.bfloat16
    finally:
        model.compute_dtype = torch.float32


def test_verify_sees_a_difference(folder: Path, model: LanguageModel) -> None:
    change_weights(folder, model__norm__weight=torch.full((64,), 1.5))
    assert verify_model(folder, model, TOKENS) > 1e-3


def test_loaded_weights_live_on_when_the_file_changes(folder: Path, model: LanguageModel) -> None:
    loaded, _ = load_model(folder)
    file = folder / "model.safetensors"
    file.write_bytes(b"\0" * file.stat().st_size)
    assert torch.equal(loaded.token_embedding.weight, model.token_embedding.weight)


def test_sharded_folder(model: LanguageModel, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path, model, tokenizer, shard_bytes=100_000)
    index = read_json(tmp_path / "model.safetensors.index.json")
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    assert sorted(set(index["weight_map"].values())) == shards
    assert index["metadata"]["total_size"] == 4 * model.n_parameters()
    assert verify_model(tmp_path, model, TOKENS) == 0.0


def test_a_card_is_written_as_given(model: LanguageModel, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "m", model, tokenizer, card="# Mine\n")
    assert (tmp_path / "m" / "README.md").read_text() == "# Mine\n"


# ---- writing that must not harm


def test_a_model_folder_is_replaced_and_nothing_else_is(
    folder: Path, model: LanguageModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (folder / "stale.txt").write_text("of the model before")
    save_model(folder, model, tokenizer)
    assert not (folder / "stale.txt").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.md").write_text("precious")
    with pytest.raises(GroundupError, match="not empty and is not a model folder"):
        save_model(tmp_path / "thesis", model, tokenizer)
    assert (tmp_path / "thesis" / "chapter1.md").read_text() == "precious"


def test_a_full_disk_leaves_the_old_folder(
    folder: Path, model: LanguageModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model_folder, "write_tensors", full)
    with pytest.raises(GroundupError, match="the disk is full"):
        save_model(folder, model, tokenizer)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half written is left"


def test_a_kill_between_the_two_renames_is_mended(folder: Path, model: LanguageModel) -> None:
    folder.rename(folder.with_name(f".{folder.name}.123.retired"))
    assert verify_model(resolve_model(folder), model, TOKENS) == 0.0


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Tokenizer, folder: Path, tmp_path: Path) -> None:
    small = build_model(config_for_size("d1", 100, 8))
    with pytest.raises(GroundupError, match=f"tokenizer has {tokenizer.vocab_size} ids but the model only 100"):
        save_model(tmp_path / "small", small, tokenizer)
    train_tokenizer(list(topics.values())[:9], vocab_size=400).save(folder)
    assert "not the tokenizer the model was made for" in refused(folder)


# ---- reading what is broken


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_cut_weights(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    message = refused(folder)
    assert str(file) in message
    assert "damaged or cut short" in message


def test_garbage_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"this is not a safetensors file, whatever its name says" * 10)
    assert "damaged or cut short" in refused(folder)


def test_missing_tensor(folder: Path) -> None:
    change_weights(folder, model__layers__1__mlp__up_proj__weight=None)
    assert "missing tensor model.layers.1.mlp.up_proj.weight" in refused(folder)


def test_many_missing_tensors_are_counted(folder: Path) -> None:
    change_config(folder, num_hidden_layers=3, layer_types=["full_attention"] * 3)
    message = refused(folder)
    assert "missing tensors model.layers.2.input_layernorm.weight" in message
    assert "and 8 more" in message


def test_unexpected_tensor(folder: Path) -> None:
    change_weights(folder, model__layers__0__adapter__weight=torch.zeros(3))
    assert "unexpected tensor model.layers.0.adapter.weight" in refused(folder)


def test_wrong_shape(folder: Path) -> None:
    change_weights(folder, model__layers__0__mlp__up_proj__weight=torch.zeros(5, 64))
    message = refused(folder)
    assert "model.layers.0.mlp.up_proj.weight is [5, 64]" in message
    assert "config.json asks for [192, 64]" in message


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    message = refused(folder)
    assert str(folder) in message
    assert "tokenizer" in message


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "is not a model folder: it has no config.json" in refused(folder)


def test_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "qwen3", ')
    assert "is not valid JSON" in refused(folder)
    write_json(folder / "config.json", {"hidden_size": 4})
    assert "has no model_type" in refused(folder)
    write_json(folder / "config.json", {"model_type": "qwen3"})
    assert "config.json has no 'num_attention_heads'" in refused(folder)


def test_impossible_config(folder: Path) -> None:
    change_config(folder, num_key_value_heads=3)
    message = refused(folder)
    assert "n_heads 2 is not a multiple of n_kv_heads 3" in message
    assert str(folder) in message


def test_unknown_model_type(folder: Path) -> None:
    change_config(folder, model_type="qwen33")
    message = refused(folder)
    assert "did you mean 'qwen3'?" in message
    assert "gpt2" in message


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights" in refused(folder)


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    message = refused(folder)
    assert "pickle (pytorch_model.bin)" in message
    assert "save_pretrained" in message


def test_lost_and_wandering_shards(model: LanguageModel, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path, model, tokenizer, shard_bytes=100_000)
    index = read_json(tmp_path / "model.safetensors.index.json")
    lost = tmp_path / index["weight_map"]["model.norm.weight"]
    content = lost.read_bytes()
    lost.unlink()
    assert f"{lost} is missing" in refused(tmp_path)
    lost.write_bytes(content)
    index["weight_map"]["model.ghost.weight"] = lost.name
    write_json(tmp_path / "model.safetensors.index.json", index)
    assert "promises tensor 'model.ghost.weight'" in refused(tmp_path)
    index["weight_map"]["model.ghost.weight"] = "../../etc/secret.safetensors"
    write_json(tmp_path / "model.safetensors.index.json", index)
    assert "outside its folder" in refused(tmp_path)


def test_a_tied_model_may_repeat_its_head_but_not_have_another(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = build_model(config_for_size("d1", 300, 16, tie_embeddings=True))
    save_model(tmp_path, model, tokenizer)
    change_weights(tmp_path, lm_head__weight=model.token_embedding.weight.detach().clone())
    assert verify_model(tmp_path, model, TOKENS) == 0.0
    change_weights(tmp_path, lm_head__weight=torch.zeros(300, 64))
    assert "lm_head.weight differs from model.embed_tokens.weight" in refused(tmp_path)


# ---- finding


def test_what_a_name_means(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copytree(saved, run / "model")
    assert resolve_model(saved) == saved
    assert resolve_model(str(run)) == run / "model"


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    for name, words in {
        tmp_path: "neither a model folder",
        tmp_path / "nowhere": "there is no file or folder",
        tmp_path / "file.txt": "is a file",
    }.items():
        (tmp_path / "file.txt").write_text("text")
        with pytest.raises(GroundupError, match=words):
            resolve_model(name)


def test_hub_models_come_as_safetensors_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = {}

    def download(name: str, **settings: Any) -> str:
        asked[name] = settings
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert resolve_model("some-org/some.model-1B") == tmp_path
    assert asked["some-org/some.model-1B"]["revision"] is None
    assert resolve_model("some-org/some.model-1B@refs/pr/3") == tmp_path
    assert asked["some-org/some.model-1B"]["revision"] == "refs/pr/3"
    patterns = asked["some-org/some.model-1B"]["allow_patterns"]
    assert "*.safetensors" in patterns
    assert not any(pattern.endswith(("bin", "py", "*")) for pattern in patterns)


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_: object, **__: object) -> str:
        raise hub.errors.LocalEntryNotFoundError("cannot reach the hub\nand more")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(
        GroundupError, match=r"there is no file or folder runs/mine here, and .*cannot reach the hub"
    ) as error:
        resolve_model("runs/mine")
    assert "give its folder" in str(error.value)


def test_the_hub_library_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(GroundupError, match=r"groundup\[hub\]"):
        resolve_model("some-org/some-model")


OFFLINE = """
import sys
from groundup.checkpoints.model_folder import load_model, resolve_model
from groundup.core.errors import GroundupError
for name in sys.argv[1:]:
    try:
        print(load_model(resolve_model(name))[0].n_parameters())
    except GroundupError as error:
        print(error)
"""


def test_a_copy_in_the_hub_cache_opens_without_network(saved: Path, model: LanguageModel, tmp_path: Path) -> None:
    """The cache as huggingface_hub lays it out: a branch names a commit, whose files lie in a snapshot."""
    pytest.importorskip("huggingface_hub")
    commit, place = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--some-org--mine"
    shutil.copytree(saved, place / "snapshots" / commit)
    for branch in ("main", "v1.0"):
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / branch).write_text(commit)
    names = ["some-org/mine", "some-org/mine@v1.0", f"some-org/mine@{commit}", "some-org/mine@v2.0", "some-org/other"]
    settings = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", OFFLINE, *names], capture_output=True, text=True, env=settings)
    *opened, no_revision, no_model = done.stdout.splitlines()
    assert opened == [str(model.n_parameters())] * 3, done.stderr
    assert "there is no file or folder some-org/mine@v2.0 here" in no_revision
    assert "there is no file or folder some-org/other here" in no_model
    assert all("download the model on another machine and give its folder" in line for line in (no_revision, no_model))


# ---- what other people's folders say


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "awq", "bits": 4}, "awq, 4 bits"),
        ({"quant_method": "gptq", "bits": 8}, "gptq, 8 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"load_in_8bit": True}, "load_in_8bit"),
    ],
)
def test_quantised_weights_are_refused_with_what_to_use(folder: Path, settings: dict, words: str) -> None:
    change_config(folder, quantization_config=settings)
    message = refused(folder)
    assert f"quantised ({words}, in quantization_config)" in message
    assert "the model's original" in message and "GGUF" in message


def test_code_in_a_folder_is_never_run(folder: Path) -> None:
    evil = "raise SystemExit('this ran')"
    for name in ("modeling_mine.py", "configuration_mine.py", "conftest.py", "__init__.py"):
        (folder / name).write_text(evil)
    change_config(folder, auto_map={"AutoModelForCausalLM": "modeling_mine.MineForCausalLM"})
    assert "auto_map names code of the model's own (modeling_mine.MineForCausalLM), which is never run" in refused(
        folder
    )
    change_config(folder, model_type="mine")
    assert "unknown model_type 'mine'" in refused(folder) and "named in auto_map, which is never run" in refused(folder)
    # Older files of models that have a class of that name in transformers still name where it came from.
    change_config(folder, model_type="qwen3", auto_map={"AutoModelForCausalLM": "modeling_qwen3.Qwen3ForCausalLM"})
    assert load_model(folder)[0].config.architecture == "qwen3"


def test_special_tokens_beyond_the_model_are_no_harm(model: LanguageModel, saved: Path, folder: Path) -> None:
    """As in Gemma 3 1B, whose tokenizer has one more id, for images, than the model has rows."""
    values = read_json(folder / "tokenizer.json")
    first = max(token["id"] for token in values["added_tokens"])
    for id in range(max(first, *values["model"]["vocab"].values()) + 1, 301):
        values["added_tokens"].append(values["added_tokens"][0] | {"id": id, "content": f"<beyond{id}>"})
    write_json(folder / "tokenizer.json", values)
    loaded, tokenizer = load_model(folder)
    assert (tokenizer.vocab_size, loaded.config.vocab_size) == (301, 300)
    assert max(tokenizer.encode("text with <beyond300> in it")) < 300
    values["added_tokens"][-1]["special"] = False
    write_json(folder / "tokenizer.json", values)
    assert "tokenizer has 301 ids but the model only 300" in refused(folder)


def test_a_folder_without_tokenizer_json_opens(saved: Path, folder: Path, tokenizer: Tokenizer) -> None:
    """GPT-2's two files, as older folders have them, with tokens, roles and a template named beside them."""
    values = read_json(saved / "tokenizer.json")
    vocab = {token: id for token, id in values["model"]["vocab"].items()}
    write_json(folder / "vocab.json", vocab)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in values["model"]["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer.json").unlink()
    ids = {"<|end|>": len(vocab), "<|user|>": len(vocab) + 1}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    beside = {
        "tokenizer_class": "GPT2Tokenizer",
        "eos_token": "<|end|>",
        "chat_template": "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}",
        "added_tokens_decoder": {str(id): {"content": token} | flags for token, id in ids.items()},
    }
    write_json(folder / "tokenizer_config.json", beside)
    _, opened = load_model(folder)
    assert opened.id_of("<|user|>") == ids["<|user|>"] and opened.eos_id == ids["<|end|>"]
    assert opened.config["chat_template"] == beside["chat_template"]
    assert opened.decode(opened.encode("a folder is")) == "a folder is"
    beside["added_tokens_decoder"] = {str(len(vocab) + 7): {"content": "<|end|>"} | flags}
    write_json(folder / "tokenizer_config.json", beside)
    assert f"'<|end|>' is to have the id {len(vocab) + 7}, but the vocabulary gives it [{len(vocab)}]" in refused(
        folder
    )
