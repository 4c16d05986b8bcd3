"""The folder of a classifier: Hugging Face's `...ForSequenceClassification`, so that its tools open it as they open their own.

It is a model folder with `score.weight` in place of the language model's head, and with labels (`id2label`, `label2id`,
`problem_type`) in `config.json`. What no such config has a word for, such as the temperature, lies beside it in
`classification.json`. An architecture no other tool has a classifier of (rnn, lstm, gru, custom, Mamba) has the same layout
under a `model_type` of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from groundup.checkpoints.adapter_base import check_base, find_base, with_room
from groundup.checkpoints.adapter_folder import attach_folder, read_adapter, save_adapter
from groundup.checkpoints.model_folder import (
    CLASSIFIER_ENDING,
    DTYPE_NAMES,
    OWN_CLASSIFIER_TYPE,
    check_vocabulary,
    is_adapter_folder,
    is_classifier,
    with_special_ids,
)
from groundup.checkpoints.model_folder import open_source as open_language_model
from groundup.checkpoints.sources import TensorSource, build_from
from groundup.checkpoints.tensor_files import write_tensors
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.core.files import folder_written_atomically, read_json, write_atomically, write_json
from groundup.models import architecture
from groundup.models.classifier import Classifier
from groundup.models.weights import to_theirs
from groundup.tokenization.tokenizer import Tokenizer

SETTINGS_FILE = "classification.json"
SCORE = "score.weight"
# What the model's class for text is called, up to the part that says what for.
_TEXT_ENDINGS = ("ForCausalLM", "LMHeadModel")
_WITHOUT_CLASSIFIER = ("mamba", "mamba2")  # transformers has their language models only


@dataclass(frozen=True)
class ClassifierSettings:
    """How texts are made ready for a classifier, and its logits made into answers."""

    context_length: int  # tokens a text may have
    keep: Literal["start", "end"] = "start"  # of a text that has more
    multi_label: bool = False
    threshold: float = 0.5  # of a label of a multi-label classifier
    temperature: float = 1.0  # logits are divided by it


def save_classifier(
    folder: str | Path,
    model: Classifier,
    tokenizer: Tokenizer,
    settings: ClassifierSettings,
    *,
    dtype: torch.dtype = torch.float32,
    card: str | None = None,
) -> None:
    """Write the folder, whole or not at all; one already there is replaced. Raises GroundupError as `save_model`."""
    folder, trunk = Path(folder), model.language_model
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise GroundupError(f"{folder} is not empty and is not a model folder; choose another place for the model")
    tokenizer = with_padding(tokenizer)
    config = with_special_ids(trunk.config, tokenizer)
    check_vocabulary(config, tokenizer)
    family = architecture(config.architecture)
    ours = dict(trunk.named_parameters())
    tensors: dict[str, Tensor] = {
        name: part
        for row in family.weights(config).expand(config.n_layers, tied=True)  # without the head of tokens
        for name, part in zip(row.sources, to_theirs(ours[row.ours].detach(), row), strict=True)
    }
    tensors[SCORE] = model.score.weight.detach()
    values = _as_classifier(family.to_hugging_face(config), config.architecture) | {
        **{"id2label": {str(number): label for number, label in enumerate(model.labels)}},
        **{"label2id": {label: number for number, label in enumerate(model.labels)}},
        **{"problem_type": "multi_label_classification" if settings.multi_label else "single_label_classification"},
        **{"dtype": DTYPE_NAMES[dtype], "torch_dtype": DTYPE_NAMES[dtype]},
    }
    with folder_written_atomically(folder) as place:
        write_tensors(place, tensors, dtype)
        write_json(place / "config.json", values)
        write_json(place / SETTINGS_FILE, asdict(settings))
        tokenizer.save(place)
        write_atomically(place / "README.md", card if card is not None else _card(model, values))


def load_classifier_folder(
    folder: str | Path, *, dtype: torch.dtype | None = None, device: str | torch.device = "cpu"
) -> tuple[Classifier, Tokenizer, ClassifierSettings]:
    """Open a folder written by `save_classifier`, `save_adapted_classifier` or transformers, in evaluation mode.

    `dtype` is that of parameters and computation; the default is that of the stored weights. Raises GroundupError when the
    folder holds no classifier, saying what it holds.
    """
    folder = Path(folder)
    if is_adapter_folder(folder):
        return _load_adapted(folder, dtype, device)
    values = read_classifier_config(folder)
    source = open_language_model(folder, classifier=True)
    config, tensors = source.config, source.tensors
    if SCORE not in tensors.names:
        raise GroundupError(f"{folder}: there is no tensor {SCORE}, the classifier's head; get the folder again")
    labels = _labels(folder, values)
    shape = (len(labels), config.d_model)
    if tensors.shape(SCORE) != shape:
        raise GroundupError(
            f"{folder}: {SCORE} is {list(tensors.shape(SCORE))}, but config.json has {shape[0]} labels and width {shape[1]}"
        )
    # A classifier has no head of tokens, so it is built as if that were tied, whatever its language model's was.
    tied = config.model_copy(update={"tie_embeddings": True})
    trunk = build_from(replace(source, config=tied, tensors=_Without(tensors, SCORE)), dtype, device)
    trunk.config = config
    model = Classifier(trunk, labels)
    with torch.no_grad():
        model.score.weight.copy_(tensors.read(SCORE, 0, len(labels)))
    return model.eval(), source.tokenizer, read_settings(folder, values, config.context_length)


def save_adapted_classifier(
    folder: str | Path,
    model: Classifier,
    tokenizer: Tokenizer,
    settings: ClassifierSettings,
    *,
    base: str | Path,
    base_name: str | None = None,
    card: str | None = None,
) -> None:
    """Write the adapter on the trunk, with the head, as PEFT's folder (`modules_to_save`); see `save_adapter`."""
    save_adapter(
        folder,
        model.language_model,
        with_padding(tokenizer),
        base=base,
        base_name=base_name,
        whole={SCORE: model.score.weight.detach()},
        task="SEQ_CLS",
        card=card if card is not None else _adapter_card(model, base_name or str(base)),
        beside={SETTINGS_FILE: {"labels": list(model.labels), **asdict(settings)}},
    )


def _load_adapted(
    folder: Path, dtype: torch.dtype | None, device: str | torch.device
) -> tuple[Classifier, Tokenizer, ClassifierSettings]:
    """The base with the adapter on it, and the head that travelled with the adapter."""
    found = read_adapter(folder)
    values = read_json(folder / SETTINGS_FILE) if (folder / SETTINGS_FILE).is_file() else {}
    if SCORE not in found.adapter.whole or "labels" not in values:
        raise GroundupError(
            f"{folder} holds no adapter of a classifier made here: it lacks {SCORE} or the labels in {SETTINGS_FILE}"
        )
    score = found.adapter.whole.pop(SCORE)
    source = open_language_model(find_base(found))
    check_base(found, source)
    trunk = with_room(build_from(source, dtype, device), found)
    attach_folder(trunk, found, name="default")
    labels = tuple(str(label) for label in values.pop("labels"))
    model = Classifier(trunk, labels)
    with torch.no_grad():
        model.score.weight.copy_(score)
    return model.eval(), open_tokenizer(folder), _settings(folder / SETTINGS_FILE, values)


def read_classifier_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a classifier's folder. Raises GroundupError when there is none, or it is of another model."""
    if not (folder / "config.json").is_file():
        raise GroundupError(f"{folder} is not a classifier's folder: it has no config.json")
    if not is_classifier(folder):
        raise GroundupError(
            f"{folder} holds a language model, no classifier; make one with `groundup finetune classify {folder} DATA`"
        )
    return read_json(folder / "config.json")


def read_settings(folder: Path, values: dict[str, Any], context_length: int) -> ClassifierSettings:
    """The settings beside a classifier; for a folder of another tool, what its `config.json` tells."""
    file = folder / SETTINGS_FILE
    if not file.is_file():
        several = values.get("problem_type") == "multi_label_classification"
        return ClassifierSettings(context_length, multi_label=several)
    return _settings(file, read_json(file))


def _settings(file: Path, values: Any) -> ClassifierSettings:
    try:
        return pydantic.TypeAdapter(ClassifierSettings).validate_python(values)
    except pydantic.ValidationError as error:
        raise GroundupError(f"{file} is damaged: {error.errors()[0]['msg']}; get it again") from None


def with_padding(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with a padding token, which transformers needs to find the last real token of several texts.

    Where there is none it is the end-of-text token, which no text of people ever becomes.
    """
    if tokenizer.pad_id is not None or tokenizer.eos_id is None:
        return tokenizer
    return Tokenizer(tokenizer.to_json(), tokenizer.config | {"pad_token": tokenizer.token_of(tokenizer.eos_id)})


def _as_classifier(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The config of a language model as that of its classifier."""
    [found] = values.get("architectures", [""])
    known = next((found.removesuffix(ending) for ending in _TEXT_ENDINGS if found.endswith(ending)), None)
    if known is None or name in _WITHOUT_CLASSIFIER:
        return values | {
            "architectures": [f"Groundup{name.title()}{CLASSIFIER_ENDING}"],
            "model_type": OWN_CLASSIFIER_TYPE + name,
        }
    return values | {"architectures": [known + CLASSIFIER_ENDING]}


def _labels(folder: Path, values: dict[str, Any]) -> tuple[str, ...]:
    named = values.get("id2label")
    if not isinstance(named, dict) or not named:
        raise GroundupError(f"{folder / 'config.json'} has no id2label, so its labels have no names; add them there")
    return tuple(str(named[key]) for key in sorted(named, key=int))


def _card(model: Classifier, values: dict[str, Any]) -> str:
    name = model.language_model.config.architecture
    shown = ", ".join(model.labels[:20]) + (" ..." if len(model.labels) > 20 else "")
    elsewhere = not str(values["model_type"]).startswith("groundup_")
    usage = (
        'from transformers import pipeline\n\nprint(pipeline("text-classification", model=".")("a text"))'
        if elsewhere
        else 'import groundup as gu\n\nprint(gu.load_classifier(".").predict(["a text"]))'
    )
    library = "library_name: transformers\n" if elsewhere else ""
    return f"""---
{library}pipeline_tag: text-classification
tags:
- groundup
- {name}
---
A classifier of texts on a {name} model of {model.n_parameters():,} parameters, made with Groundup. Labels: {shown}.

```python
{usage}
```
"""


def _adapter_card(model: Classifier, base: str) -> str:
    shown = ", ".join(model.labels[:20]) + (" ..." if len(model.labels) > 20 else "")
    return f"""---
library_name: peft
base_model: {base}
pipeline_tag: text-classification
tags:
- groundup
---
An adapter that makes a classifier of {base}, made with Groundup. Labels, in order: {shown}.

```python
import groundup as gu

print(gu.load_classifier(".").predict(["a text"]))
```

```python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

base = AutoModelForSequenceClassification.from_pretrained("{base}", num_labels={len(model.labels)})
model = PeftModel.from_pretrained(base, ".")
```
"""


class _Without:
    """A `TensorSource` with one tensor hidden."""

    def __init__(self, tensors: TensorSource, hidden: str) -> None:
        self._tensors = tensors
        self.names = [name for name in tensors.names if name != hidden]
        self.shape, self.dtype, self.file, self.read = tensors.shape, tensors.dtype, tensors.file, tensors.read
