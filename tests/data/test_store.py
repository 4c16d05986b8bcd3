from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.data.prepare import prepare
from groundup.data.store import Shard, TokenStore, document_ids, token_dtype, write_shard

EOS = 99


@pytest.fixture
def prepared(tmp_path: Path, tokenizer) -> Path:
    """A store of 40 small documents in several shards."""
    rows = [json.dumps({"text": f"Row {i} says {'well ' * (i % 7)}done."}) for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    prepare(tmp_path / "rows.jsonl", tokenizer, tmp_path / "data", tokens_per_shard=100)
    return tmp_path / "data"


@pytest.mark.parametrize("per_shard", [1, 3, 4, 5, 1000])
def test_reading_does_not_know_shards(make_split, per_shard: int) -> None:
    split = make_split([[1, 2], [3], [4, 5, 6]], per_shard)
    whole = [1, 2, EOS, 3, EOS, 4, 5, 6, EOS]
    assert (split.n_tokens, split.n_documents) == (9, 3)
    for start in range(10):
        for length in range(10 - start):
            assert split.read(start, length).tolist() == whole[start : start + length]
    assert [split.document(i) for i in range(3)] == [(0, 3), (3, 2), (5, 4)]
    starts = [s for k in range(split.n_shards) for s in split.document_starts(k).tolist()]
    assert starts == [0, 3, 5]
    with pytest.raises(AssertionError):
        split.read(5, 5)


def test_document_ids_count_ends_of_text(make_split) -> None:
    split = make_split([[1, 2], [3], [4]])
    assert split.document_ids(1, 6).tolist() == [0, 1, 1, 2, 2, 3]
    assert document_ids(np.array([[1, EOS, 2], [EOS, EOS, 3]]), EOS).tolist() == [[0, 1, 1], [1, 2, 2]]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_two_bytes_while_they_fit(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    ids = np.array([0, vocab_size - 1, 7], np.uint32)
    write_shard(tmp_path / "x.tokens", [ids[:1], ids[1:]], token_dtype(vocab_size), [0, 2])
    shard = Shard(tmp_path / "x.tokens")
    assert shard.tokens.dtype == dtype
    assert shard.tokens.tolist() == ids.tolist()
    assert shard.document_starts.tolist() == [0, 2]


def test_the_layout_is_what_the_docstring_says(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.tokens", [np.array([5, 258, 7])], np.uint16, [1])
    expected = b"GUTOKENS" + bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, *[0] * 7, 1, *[0] * 7])
    expected += bytes([5, 0, 2, 1, 7, 0, 0, 0]) + bytes([1, *[0] * 7])
    assert (tmp_path / "x.tokens").read_bytes() == expected


def test_an_empty_shard_reads_as_nothing(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.tokens", [], np.uint16, [])
    assert len(Shard(tmp_path / "x.tokens").tokens) == 0


def test_another_tokenizer_is_named_beside_the_right_one(prepared: Path, tokenizer, another_tokenizer) -> None:
    TokenStore.open(prepared, tokenizer.sha256)
    with pytest.raises(GroundupError) as error:
        TokenStore.open(prepared, another_tokenizer.sha256)
    assert tokenizer.sha256[:12] in str(error.value)
    assert another_tokenizer.sha256[:12] in str(error.value)
    assert str(prepared / "tokenizer") in str(error.value)


@pytest.mark.parametrize("kept", [0, 20, 32, 100, -1])
def test_a_truncated_shard_is_named(prepared: Path, kept: int) -> None:
    shard = prepared / "train-00001.tokens"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(GroundupError, match=r"train-00001\.tokens"):
        TokenStore.open(prepared)


def test_one_wrong_bit_in_a_shard_is_found(prepared: Path) -> None:
    shard = prepared / "train-00001.tokens"
    content = bytearray(shard.read_bytes())
    content[60] ^= 1
    shard.write_bytes(content)
    with pytest.raises(GroundupError, match=r"train-00001\.tokens is damaged: its SHA-256"):
        TokenStore.open(prepared)


def test_a_missing_shard_is_named(prepared: Path) -> None:
    (prepared / "validation-00000.tokens").unlink()
    with pytest.raises(GroundupError, match=r"validation-00000\.tokens is missing"):
        TokenStore.open(prepared)


def test_a_shard_of_another_store_does_not_pass(prepared: Path) -> None:
    (prepared / "train-00001.tokens").write_bytes((prepared / "train-00000.tokens").read_bytes())
    with pytest.raises(GroundupError, match=r"train-00001\.tokens"):
        TokenStore.open(prepared)


def test_no_folder_no_manifest_half_prepared(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="not a folder of prepared data"):
        TokenStore.open(tmp_path / "nowhere")
    (prepared / "manifest.json").unlink()
    with pytest.raises(GroundupError, match=r"has no manifest\.json.*groundup data prepare"):
        TokenStore.open(prepared)
    (prepared / "preparing.json").write_text("{}")
    with pytest.raises(GroundupError, match=r"prepared only in part.*finished shards are kept"):
        TokenStore.open(prepared)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not the manifest of a token store"),
        ('{"format": "groundup token store", "version": 99}', "version 99, this program reads 1"),
        ('{"format": "groundup token store", "version": 1}', "damaged"),
    ],
)
def test_a_manifest_that_is_none(prepared: Path, manifest: str, message: str) -> None:
    (prepared / "manifest.json").write_text(manifest)
    with pytest.raises(GroundupError, match=message):
        TokenStore.open(prepared)


def test_an_unknown_split_suggests_the_nearest(prepared: Path) -> None:
    with pytest.raises(GroundupError, match="did you mean 'validation'"):
        TokenStore.open(prepared).split("valid")
