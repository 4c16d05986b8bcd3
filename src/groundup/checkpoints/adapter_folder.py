"""The adapter's folder: PEFT's two files, and beside them all that makes a model of it again.

`adapter_config.json` and `adapter_model.safetensors` are PEFT's own format, so `peft`, vLLM and llama.cpp's converter open the
folder with no step between. The tokenizer lies with it, and `base.json`, ours: which base it was trained on
(adapter_base.py). New tokens' rows are in the adapter; the base is given room for them when it is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.adapters.lora import count_parameters, switch_of
from groundup.adapters.peft_config import PeftSettings, read_settings, settings_json
from groundup.adapters.peft_names import attach, collect, sort_tensors
from groundup.checkpoints.adapter_base import (
    CONFIG_FILE,
    AdapterFolder,
    check_base,
    find_base,
    rows_needed,
    sample_of,
    with_room,
    without_copies,
)
from groundup.checkpoints.model_folder import card_head, is_adapter_folder, open_source, resolve_model
from groundup.checkpoints.packages import PACKAGE_PREFIX
from groundup.checkpoints.sources import build_from
from groundup.checkpoints.tensor_files import read_tensors, save_tensors
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.core.files import folder_written_atomically, read_json, readable_bytes, write_atomically, write_json
from groundup.models import LanguageModel, architecture, known_elsewhere
from groundup.models.weights import to_theirs
from groundup.tokenization.tokenizer import Tokenizer

WEIGHTS_FILE, BASE_FILE = "adapter_model.safetensors", "base.json"


def read_adapter(folder: str | Path) -> AdapterFolder:
    """Read an adapter's folder; raises GroundupError naming what is missing, pickled, damaged or not supported."""
    folder = Path(folder)
    if not is_adapter_folder(folder):
        raise GroundupError(f"{folder} is no adapter's folder: it has no {CONFIG_FILE}")
    settings = read_settings(read_json(folder / CONFIG_FILE), str(folder / CONFIG_FILE))
    if not (folder / WEIGHTS_FILE).is_file():
        if (folder / "adapter_model.bin").is_file():
            raise GroundupError(
                f"{folder} holds its adapter as pickle (adapter_model.bin), which can run any code when opened; open it with "
                "PEFT where you trust it, and save it again: save_pretrained writes safetensors"
            )
        raise GroundupError(f"{folder} has no {WEIGHTS_FILE}; copy or download it again")
    adapter = sort_tensors(read_tensors(folder / WEIGHTS_FILE), str(folder / WEIGHTS_FILE))
    base = read_json(folder / BASE_FILE) if (folder / BASE_FILE).is_file() else {}
    return AdapterFolder(folder, settings, adapter, base, (folder / WEIGHTS_FILE).stat().st_size)


def save_adapter(
    folder: str | Path,
    model: LanguageModel,
    tokenizer: Tokenizer,
    *,
    base: str | Path,
    base_name: str | None = None,
    name: str = "default",
    whole: Mapping[str, Tensor] | None = None,
    task: str = "CAUSAL_LM",
    card: str | None = None,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Write the adapter called `name`, whole or not at all; an adapter's folder already there is replaced.

    `base` is the model it was trained on, as `resolve_model` takes it, and `base_name` what PEFT is to look for (default:
    where it lies, or its name). `whole` are weights that travel whole, by published name: `score.weight` of a
    classifier, whose `task` is SEQ_CLS. `beside` are JSON files that are to lie in the folder too. Raises GroundupError when
    the folder holds something else.
    """
    folder, place = Path(folder), resolve_model(base)
    if folder.is_dir() and any(folder.iterdir()) and not is_adapter_folder(folder):
        raise GroundupError(f"{folder} is not empty and is no adapter's folder; choose another place")
    if is_adapter_folder(place):
        raise GroundupError(f"{base} is an adapter itself; merge it first (groundup adapter merge), and build on that")
    source = open_source(place)
    found = base_name or (str(place.resolve()) if Path(base).exists() else str(base))
    settings, tensors, more = collect(model, name, found, dict(whole or {}), task)
    about = {
        "base": found,
        "path": os.path.relpath(place, folder) if Path(base).exists() else None,
        "architecture": model.config.architecture,
        "vocab_size": model.config.vocab_size,
        "base_vocab_size": source.config.vocab_size,
        "sample": sample_of(source),
    }
    with folder_written_atomically(folder) as written:
        save_tensors(tensors, written / WEIGHTS_FILE, dtype=torch.float32, metadata={"format": "pt"})
        values = settings_json(settings, more["targets"], transposed=more["transposed"], task=task)
        write_json(written / CONFIG_FILE, values)
        write_json(written / BASE_FILE, about)
        for file, content in (beside or {}).items():
            write_json(written / file, content)
        tokenizer.save(written)
        n_bytes = (written / WEIGHTS_FILE).stat().st_size
        default = default_card(model, settings, found, source.config.vocab_size, n_bytes)
        write_atomically(written / "README.md", default if card is None else card)


def load_adapted(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    tokenizer: str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    name: str = "default",
) -> tuple[LanguageModel, Tokenizer]:
    """The base an adapter was made for with the adapter on it, in evaluation mode, nothing trainable; and its tokenizer.

    `base` names where the base lies now. Raises GroundupError when it is not found, or another model than the adapter's.
    """
    found = read_adapter(folder)
    source = open_source(find_base(found, base))
    check_base(found, source)
    model = build_from(source, dtype, device)
    found = without_copies(model, found)
    model = with_room(model, found)
    attach_folder(model, found, name=name)
    own = any((found.path / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
    vocabulary = open_tokenizer(tokenizer) if tokenizer else open_tokenizer(found.path) if own else source.tokenizer
    if not vocabulary.special_ids.issuperset(range(model.config.vocab_size, vocabulary.vocab_size)):
        raise GroundupError(
            f"{folder}: its tokenizer has {vocabulary.vocab_size} tokens, but base and adapter have rows for "
            f"{model.config.vocab_size}; the rows of new tokens did not travel with the adapter: save it again with them "
            "(trainable_token_indices, or modules_to_save for the whole table)"
        )
    return model.eval(), vocabulary


def load_adapter(model: LanguageModel, folder: str | Path, *, name: str = "default") -> None:
    """Put one more adapter from its folder on a model that is loaded, switched on and not trainable.

    Raises GroundupError when it does not fit, or needs rows for tokens that the model does not have.
    """
    found = read_adapter(folder)
    if found.adapter.whole and any(".adapters." in key for key, _ in model.named_parameters()):
        raise GroundupError(
            f"{folder} brings whole weights ({', '.join(sorted(found.adapter.whole))}), which adapters beside each other "
            "cannot each have; load it alone"
        )
    if (n_rows := rows_needed(found)) > model.config.vocab_size:
        raise GroundupError(
            f"{folder} has tokens up to id {n_rows - 1}, and the model has rows for {model.config.vocab_size}; open the adapter "
            "as a model of its own, which gives its base the room"
        )
    attach_folder(model, found, name=name)


def attach_folder(model: LanguageModel, found: AdapterFolder, *, name: str) -> None:
    """Put an adapter that was read on a model of the right size; weights that travel whole replace the model's."""
    source = str(found.path / WEIGHTS_FILE)
    config = model.config
    table = architecture(config.architecture).weights(config)
    rows = {row.theirs: row for row in table.expand(config.n_layers, config.tie_embeddings)}
    replaced = {}
    for theirs, tensor in found.adapter.whole.items():
        row = rows.get(theirs)
        if row is None and config.tie_embeddings and theirs == table.head.theirs:
            continue  # a tied head is its embedding, which is there too
        if row is None:
            raise GroundupError(
                f"{source}: {theirs} is saved whole, and this {config.architecture} model has no such weight"
            )
        target = to_theirs(model.get_parameter(row.ours), row)[0]
        if target.shape != tensor.shape:
            raise GroundupError(
                f"{source}: {theirs} is {list(tensor.shape)}, but the base has {list(target.shape)}; the adapter was made for "
                "another base"
            )
        replaced[row.ours] = (target, tensor)
    attach(model, found.settings, found.adapter, source, name=name)
    with torch.no_grad():
        for target, tensor in replaced.values():
            target.copy_(tensor)
    if replaced:
        switch = switch_of(model)
        assert switch is not None
        switch.whole[name] = tuple(replaced)


def default_card(model: LanguageModel, settings: PeftSettings, base: str, n_rows: int, n_bytes: int) -> str:
    """A README.md that says what the adapter is and how PEFT opens it."""
    name, (_, total) = model.config.architecture, count_parameters(model)
    own = sum(p.numel() for key, p in model.named_parameters() if ".adapters." in key)
    kind = ("DoRA" if settings.dora else "LoRA") + (", rank-stabilised" if settings.rslora else "")
    known = known_elsewhere(name) and not base.startswith(PACKAGE_PREFIX) and not base.endswith((".gguf", ".bin"))
    room = f"base.resize_token_embeddings({model.config.vocab_size})\n" if model.config.vocab_size > n_rows else ""
    usage = f"""```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("{base}")
{room}model = PeftModel.from_pretrained(base, ".")
tokenizer = AutoTokenizer.from_pretrained(".")
```
"""
    ours = """```python
import groundup as gu

model = gu.load(".")
print(model.generate("Once"))
```
"""
    head = card_head(name).replace("library_name: transformers", f"library_name: peft\nbase_model: {base}")
    return f"""{head}
An adapter ({kind}, rank {settings.rank}, alpha {settings.alpha:g}) for {base}, made with Groundup: {own:,} numbers
({readable_bytes(n_bytes)}) beside {total - own:,}.

{usage if known else ours}"""
