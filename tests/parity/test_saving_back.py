"""Saving gives the folder back: load, save, and transformers sees the same model, tokenizer and text."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from groundup.checkpoints.model_folder import load_model, save_model
from groundup.core.files import read_json, write_json
from groundup.generation.engine import generate_ids
from groundup.generation.sampling import SamplingSettings
from groundup.models import build_model
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

transformers = pytest.importorskip("transformers")


def parity_module(name: str) -> ModuleType:
    """A file beside this one, which holds cases that are shared."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = parity_module("test_transformers_parity")
N_PROMPT, N_NEW = 8, 12
TEMPLATE = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)


CASES = [*(("ours", name) for name in cases.OURS), *(("theirs", name) for name in cases.THEIRS)]


def first_folder(kind: str, name: str, folder: Path, tokenizer: Tokenizer) -> None:
    """The folder of a case, written by transformers for its models and by us for ours."""
    if kind == "theirs":
        cases.their_model(cases.THEIRS[name]).save_pretrained(folder)
        tokenizer.save(folder)
    else:
        model = build_model(cases.OURS[name])
        cases.scatter(model)
        save_model(folder, model, tokenizer)


def saved_back(kind: str, name: str, place: Path, tokenizer: Tokenizer) -> float:
    """How far transformers' logits for what we saved are from those for what we loaded."""
    first_folder(kind, name, place / "first", tokenizer)
    save_model(place / "back", *load_model(place / "first"))
    weights = [load_file(place / folder / "model.safetensors") for folder in ("first", "back")]
    assert all(torch.equal(weights[1][tensor], numbers) for tensor, numbers in weights[0].items())
    assert weights[0].keys() == weights[1].keys()
    models = [transformers.AutoModelForCausalLM.from_pretrained(place / folder) for folder in ("first", "back")]
    ids = cases.tokens(20)
    first, back = (cases.their_logits(model.eval(), ids) for model in models)
    return cases.difference(back, first)


def greedy_tokens(kind: str, name: str, place: Path, tokenizer: Tokenizer) -> int:
    """How many greedy tokens our engine and transformers' write alike from what we saved, of `N_NEW`."""
    first_folder(kind, name, place / "first", tokenizer)
    model, _ = load_model(place / "first")
    save_model(place / "back", model, tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(place / "back").eval()
    theirs.generation_config = transformers.GenerationConfig(max_new_tokens=N_NEW, do_sample=False, pad_token_id=0)
    prompt = cases.tokens(20)[:1, :N_PROMPT]
    expected = theirs.generate(prompt, attention_mask=torch.ones_like(prompt))[0, N_PROMPT:].tolist()
    [ours] = generate_ids(model, prompt.tolist(), SamplingSettings(temperature=0, max_new_tokens=N_NEW))
    equal = [a == b for a, b in zip(ours, expected, strict=False)]
    return [*equal, False].index(False)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_saving_gives_the_folder_back(kind: str, name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The weights to the bit; two names of one activation may still be two kernels."""
    assert saved_back(kind, name, tmp_path, tokenizer) < cases.TOLERANCE


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_greedy_tokens_are_equal(kind: str, name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert greedy_tokens(kind, name, tmp_path, tokenizer) == N_NEW


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja"])
def test_ids_and_chat_template_come_back(place: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    first, back = tmp_path / "first", tmp_path / "back"
    first_folder("theirs", "qwen3", first, tokenizer)
    if place.endswith(".jinja"):
        (first / place).write_text(TEMPLATE)
    else:
        write_json(first / place, read_json(first / place) | {"chat_template": TEMPLATE})
    save_model(back, *load_model(first))
    opened = [transformers.AutoTokenizer.from_pretrained(folder) for folder in (first, back)]
    messages = [{"role": "user", "content": "the lazy dog"}, {"role": "assistant", "content": "sleeps"}]
    texts = [each.apply_chat_template(messages, tokenize=False) for each in opened]
    assert texts == ["[user] the lazy dog\n[assistant] sleeps\n"] * 2
    assert opened[0]("the quick fox, Zoë").input_ids == opened[1]("the quick fox, Zoë").input_ids
    assert opened[0].all_special_tokens == opened[1].all_special_tokens
