from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.text import check_text, text_stage


def test_text_is_read_as_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "rows.data"
    rows = [json.dumps({"a": f"Größe number {i}, to learn from.", "b": "x"}, ensure_ascii=False) for i in range(200)]
    path.write_bytes("\n".join([*rows, "{oops"]).encode("cp1252"))
    how = {"format": "jsonl", "map": {"text": "a"}, "encoding": "cp1252", "on_bad_row": "skip"}
    config = PretrainConfig.build({"data": (str(path),), "vocab_size": 270, **how})
    check_text(config)
    mixture, tokenizer = text_stage(config, tmp_path / "run", QUIET)
    store = mixture.store
    assert {name: store.manifest["settings"][name] for name in how} == how
    split = store.split("train")
    assert tokenizer.decode(split.read(*split.document(0)), skip_special=True) == "Größe number 0, to learn from."

    prepared = PretrainConfig.build({"data": (str(store.folder),), "map": {"text": "a"}, "on_bad_row": "skip"})
    with pytest.raises(GroundupError, match="map and on_bad_row would have no effect"):
        check_text(prepared)


def test_what_is_left_out_is_said_once(tmp_path: Path) -> None:
    class Heard(Reporter):
        lines: ClassVar[list[str]] = []

        def say(self, text: str = "") -> None:
            self.lines.append(text)

        warn = say

    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(f'{{"text": "number {i} to learn"}}\n' for i in range(200)) + "{oops\n")
    (folder / "b.xyz").write_bytes(b"\x00\x01")
    config = PretrainConfig.build({"data": (str(folder),), "vocab_size": 270, "on_bad_row": "skip"})
    text_stage(config, tmp_path / "run", Heard())
    assert len(Heard.lines) == len(set(Heard.lines))
    for part in ("reading     1 jsonl", "1 .xyz file, left out", "1 row rejected"):
        assert sum(part in line for line in Heard.lines) == 1, Heard.lines


def test_settings_nobody_listens_to_are_refused_before_a_run_is_made(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(GroundupError, match=r"map \{'text': 'a'\} has no effect"):
        check_text(PretrainConfig.build({"data": (str(tmp_path / "a.txt"),), "map": {"text": "a"}}))
