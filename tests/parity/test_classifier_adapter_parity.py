"""A classifier's adapter, head included, opens in PEFT upon transformers' classifier with equal logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import adapter_parameters, add_adapter
from groundup.checkpoints.classifier_folder import ClassifierSettings, load_classifier_folder, save_adapted_classifier
from groundup.checkpoints.model_folder import load_model, save_model
from groundup.core.files import read_json
from groundup.models import build_model, config_for_size
from groundup.models.classifier import Classifier
from groundup.tokenization.training import train_tokenizer

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

LABELS = ("ham", "spam", "none of both")


def scatter(parameters, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "qwen3", "gpt_neox", "phi3", "gemma3"])
def test_peft_gives_our_logits(name: str, tmp_path: Path):
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)
    language = build_model(config_for_size("d2", 300, 16, name, d_model=64, d_head=16), seed=1)
    scatter(language.parameters(), 0.1, 1)
    save_model(tmp_path / "base", language, tokenizer)
    language, _ = load_model(tmp_path / "base")
    add_adapter(language, AdapterConfig(rank=4), seed=2)
    scatter(adapter_parameters(language).values(), 0.1, 3)
    model = Classifier(language, LABELS).eval()
    scatter([model.score.weight], 1.0, 4)
    save_adapted_classifier(tmp_path / "adapter", model, tokenizer, ClassifierSettings(16), base=tmp_path / "base")
    about = read_json(tmp_path / "adapter" / "adapter_config.json")
    assert (about["task_type"], about["modules_to_save"]) == ("SEQ_CLS", ["score"])

    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", num_labels=3, pad_token_id=0
    )
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    ids = torch.randint(10, 280, (2, 9), generator=torch.Generator().manual_seed(7))
    ids[1, 5:] = 0
    lengths = torch.tensor([9, 5])
    again, _, settings = load_classifier_folder(tmp_path / "adapter")
    with torch.no_grad():
        ours = model(ids, lengths)
        wanted = theirs(input_ids=ids, attention_mask=(ids != 0).long()).logits
        assert wanted.std() > 0.1
        torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(again(ids, lengths), ours, atol=1e-5, rtol=1e-5)
    assert again.labels == LABELS and settings == ClassifierSettings(16)
