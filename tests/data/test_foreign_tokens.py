"""Token files as nanoGPT and llm.c write them, made into a store that holds the very same ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.data import foreign_tokens
from groundup.data.foreign_tokens import are_token_files, documents_of_tokens, open_token_file
from groundup.data.prepare import prepare
from groundup.data.store import TokenStore
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

TEXTS = [f"Story number {i}: once there were {i} bears, and they went home.\n" for i in range(40)]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return train_tokenizer(TEXTS, vocab_size=300)


def nanogpt(path: Path, tokenizer: Tokenizer, texts: list[str]) -> Path:
    """As nanoGPT's data/openwebtext/prepare.py: each text's ids, then end of text."""
    ids = [id for text in texts for id in (*tokenizer.encode(text), tokenizer.eos_id)]
    np.array(ids, np.uint16).tofile(path)
    return path


def llm_c(path: Path, tokenizer: Tokenizer, texts: list[str], magic: int = 20240520, version: int = 1) -> Path:
    """As llm.c's dev/data/data_common.py: a header, then for each text end of text and its ids."""
    ids = [id for text in texts for id in (tokenizer.eos_id, *tokenizer.encode(text))]
    header = np.zeros(256, np.int32)
    header[:3] = magic, version, len(ids)
    path.write_bytes(header.tobytes() + np.array(ids, np.uint16 if version == 1 else np.uint32).tobytes())
    return path


def documents(store: TokenStore, name: str, tokenizer: Tokenizer) -> list[str]:
    split = store.split(name)
    spans = [split.document(index) for index in range(split.n_documents)]
    return [tokenizer.decode(split.read(start, length), skip_special=True) for start, length in spans]


@pytest.mark.parametrize("write", [nanogpt, llm_c, lambda *a: llm_c(*a, magic=20240801, version=7)])
def test_files_of_both_splits(tmp_path: Path, bpe: Tokenizer, write) -> None:
    paths = [write(tmp_path / "train.bin", bpe, TEXTS[:30]), write(tmp_path / "val.bin", bpe, TEXTS[30:])]
    store = prepare(paths, bpe, tmp_path / "data")
    assert documents(store, "train", bpe) == TEXTS[:30]
    assert documents(store, "validation", bpe) == TEXTS[30:]
    assert store.split("train").n_bytes == sum(len(text) for text in TEXTS[:30])
    assert store.manifest["split_by"] == "file"
    assert {source["kind"] for source in store.manifest["sources"]} == {"nanogpt" if write is nanogpt else "llm.c"}
    again = prepare(paths, bpe, tmp_path / "data")
    assert again.manifest == store.manifest


def test_the_store_equals_that_of_the_text(tmp_path: Path, bpe: Tokenizer) -> None:
    for name, texts in (("train", TEXTS[:30]), ("val", TEXTS[30:])):
        nanogpt(tmp_path / f"{name}.bin", bpe, texts)
        (tmp_path / f"{name}.txt").write_text("\x1e".join(texts))
    ours = prepare([tmp_path / "train.bin", tmp_path / "val.bin"], bpe, tmp_path / "tokens")
    for name, file in (("train", "train.txt"), ("validation", "val.txt")):
        texts = prepare(tmp_path / file, bpe, tmp_path / name, separator="\x1e", validation_fraction=0).split("train")
        # A separator takes the line ends beside it along, so compare what is left without them.
        assert texts.n_documents == ours.split(name).n_documents


@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_without_a_validation_file_the_tail_is_one_from_a_document_on(
    tmp_path: Path, monkeypatch, bpe: Tokenizer, chunk: int
) -> None:
    monkeypatch.setattr(foreign_tokens, "_CHUNK", chunk)
    path = nanogpt(tmp_path / "train.bin", bpe, TEXTS)
    store = prepare(path, bpe, tmp_path / "data", tokens_per_shard=100)
    train, validation = (documents(store, name, bpe) for name in ("train", "validation"))
    assert train + validation == TEXTS
    assert 1 <= len(validation) <= 4
    assert prepare(path, bpe, tmp_path / "none", validation_fraction=0).split("validation").n_tokens == 0


def test_one_long_document_is_cut(tmp_path: Path, bpe: Tokenizer) -> None:
    ids = bpe.encode("".join(TEXTS))
    np.array(ids, np.uint16).tofile(tmp_path / "train.bin")
    store = prepare(tmp_path / "train.bin", bpe, tmp_path / "data", validation_fraction=0.25)
    parts = [store.split(name).read(0, store.split(name).n_tokens).tolist() for name in ("train", "validation")]
    assert parts[0] + parts[1] == [*ids, bpe.eos_id]  # the document ends once, at its end
    assert len(parts[1]) - 1 == int(len(ids) * 0.25)


def test_documents_of_ids() -> None:
    def found(ids: list[int], **how) -> list[tuple[list[int], bool]]:
        return [(part.tolist(), ends) for part, ends in documents_of_tokens(np.array(ids, np.uint16), 0, **how)]

    assert found([0, 0, 5, 6, 0, 7]) == [([5, 6], True), ([7], True)]
    assert found([5, 6, 0, 7], closes=False) == [([5, 6], True), ([7], False)]
    assert found([0, 0]) == []


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_a_document_over_several_chunks_ends_once(monkeypatch, chunk: int) -> None:
    monkeypatch.setattr(foreign_tokens, "_CHUNK", chunk)
    ids = [1, 2, 3, 0, 4, 5, 6, 7, 0, 0, 8]
    parts: list[list[int]] = [[]]
    for part, ends in documents_of_tokens(np.array(ids, np.uint16), 0):
        parts[-1] += part.tolist()
        if ends:
            parts.append([])
    assert parts == [[1, 2, 3], [4, 5, 6, 7], [8], []]


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, bpe: Tokenizer) -> None:
    path = llm_c(tmp_path / "cut.bin", bpe, TEXTS)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(GroundupError, match=r"cut\.bin has .* bytes but its header promises"):
        open_token_file(path)
    (tmp_path / "odd.bin").write_bytes(b"abc")
    with pytest.raises(GroundupError, match=r"odd\.bin has 3 bytes, so it is no file of 16-bit tokens"):
        open_token_file(tmp_path / "odd.bin")
    with pytest.raises(GroundupError, match=r"llm\.c file of version 9"):
        open_token_file(llm_c(tmp_path / "new.bin", bpe, TEXTS, version=9))
    np.array([1, 50256, 2], np.uint16).tofile(tmp_path / "gpt2.bin")
    with pytest.raises(
        GroundupError,
        match=r"gpt2\.bin: token 50,256, at place 1, is outside this tokenizer's 300 entries.*no file of tokens",
    ):
        prepare([llm_c(tmp_path / "good.bin", bpe, TEXTS), tmp_path / "gpt2.bin"], bpe, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(GroundupError, match="prepare them apart"):
        are_token_files([tmp_path / "gpt2.bin", tmp_path / "a.txt"])


def test_settings_of_text_have_no_effect(tmp_path: Path, bpe: Tokenizer) -> None:
    path = nanogpt(tmp_path / "val.bin", bpe, TEXTS)
    with pytest.raises(GroundupError, match="'separator', 'map' would have no effect on token files"):
        prepare(path, bpe, tmp_path / "data", separator="--", map={"text": "body"})
    with pytest.raises(GroundupError, match="validation_fraction has no effect"):
        prepare(path, bpe, tmp_path / "data", validation_fraction=0.5)
