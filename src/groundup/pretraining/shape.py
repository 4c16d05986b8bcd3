"""What the settings of a run say about the model: its sizes, and what is the architecture's own.

Sizes that every architecture has are settings of the run. What only some have (a window, the kind of positions) stands
under `model`, and is checked against the architecture's own configuration before any text is read.
"""

from __future__ import annotations

from typing import Any

from groundup.core.errors import GroundupError, unknown_name
from groundup.models import ModelConfig, architecture, architecture_names, config_for_size, own_fields
from groundup.pretraining.config import PretrainConfig
from groundup.tokenization.tokenizer import Tokenizer

SHAPE = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "tie_embeddings", "dropout")
LONGEST_CONTEXT = 2**20


def shape_settings(config: PretrainConfig) -> dict[str, Any]:
    """The fields of the model's configuration that the settings give, by name."""
    return {name: value for name in SHAPE if (value := getattr(config, name)) is not None} | config.model


def check_model(config: PretrainConfig) -> None:
    """Refuse at once an architecture, settings of it or sizes that cannot be built, whatever the text turns out to be."""
    fields = architecture(config.architecture).Config.model_fields
    if config.dropout and "dropout" not in fields:
        able = [name for name in architecture_names() if "dropout" in architecture(name).Config.model_fields]
        raise GroundupError(
            f"dropout {config.dropout} has no effect on {config.architecture}; use --architecture {' or '.join(able)}, or "
            "leave it out"
        )
    own = own_fields(config.architecture)
    for name in config.model:
        if name in PretrainConfig.model_fields and name != "model":
            raise GroundupError(
                f"model {name}: {name} is a setting of the run; give it as --{name.replace('_', '-')}, not in model"
            )
        if name not in own:
            raise unknown_name(f"setting of architecture {config.architecture}", name, own)
    # The context follows from the text when it is not given, and may then be any.
    context_length = config.context_length or LONGEST_CONTEXT
    config_for_size(
        config.size or "d4", config.vocab_size or 1024, context_length, config.architecture, **shape_settings(config)
    )


def model_config(config: PretrainConfig, tokenizer: Tokenizer) -> ModelConfig:
    """The model's configuration; raises `GroundupError` when sizes do not fit together."""
    assert config.context_length is not None and config.size is not None
    return config_for_size(
        config.size,
        tokenizer.vocab_size,
        config.context_length,
        config.architecture,
        **shape_settings(config),
        bos_id=tokenizer.bos_id,
        eos_ids=() if tokenizer.eos_id is None else (tokenizer.eos_id,),
        pad_id=tokenizer.pad_id,
    )
