"""Remote places: fsspec's memory file system, and S3 as moto serves it on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.prepare import prepare
from groundup.data.reading import Reading, read_documents, read_pieces
from groundup.data.remote import Url
from groundup.data.sources import hash_sources, list_sources

fsspec = pytest.importorskip("fsspec")


def texts(path: str, **how) -> list[str]:
    return [document.text for document in read_documents(path, **how)]


@pytest.fixture
def memory() -> Iterator[None]:
    files = fsspec.filesystem("memory")
    files.pipe("/corpus/b.txt", b"two")
    files.pipe("/corpus/a/one.jsonl", b'{"text": "one"}\n')
    files.pipe("/corpus/a/packed.txt.gz", gzip.compress(b"packed"))
    files.pipe("/corpus/a/x.odt", b"no text")
    yield
    files.rm("/corpus", recursive=True)


def test_a_remote_folder_is_read_as_a_local_one(memory) -> None:
    remarks: Counter[str] = Counter()
    found = list_sources("memory://corpus", remarks)
    assert [str(source) for source in found] == [
        "memory://corpus/a/one.jsonl", "memory://corpus/a/packed.txt.gz", "memory://corpus/b.txt",
    ]  # fmt: skip
    assert remarks == {".odt files, left out": 1}
    assert texts("memory://corpus") == ["one", "packed", "two"]
    assert [str(document.source) for document in read_documents("memory://corpus/b.txt")] == ["memory://corpus/b.txt"]
    assert hash_sources(found)[2] == hashlib.sha256(b"two").hexdigest()
    assert [source.is_unchanged() for source in found] == [True] * 3
    fsspec.filesystem("memory").pipe("/corpus/b.txt", b"three")
    assert not found[2].is_unchanged()


def test_remote_and_local_together(memory, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("here")
    assert [d.text for d in read_documents([tmp_path / "here.txt", "memory://corpus/b.txt"])] == ["here", "two"]


def test_binary_formats_from_far(memory) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "id": [1, 2]}), buffer)
    fsspec.filesystem("memory").pipe("/corpus/rows.parquet", buffer.getvalue())
    assert texts("memory://corpus/rows.parquet") == ["a", "b"]


def test_what_cannot_be_reached_is_named(memory) -> None:
    with pytest.raises(GroundupError, match=r"memory://corpus/nothing does not exist or holds nothing"):
        texts("memory://corpus/nothing")
    with pytest.raises(GroundupError, match=r"unknown protocol 's4' .known: s3://, gs://"):
        texts("s4://bucket/key")
    fsspec.filesystem("memory").pipe("/corpus/x.zip", b"PK")
    with pytest.raises(GroundupError, match=r"x\.zip: a zip archive is read from a disk only"):
        texts("memory://corpus/x.zip")


def test_without_the_library_its_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(GroundupError, match=r"reading gs://bucket/a\.txt needs gcsfs.*groundup\[remote\]"):
        texts("gs://bucket/a.txt")


def test_a_url_has_the_name_of_its_path() -> None:
    place = Url("https://example.org/books/a.txt.gz?download=1")
    assert (place.name, place.suffix, str(place)) == (
        "a.txt.gz",
        ".gz",
        "https://example.org/books/a.txt.gz?download=1",
    )


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "NO_PROXY": "127.0.0.1",
    }.items():  # fmt: skip
        patch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="corpus")
    for number in range(12):
        rows = "".join(json.dumps({"text": f"Row {row} of file {number}, some words."}) + "\n" for row in range(5))
        client.put_object(Bucket="corpus", Key=f"rows/{number:02d}.jsonl", Body=rows.encode())
    yield f"http://{host}:{port}"
    patch.undo()
    server.stop()


def test_a_store_prepared_from_s3_equals_that_of_the_same_files_here(bucket: str, tmp_path: Path, tokenizer) -> None:
    store = prepare("s3://corpus/rows", tokenizer, tmp_path / "far")
    (tmp_path / "rows").mkdir()
    for source in list_sources("s3://corpus/rows"):
        with source.open() as file:
            (tmp_path / "rows" / source.path.name).write_bytes(file.read())
    near = prepare(tmp_path / "rows", tokenizer, tmp_path / "near")
    for name in ("train", "validation"):
        shards = [[s["sha256"] for s in m["splits"][name]["shards"]] for m in (store.manifest, near.manifest)]
        assert shards[0] == shards[1]
    first = store.manifest["sources"][0]
    assert first["path"] == "s3://corpus/rows/00.jsonl"
    assert first["sha256"] == near.manifest["sources"][0]["sha256"]
    assert first["stamp"].startswith("etag ")


def test_what_s3_refuses_is_told(bucket: str) -> None:
    with pytest.raises(GroundupError, match="s3://corpus/rows/99 does not exist or holds nothing"):
        texts("s3://corpus/rows/99")
    with pytest.raises(GroundupError, match="s3://no-such-bucket/x"):
        texts("s3://no-such-bucket/x")


def test_a_file_of_a_web_server(bucket: str) -> None:
    pytest.importorskip("aiohttp")
    import boto3

    boto3.client("s3").put_object(Bucket="corpus", Key="open.txt", Body=b"from the web", ACL="public-read")
    assert texts(f"{bucket}/corpus/open.txt") == ["from the web"]
    with pytest.raises(GroundupError, match=r"nothing\.txt"):
        texts(f"{bucket}/corpus/nothing.txt")


def test_a_connection_that_is_lost_is_told(memory, monkeypatch) -> None:
    class Lost(Exception): ...

    class Broken(io.BytesIO):
        def read(self, *size) -> bytes:
            raise Lost("no route")

    (source,) = list_sources("memory://corpus/b.txt")
    monkeypatch.setattr("groundup.data.sources.open_remote", lambda place: Broken())
    with pytest.raises(GroundupError, match=r"memory://corpus/b\.txt cannot be read: Lost: no route; run it again"):
        list(read_pieces(source, Reading(), Counter()))
    with pytest.raises(GroundupError, match="Lost: no route"):
        hash_sources([source])
