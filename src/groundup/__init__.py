"""Groundup: language models from the ground up.

    import groundup as gu

    tokenizer = gu.train_tokenizer("books/", vocab_size=8192, out="tok/")
    gu.prepare("books/", tokenizer, "data/")
    run = gu.pretrain("data/", out="runs/mine", time="10m")
    model = gu.load("runs/mine")
    print(model.generate("Once upon a time"))

Names are brought in when they are first used, so `import groundup` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundup.adapters.config import AdapterConfig
    from groundup.adapters.lora import add_adapter
    from groundup.adapters.merging import merge_adapter
    from groundup.chat.renderer import Renderer
    from groundup.checkpoints.adapter_folder import save_adapter
    from groundup.checkpoints.adapter_moving import export_adapter, import_adapter, merge_to_folder
    from groundup.checkpoints.importing import import_model
    from groundup.checkpoints.tokenizer_folder import open_renderer, open_tokenizer
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Reporter, Terminal
    from groundup.data.cleaning.clean import clean, inspect_corpus
    from groundup.data.cleaning.settings import CleanConfig
    from groundup.data.duplicates.contamination import EvaluationIndex
    from groundup.data.duplicates.exact import ExactDuplicates
    from groundup.data.duplicates.near import NearDuplicates, NearSettings
    from groundup.data.duplicates.substrings import repeated_spans
    from groundup.data.prepare import prepare, prepare_on_cluster
    from groundup.data.reading import read_documents
    from groundup.data.reading_records import read_records
    from groundup.data.store import TokenStore
    from groundup.data.tokenizer_training import train_tokenizer
    from groundup.export.gguf_file import export_gguf
    from groundup.export.verify import verify_with_transformers
    from groundup.finetuning.review import review
    from groundup.finetuning.run import finetune
    from groundup.generation.text_classifier import TextClassifier, load_classifier
    from groundup.generation.text_model import TextModel, load
    from groundup.inspect.tokenizer_comparison import compare_tokenizers
    from groundup.pretraining.comparison import compare_architectures
    from groundup.pretraining.extend import extend_vocabulary
    from groundup.pretraining.pretrain import pretrain, resume
    from groundup.pretraining.preview import plan
    from groundup.tokenization.imports.files import import_tokenizer
    from groundup.tokenization.tokenizer import Tokenizer
    from groundup.tour import quickstart

__version__ = "0.1.0"

_HOME = {
    "AdapterConfig": "adapters.config",
    "CleanConfig": "data.cleaning.settings",
    "EvaluationIndex": "data.duplicates.contamination",
    "ExactDuplicates": "data.duplicates.exact",
    "GroundupError": "core.errors",
    "NearDuplicates": "data.duplicates.near",
    "NearSettings": "data.duplicates.near",
    "Renderer": "chat.renderer",
    "Reporter": "core.progress",
    "Terminal": "core.progress",
    "TextClassifier": "generation.text_classifier",
    "TextModel": "generation.text_model",
    "TokenStore": "data.store",
    "Tokenizer": "tokenization.tokenizer",
    "add_adapter": "adapters.lora",
    "clean": "data.cleaning.clean",
    "compare_architectures": "pretraining.comparison",
    "compare_tokenizers": "inspect.tokenizer_comparison",
    "export_adapter": "checkpoints.adapter_moving",
    "export_gguf": "export.gguf_file",
    "extend_vocabulary": "pretraining.extend",
    "finetune": "finetuning.run",
    "import_adapter": "checkpoints.adapter_moving",
    "import_model": "checkpoints.importing",
    "import_tokenizer": "tokenization.imports.files",
    "inspect_corpus": "data.cleaning.clean",
    "load": "generation.text_model",
    "load_classifier": "generation.text_classifier",
    "open_renderer": "checkpoints.tokenizer_folder",
    "merge_adapter": "adapters.merging",
    "merge_to_folder": "checkpoints.adapter_moving",
    "open_tokenizer": "checkpoints.tokenizer_folder",
    "plan": "pretraining.preview",
    "prepare": "data.prepare",
    "prepare_on_cluster": "data.prepare",
    "pretrain": "pretraining.pretrain",
    "quickstart": "tour",
    "read_documents": "data.reading",
    "read_records": "data.reading_records",
    "repeated_spans": "data.duplicates.substrings",
    "resume": "pretraining.pretrain",
    "review": "finetuning.review",
    "save_adapter": "checkpoints.adapter_folder",
    "train_tokenizer": "data.tokenizer_training",
    "verify_with_transformers": "export.verify",
}

__all__ = [
    "AdapterConfig",
    "CleanConfig",
    "EvaluationIndex",
    "ExactDuplicates",
    "GroundupError",
    "NearDuplicates",
    "NearSettings",
    "Renderer",
    "Reporter",
    "Terminal",
    "TextClassifier",
    "TextModel",
    "TokenStore",
    "Tokenizer",
    "add_adapter",
    "clean",
    "compare_architectures",
    "compare_tokenizers",
    "export_adapter",
    "export_gguf",
    "extend_vocabulary",
    "finetune",
    "import_adapter",
    "import_model",
    "import_tokenizer",
    "inspect_corpus",
    "load",
    "load_classifier",
    "merge_adapter",
    "merge_to_folder",
    "open_renderer",
    "open_tokenizer",
    "plan",
    "prepare",
    "prepare_on_cluster",
    "pretrain",
    "quickstart",
    "read_documents",
    "read_records",
    "repeated_spans",
    "resume",
    "review",
    "save_adapter",
    "train_tokenizer",
    "verify_with_transformers",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'groundup' has no attribute {name!r}")
    return getattr(importlib.import_module(f"groundup.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
