"""Datasets of the hub, from a cache laid out as `huggingface_hub` lays it out: no test touches the network."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.prepare import prepare
from groundup.data.reading import read_documents
from groundup.data.sources import list_sources

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache with one dataset at one commit, and a hub that cannot be reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "hub/datasets--org--stories"
    files = place / "snapshots" / COMMIT
    (files / "data").mkdir(parents=True)
    for split in ("train", "test"):
        rows = [json.dumps({"text": f"{split} story {row}"}) for row in range(12)]
        (files / f"data/{split}-00000.jsonl").write_text("\n".join(rows))
    (files / "README.md").write_text("# Stories")
    (place / "refs").mkdir()
    (place / "refs/main").write_text(COMMIT)
    (place / "refs/v1").write_text(COMMIT)
    return files


def test_the_training_split_is_read_and_the_commit_is_in_the_manifest(cache: Path, tmp_path: Path, tokenizer) -> None:
    remarks: Counter[str] = Counter()
    assert [str(source) for source in list_sources("hf:org/stories", remarks)] == [
        f"hf:org/stories@{COMMIT}/data/train-00000.jsonl"
    ]
    assert list(remarks.values()) == [1]  # the test split
    store = prepare("hf:org/stories", tokenizer, tmp_path / "data")
    assert store.manifest["sources"][0]["path"] == f"hf:org/stories@{COMMIT}/data/train-00000.jsonl"
    assert store.manifest["n_documents"] == 12


@pytest.mark.parametrize(
    "name", ["hf:org/stories@v1/data/test-00000.jsonl", f"hf://datasets/org/stories@{COMMIT}/data/test-*.jsonl"]
)
def test_files_and_revisions_can_be_named(cache: Path, name: str) -> None:
    assert next(iter(read_documents(name))).text == "test story 0"


def test_what_is_not_in_the_cache_says_what_to_do_without_a_network(cache: Path) -> None:
    with pytest.raises(
        GroundupError, match=r"hf:org/others: the hub cannot be reached .*connect once.*give their folder"
    ):
        list_sources("hf:org/others")
    with pytest.raises(GroundupError, match="write hf:ORGANISATION/NAME"):
        list_sources("hf:stories")


def test_a_pinned_commit_downloads_through_the_hubs_library(cache: Path, monkeypatch) -> None:
    asked = {}

    def snapshot_download(repository: str, **how) -> str:
        asked.update(how, repository=repository)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    list_sources("hf:org/stories@v1")
    assert (asked["repository"], asked["revision"], asked["repo_type"]) == ("org/stories", "v1", "dataset")
    assert "*.parquet" in asked["allow_patterns"] and "*.py" not in asked["allow_patterns"]


class Hub(http.server.BaseHTTPRequestHandler):
    """The four answers of the hub that a download asks for."""

    files = {"data/train-0.jsonl": b'{"text": "one"}\n{"text": "two"}\n', "data/test-0.jsonl": b'{"text": "t"}\n'}

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        path, headers, content = self.path.split("?")[0], {}, b""
        if path == "/api/datasets/org/stories/revision/main":
            names = [{"rfilename": name} for name in self.files]
            content = json.dumps({"_id": "1", "id": "org/stories", "sha": COMMIT, "siblings": names}).encode()
        elif path == f"/api/datasets/org/stories/tree/{COMMIT}":
            rows = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in self.files.items()]
            content = json.dumps(rows).encode()
        elif path.startswith(f"/datasets/org/stories/resolve/{COMMIT}/"):
            name = path.split(f"{COMMIT}/")[1]
            content, headers = self.files[name], {"ETag": f'"{len(name)}"', "X-Repo-Commit": COMMIT}
        self.send_response(200 if content else 404)
        headers = headers if content else {"X-Error-Code": "RepoNotFound"}
        for header, value in {
            **headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
        }.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET


def test_a_download_from_a_hub_on_this_machine_and_again_without_it(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom groundup.data.reading import read_documents\n"
        "print([(d.text, str(d.source)) for d in read_documents(sys.argv[1])])"
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}

    def read(name: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, env=os.environ | place
        )

    wanted = [(text, f"hf:org/stories@{COMMIT}/data/train-0.jsonl") for text in ("one", "two")]
    try:
        assert read("hf:org/stories").stdout.strip() == str(wanted)
        assert "hf:org/nothing cannot be downloaded: 404" in read("hf:org/nothing").stderr
    finally:
        server.shutdown()
        server.server_close()
    assert read("hf:org/stories").stdout.strip() == str(wanted)  # from the cache
