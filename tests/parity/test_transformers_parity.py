"""Files pass between transformers and us in both directions with the same logits and ids, and no code of ours there."""

from __future__ import annotations

import inspect
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from groundup.checkpoints.model_folder import load_model, read_config, save_model
from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_json
from groundup.models import ModelConfig, architecture, build_model, model_types
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
VOCAB = 300


def cases(kind: str) -> dict[str, Any]:
    """What the files of `families/` hold under `kind`; a new family is a new file there."""
    found: dict[str, Any] = {}
    for path in sorted(FAMILIES.glob("*.yaml")):
        for name, case in yaml.safe_load(path.read_text(encoding="utf-8")).get(kind, {}).items():
            assert name not in found, f"two cases are called {name}"
            found[name] = architecture(path.stem).Config(vocab_size=VOCAB, **case) if kind == "ours" else case
    return found


FAMILIES = Path(__file__).parent / "families"
OURS: dict[str, ModelConfig] = cases("ours")
THEIRS: dict[str, dict[str, Any]] = {name: {"vocab_size": VOCAB} | case for name, case in cases("theirs").items()}
CARRIED: dict[str, list[str]] = cases("carried")
REFUSED = [
    (name, setting, value) for name, each in cases("refused").items() for one in each for setting, value in one.items()
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)


def scatter(model: torch.nn.Module, seed: int = 0) -> None:
    """Every parameter away from zero and one, so that none can be dropped or swapped without showing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + 0.1)


def tokens(length: int) -> torch.Tensor:
    return torch.randint(VOCAB, (3, length), generator=torch.Generator().manual_seed(7))


def their_model(settings: dict) -> torch.nn.Module:
    config = transformers.AutoConfig.for_model(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    scatter(model)
    return model


def their_logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits


def our_logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return load_model(folder)[0](ids)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert theirs.std() > 0.1, "logits that hardly vary prove nothing"
    return float((ours - theirs).abs().max())


def ours_there(name: str, folder: Path, tokenizer: Tokenizer) -> float:
    """How far the logits of a model of ours are from those transformers gives for its folder."""
    model = build_model(OURS[name]).eval()
    scatter(model)
    save_model(folder, model, tokenizer)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert sum(p.numel() for p in theirs.parameters()) == model.n_parameters()
    ids = tokens(OURS[name].context_length)
    with torch.no_grad():
        return difference(model(ids), their_logits(theirs, ids))


def theirs_here(name: str, folder: Path, tokenizer: Tokenizer, shard: str = "5GB") -> float:
    """How far our logits are from those of the model of theirs whose folder we open."""
    theirs = their_model(THEIRS[name])
    theirs.save_pretrained(folder, max_shard_size=shard)
    assert (folder / "model.safetensors.index.json").exists() == (shard != "5GB")
    tokenizer.save(folder)
    ids = tokens(20)
    return difference(our_logits(folder, ids), their_logits(theirs, ids))


@pytest.mark.parametrize("name", OURS)
def test_ours_opens_in_transformers(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert ours_there(name, tmp_path / "model", tokenizer) < TOLERANCE


@pytest.mark.parametrize("shard", ["5GB", "40KB"])
@pytest.mark.parametrize("name", THEIRS)
def test_theirs_opens_here(name: str, shard: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert theirs_here(name, tmp_path, tokenizer, shard) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in THEIRS if "experts" in str(THEIRS[name])])
def test_experts_open_as_the_stacks_they_are_in_memory(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    """transformers 5 writes each expert apart, as published files are, unless it is told not to."""
    theirs = their_model(THEIRS[name])
    theirs.save_pretrained(tmp_path, save_original_format=False)
    tokenizer.save(tmp_path)
    ids = tokens(20)
    assert difference(our_logits(tmp_path, ids), their_logits(theirs, ids)) < TOLERANCE


def test_the_cases_cover_every_family() -> None:
    known_elsewhere = {name: module for name, module in model_types().items() if not name.startswith("groundup_")}
    assert {config.architecture for config in OURS.values()} == set(known_elsewhere.values())
    assert {settings["model_type"] for settings in THEIRS.values()} == set(known_elsewhere)


def decoding(name: str, folder: Path, tokenizer: Tokenizer) -> float:
    """How far apart the logits are when both read token by token, each with its own cache."""
    theirs = their_model(THEIRS[name])
    theirs.save_pretrained(folder)
    tokenizer.save(folder)
    model, _ = load_model(folder)
    ids, state, cache = tokens(20), model.new_state(3), None
    cuts = (0, 5, *range(6, 21))
    ours, wanted = [], []
    with torch.no_grad():
        for start, stop in itertools.pairwise(cuts):
            ours.append(model(ids[:, start:stop], state))
            if "past_key_values" in inspect.signature(theirs.forward).parameters:
                step = theirs(ids[:, start:stop], past_key_values=cache, use_cache=True)
                wanted.append(step.logits)
                cache = step.past_key_values
    wanted = wanted or [their_logits(theirs, ids)]
    return difference(torch.cat(ours, dim=1), torch.cat(wanted, dim=1))


@pytest.mark.parametrize("name", THEIRS)
def test_decoding_token_by_token_matches_transformers(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Scaled rotary positions pass the length trained on first while they decode."""
    assert decoding(name, tmp_path, tokenizer) < TOLERANCE


def test_transformers_opens_ours_without_our_code(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A fresh interpreter that cannot import groundup gets the same greedy continuation and the same ids."""
    model = build_model(OURS["qwen3"]).eval()
    scatter(model)
    save_model(tmp_path / "model", model, tokenizer)
    script = f"""
import sys
sys.modules["groundup"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained({str(tmp_path / "model")!r})
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / "model")!r})
ids = tokenizer("the lazy dog sleeps", return_tensors="pt").input_ids
print(ids[0].tolist(), model(ids).logits[0].argmax(-1).tolist())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    ids = tokenizer.encode("the lazy dog sleeps")
    with torch.no_grad():
        best = model(torch.tensor([ids]))[0].argmax(-1).tolist()
    assert run.stdout.splitlines()[-1] == f"{ids} {best}"


def test_a_file_of_2019_opens(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The first GPT-2 files have no `transformer.` prefix, and carry their causal masks."""
    from safetensors.torch import load_file, save_file

    theirs = their_model(THEIRS["gpt2"])
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    old["h.0.attn.bias"] = torch.ones(1, 1, 23, 23).tril()
    old["h.1.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(old, tmp_path / "model.safetensors")
    config = read_json(tmp_path / "config.json") | {"n_ctx": 23}
    write_json(tmp_path / "config.json", config)
    assert difference(our_logits(tmp_path, tokens(20)), their_logits(theirs, tokens(20))) < TOLERANCE


@pytest.mark.parametrize("name", CARRIED)
def test_tensors_that_old_files_carry_are_no_weights(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Masks and frequencies that follow from the config; some old files also lack the prefix of all names."""
    from safetensors.torch import load_file, save_file

    theirs = their_model(THEIRS[name])
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights | {carried: torch.ones(1, 1, 2, 2) for carried in CARRIED[name]}, tmp_path / "model.safetensors")
    assert difference(our_logits(tmp_path, tokens(20)), their_logits(theirs, tokens(20))) < TOLERANCE


DEFAULT = {"rope_type": "default", "rope_theta": 777.0}
LINEAR = {"factor": 2.0}
FACTORS = {"short_factor": [1.0] * 6, "long_factor": [2.0] * 6}


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("qwen3", [{"rope_theta": 777.0}, {"rope_theta": 777.0, "rope_scaling": None}, {"rope_parameters": DEFAULT}]),
        ("qwen3", [{}, {"rope_theta": 10_000}, {"rope_parameters": {"rope_type": "default"}}]),
        (
            "llama",
            [
                {"rope_theta": 777.0, "rope_scaling": {"type": "linear"} | LINEAR},
                {"rope_theta": 777.0, "rope_scaling": {"rope_type": "linear"} | LINEAR},
                {"rope_theta": 777.0, "rope_scaling": {"type": "linear", "rope_type": "linear"} | LINEAR},
                {"rope_parameters": DEFAULT | {"rope_type": "linear"} | LINEAR},
            ],
        ),
        (
            "qwen2",
            [
                {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
                {"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 16}},
                {"rope_scaling": {"type": "yarn", "factor": 4.0}, "original_max_position_embeddings": 16},
            ],
        ),
        (
            "phi3",
            [
                {"rope_scaling": {"type": kind} | FACTORS, "original_max_position_embeddings": 8}
                for kind in ("longrope", "su", "yarn")
            ],
        ),
    ],
)
def test_old_and_new_rope_settings_mean_the_same(name: str, spellings: list[dict], tmp_path: Path) -> None:
    settings = {k: v for k, v in THEIRS[name].items() if k != "rope_parameters"}
    configs = []
    for spelling in spellings:
        write_json(tmp_path / "config.json", settings | spelling)
        configs.append(read_config(tmp_path))
    assert all(config == configs[0] for config in configs)


@pytest.mark.parametrize(("name", "setting", "value"), REFUSED)
def test_what_we_do_not_have_is_refused_by_name(name: str, setting: str, value: object, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", THEIRS[name] | {setting: value})
    with pytest.raises(GroundupError, match=setting) as error:
        read_config(tmp_path)
    assert str(tmp_path) in str(error.value)
