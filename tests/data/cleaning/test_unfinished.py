"""A cleaning that is killed goes on, to the bytes of one that never was; anything changed begins anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.core.files import sha256_of
from groundup.core.progress import Reporter
from groundup.data.cleaning import unfinished, workers
from groundup.data.cleaning.clean import clean
from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.unfinished import Unfinished, place_beside

SETTINGS = CleanConfig(rules=("default", "gopher", "near", "gibberish", "boilerplate", "substrings"), separator="----")


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of a few documents, so that there are many."""
    monkeypatch.setattr(unfinished, "PART_CHARACTERS", 20_000)


@pytest.fixture(scope="module")
def whole(planted, tmp_path_factory) -> dict[str, str]:
    """The files of a cleaning that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    clean(planted.folder, out, config=SETTINGS, n_workers=1, page=lambda numbers: "page")
    return hashes(out)


# A child that is killed as the n-th file or folder takes its place; every one of them does so by a renaming.
_CHILD = """
import os, signal, sys
event, folder, out, n_workers = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = 0
def killing(rename):
    def renamed(*arguments):
        global seen
        seen += 1
        if seen == event:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*arguments)
        if seen + 1 == event:
            seen += 1
            os.kill(os.getpid(), signal.SIGKILL)
    return renamed
os.replace, os.rename = killing(os.replace), killing(os.rename)
from groundup.data.cleaning import unfinished
from groundup.data.cleaning.clean import clean
from groundup.data.cleaning.settings import CleanConfig
unfinished.PART_CHARACTERS = 20_000
clean(folder, out, config=CleanConfig(**eval_settings), n_workers=n_workers, page=lambda numbers: "page")
""".replace("eval_settings", repr(SETTINGS.model_dump(exclude_unset=True)))


@pytest.mark.parametrize(("event", "n_workers"), [(7, 1), (8, 2)])
def test_killed_again_and_again_it_ends_with_the_same_bytes(planted, whole, tmp_path, event, n_workers):
    out, judged = tmp_path / "out", []
    for _ in range(30):
        child = subprocess.run([sys.executable, "-c", _CHILD, str(event), planted.folder, out, str(n_workers)])
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        assert not out.exists() or hashes(out) == whole
        judged.append(len(list(place_beside(out).glob("verdicts-*.jsonl"))))
    assert hashes(out) == whole
    assert len(judged) >= 2 and judged == sorted(judged) and judged[0] < judged[-1], "each run begins where one ended"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_by_the_clock(tmp_path):
    rows = (json.dumps({"text": f"Document {i} is one of many that take a while. " * 40}) + "\n" for i in range(15_000))
    (tmp_path / "a.jsonl").write_text("".join(rows))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "groundup", "data", "clean", str(tmp_path / "a.jsonl"), "--out", str(out)]
    process = subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while not (place_beside(out) / "verdicts-00000.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(GroundupError, match=f"is being written by another process \\(number {process.pid}\\)"):
        clean(tmp_path / "a.jsonl", out, n_workers=1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    heard = Heard()
    clean(tmp_path / "a.jsonl", out, n_workers=1, reporter=heard)
    assert f"{out}: going on after 1 finished part" in heard.lines
    clean(tmp_path / "a.jsonl", tmp_path / "again", n_workers=1)
    assert hashes(out).keys() - {"report.html"} == hashes(tmp_path / "again").keys()
    shared = hashes(tmp_path / "again")
    assert {name: hash for name, hash in hashes(out).items() if name in shared} == shared
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "again", "out"]


def interrupted(source: Path, out: Path, monkeypatch) -> None:
    """A cleaning that stops after some finished parts, as by Ctrl-C."""
    judged = workers.judged

    def stopping(documents, **settings):
        for number, found in enumerate(judged(documents, **settings)):
            if number == 150:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr("groundup.data.cleaning.clean.judged", stopping)
        with pytest.raises(KeyboardInterrupt):
            clean(source, out, config=SETTINGS, n_workers=1)
    assert not out.exists()


def test_what_was_judged_is_not_judged_again(planted, whole, tmp_path, monkeypatch, small_parts):
    out, asked = tmp_path / "out", []
    interrupted(planted.folder, out, monkeypatch)
    judged = workers.judged

    def counting(documents, **settings):
        for document, verdict in judged(documents, **settings):
            asked.append(document.number)
            yield document, verdict

    monkeypatch.setattr("groundup.data.cleaning.clean.judged", counting)
    monkeypatch.setattr("groundup.data.cleaning.clean.survey", lambda *_, **__: pytest.fail("looked at again"))
    heard = Heard()
    clean(planted.folder, out, config=SETTINGS, n_workers=1, page=lambda numbers: "page", reporter=heard)
    assert any("going on after" in line for line in heard.lines)
    assert 50 < asked[0] <= 150 and asked[-1] == 260
    assert hashes(out) == whole


@pytest.mark.parametrize("change", ["setting", "source", "plan"])
def test_anything_changed_begins_anew_and_says_so(tmp_path, monkeypatch, small_parts, change):
    source, out, settings = tmp_path / "a.txt", tmp_path / "out", {"separator": "----", "rules": SETTINGS.rules}
    texts = [f"The {i}. document tells of the river and of the harbour in other words {i * 7919}." for i in range(400)]
    source.write_text("----".join(texts))

    interrupted(source, out, monkeypatch)
    if change == "setting":
        settings["seed"] = 1
    elif change == "source":
        source.write_text("----".join([*texts, "One more."]))
    else:
        (place_beside(out) / "plan.json").write_text("{")
    heard = Heard()
    clean(source, out, config=CleanConfig(**settings), n_workers=1, reporter=heard)
    assert any("not those of the interrupted cleaning; begun anew" in line for line in heard.lines)
    assert not any("going on" in line for line in heard.lines)
    clean(source, tmp_path / "again", config=CleanConfig(**settings), n_workers=1)
    assert hashes(out) == hashes(tmp_path / "again")
    assert not place_beside(out).exists()


def test_verdicts_come_back_as_they_went(tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "PART_CHARACTERS", 10)
    documents = [Document(i, "a", i, text) for i, text in enumerate(["one", "two \ud800", "three", "vier", "fünf"])]
    verdicts = [
        Verdict("one"),
        Verdict("zwei \ud800", failed=[("word_count", 0.1 + 0.2)], edits={"nfc": 1}, score=-1e-17),
        Verdict("three", hidden={"tag": 2}, spelt_out={"tag": "x"}),
        Verdict("vier", before_gibberish=["a"]),
        Verdict("fünf", language="de"),
    ]
    out = tmp_path / "out"

    def judge(left):
        for document in left:
            yield document, verdicts[document.number]

    def broken(left):
        yield from list(judge(left))[:3]
        raise KeyboardInterrupt

    found = Unfinished.open(out, "key", Reporter())
    with pytest.raises(KeyboardInterrupt):
        list(found.judged(iter(documents), broken))
    found.close(done=False)
    assert sorted(path.name for path in place_beside(out).iterdir()) == [".lock", "plan.json", "verdicts-00000.jsonl"]
    assert "three" not in (place_beside(out) / "verdicts-00000.jsonl").read_text()
    found = Unfinished.open(out, "key", Reporter())
    assert found.n_parts == 1
    assert list(found.judged(iter(documents), judge)) == list(zip(documents, verdicts, strict=True))
    assert list(found.judged(iter(documents), lambda left: iter(()))) == list(zip(documents, verdicts, strict=True))
    found.close(done=True)
    assert not place_beside(out).exists()
