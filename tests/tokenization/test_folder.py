"""The files beside a `tokenizer.json` are obeyed or refused."""

from __future__ import annotations

import json

import pytest

from groundup.core.errors import GroundupError
from groundup.tokenization.folder import MODEL_FILE, model_beside, settings_beside


def write(folder, **config) -> dict:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return settings_beside(folder / "tokenizer.json")


def test_later_settings_win_and_a_template_is_read(tmp_path):
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "a", "bos_token": "b"}')
    (tmp_path / "chat_template.jinja").write_text("{{ x }}")
    assert write(tmp_path, eos_token="c") == {"eos_token": "c", "bos_token": "b", "chat_template": "{{ x }}"}
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(GroundupError, match="holds no settings"):
        settings_beside(tmp_path / "tokenizer.json")


def test_a_model_file_counts_only_where_the_settings_name_it(tmp_path):
    (tmp_path / MODEL_FILE).write_bytes(b"m")
    file = tmp_path / "tokenizer.json"
    assert model_beside(file, write(tmp_path, eos_token="c")) is None, "such as Llama's, whose tokenizer.json is exact"
    assert model_beside(file, write(tmp_path, ids_from=MODEL_FILE)) == b"m"
    with pytest.raises(GroundupError, match=r"ids_from is '\.\./other\.model', but can only be 'tokenizer\.model'"):
        model_beside(file, write(tmp_path, ids_from="../other.model"))
    (tmp_path / MODEL_FILE).unlink()
    with pytest.raises(GroundupError, match=r"tokenizer\.model is missing, .* take ids_from out of tokenizer_config"):
        model_beside(file, write(tmp_path, ids_from=MODEL_FILE))
