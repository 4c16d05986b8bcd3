"""Language models: one file an architecture, put together from `layers/`.

Its one idea: a model is two functions, `trunk` (tokens to hidden vectors) and `unembed` (hidden vectors to logits),
over parameters whose names map one to one to the files other tools read.
"""

from groundup.models.base import AttentionConfig, LanguageModel, ModelConfig
from groundup.models.discovery import architecture, architecture_names, build_model, known_elsewhere, model_types
from groundup.models.sizes import config_for_size, own_fields
from groundup.models.state import DecodeState

__all__ = [
    "AttentionConfig",
    "DecodeState",
    "LanguageModel",
    "ModelConfig",
    "architecture",
    "architecture_names",
    "build_model",
    "config_for_size",
    "known_elsewhere",
    "model_types",
    "own_fields",
]
