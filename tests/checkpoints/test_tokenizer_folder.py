"""A name means the tokenizer a person would expect, and errors say what was looked for."""

from __future__ import annotations

import gzip

import pytest

from groundup.checkpoints import tokenizer_folder
from groundup.checkpoints.hub import is_hub_name
from groundup.checkpoints.tokenizer_folder import open_tokenizer, resolve_tokenizer
from groundup.core.errors import GroundupError
from groundup.tokenization import train_tokenizer


@pytest.fixture(scope="module")
def trained():
    return train_tokenizer(["the cat and the dog and the cat " * 20], vocab_size=275)


@pytest.mark.parametrize("place", [".", "model", "tokenizer", "data/tokenizer"])
def test_folders_mean_the_tokenizer_in_them(trained, tmp_path, place):
    trained.save(tmp_path / "thing" / place)
    assert open_tokenizer(tmp_path / "thing").sha256 == trained.sha256
    assert resolve_tokenizer(tmp_path / "thing") == tmp_path / "thing" / place


def test_files_mean_themselves(trained, tmp_path):
    trained.save(tmp_path)
    opened = open_tokenizer(tmp_path / "tokenizer.json")
    assert (opened.sha256, opened.eos_id) == (trained.sha256, trained.eos_id)
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(trained.to_json().encode()))
    assert open_tokenizer(tmp_path / "packed.json.gz").sha256 == trained.sha256


def test_a_published_folder_without_tokenizer_json_is_imported(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\ncat\n")
    assert open_tokenizer(tmp_path).encode("the cat") == [2, 3]


def test_other_names_are_of_the_hub(trained, tmp_path, monkeypatch):
    asked = []
    trained.save(tmp_path)
    monkeypatch.setattr(tokenizer_folder, "download", lambda *given: asked.append(given) or tmp_path)
    assert open_tokenizer("somebody/their-model").sha256 == trained.sha256
    assert open_tokenizer("gpt2").sha256 == trained.sha256
    assert [(name, what) for name, _, what in asked] == [("somebody/their-model", "tokenizer"), ("gpt2", "tokenizer")]
    assert not any(pattern.endswith((".bin", ".safetensors", ".py")) for pattern in asked[0][1])


def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    import huggingface_hub

    def fail(*args, **settings):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GroundupError, match=r"no file or folder gpt2 here, .* no route to host.*give its folder"):
        open_tokenizer("gpt2")
    with pytest.raises(GroundupError, match=r"there is no file or folder a b/c; give a tokenizer"):
        open_tokenizer("a b/c")
    with pytest.raises(GroundupError, match="holds no tokenizer"):
        open_tokenizer(tmp_path)


def test_hub_names():
    assert [is_hub_name(name) for name in ("gpt2", "a/b", "a/b/c", "../x", "/abs", "a b", "")] == [True] * 2 + [
        False
    ] * 5
