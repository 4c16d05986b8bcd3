"""The settings of published models are accepted, and mean models of the size that their cards state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from groundup.core.errors import GroundupError
from groundup.models import ModelConfig, architecture, model_types

PUBLISHED: dict[str, dict[str, Any]] = {
    model["name"]: model
    for model in yaml.safe_load((Path(__file__).parent / "published_configs.yaml").read_text(encoding="utf-8"))
}


def read(values: dict[str, Any]) -> ModelConfig:
    return architecture(model_types()[values["model_type"]]).from_hugging_face(values)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_accepted_and_has_its_size(name: str) -> None:
    model = PUBLISHED[name]
    config = read(model["config"])
    assert config.n_parameters() == model["n_parameters"]
    found = config.model_dump(mode="json")
    assert {field: found[field] for field in model.get("expected", {})} == model.get("expected", {})
    family = architecture(config.architecture)
    assert family.from_hugging_face(family.to_hugging_face(config)) == config


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("Qwen/Qwen2.5-0.5B", "dual_chunk_attention_config", {"chunk_size": 262144}),
        ("Qwen/Qwen2.5-0.5B", "use_mrope", True),
        ("meta-llama/Llama-2-7b-hf", "quantization_config", {"quant_method": "gptq"}),
        ("microsoft/Phi-4-mini-instruct", "lm_head_bias", True),
        ("EleutherAI/pythia-70m", "hidden_act", "gelu_fast"),
    ],
)
def test_what_it_would_need_more_is_refused_by_name(name: str, setting: str, value: Any) -> None:
    with pytest.raises(GroundupError, match=setting):
        read(PUBLISHED[name]["config"] | {setting: value})
