"""A file is known by its content, whatever its name, packed or not; what is none is refused with what is known."""

from __future__ import annotations

import gzip

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.tokenization import train_tokenizer
from groundup.tokenization.imports import files, import_tokenizer


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


def test_a_packed_tokenizer_json_is_read_and_saved(tmp_path):
    trained = train_tokenizer(["the cat and the dog and the cat " * 20], vocab_size=275)
    (tmp_path / "packed").write_bytes(gzip.compress(trained.to_json().encode()))
    ours = import_tokenizer(tmp_path / "packed", out=tmp_path / "tok")
    assert ours.sha256 == trained.sha256
    assert sorted(path.name for path in (tmp_path / "tok").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_ids_are_compared_and_a_difference_refused(models, tmp_path, monkeypatch):
    path = tmp_path / "some.model"
    path.write_bytes(models["bpe with bytes"])
    heard = Heard()
    import_tokenizer(path, reporter=heard)
    assert heard.lines[-1].startswith("ids equal sentencepiece's on")
    monkeypatch.setattr(files, "_sentencepiece", lambda data: lambda text: [0] * len(text))
    with pytest.raises(
        GroundupError, match=r"some\.model cannot be imported exactly: ' ' has ids \[0\] in sentencepiece"
    ):
        import_tokenizer(path)
    monkeypatch.setattr(files, "_sentencepiece", lambda data: None)
    import_tokenizer(path, reporter=heard)
    assert "not compared with sentencepiece, which is not installed" in heard.lines[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no vocabulary that can be imported; known are tiktoken ranks"),
        (b"A text of some words,\nand another line.\n", "is no vocabulary that can be imported"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is no vocabulary that can be imported"),
        (b"GGUF\x03\x00", "is a GGUF file"),
        (b'{"model": ', "is not valid JSON"),
        (b'{"model": {"type": "BPE"}}', "cannot be used as a tokenizer"),
        (b'{"a": "b"}', "is neither a tokenizer.json"),
        (b"\x1f\x8b\x08broken", "is a damaged gzip file"),
    ],
)
def test_what_is_no_vocabulary_is_refused(tmp_path, content, message):
    (tmp_path / "thing").write_bytes(content)
    with pytest.raises(GroundupError, match=message) as caught:
        import_tokenizer(tmp_path / "thing")
    assert "thing" in str(caught.value)


def test_places_without_a_file_are_named(tmp_path):
    with pytest.raises(GroundupError, match="is a folder; give a vocabulary file"):
        import_tokenizer(tmp_path)
    with pytest.raises(GroundupError, match="does not exist; give a vocabulary file"):
        import_tokenizer(tmp_path / "nowhere")


def test_a_setting_without_effect_is_an_error(models, tmp_path):
    (tmp_path / "some.model").write_bytes(models["plain bpe"])
    for setting in ({"pattern": "gpt2"}, {"lowercase": True}, {"merges": "x"}, {"special": ["<a>"]}):
        with pytest.raises(GroundupError, match=f"{next(iter(setting))} has no effect on"):
            import_tokenizer(tmp_path / "some.model", **setting)
