"""The rows to look at are those a training reads: of a folder, of a run by its own settings, of a mixture in its order."""

from __future__ import annotations

from pathlib import Path

import pytest

import groundup as gu
from groundup.data.batches import TrainingBatches
from groundup.data.packing import PackedRows
from groundup.pretraining.showing import rows_to_show


@pytest.fixture(scope="module")
def run(tiny: dict, stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "a"
    gu.pretrain(stories, out=path, steps=2, packing="best-fit", **tiny)
    return path


def test_a_prepared_folder_is_shown_as_asked(run: Path):
    sources, chosen, tokenizer = rows_to_show(run / "data", first=2, count=3, stride=16)
    (source,) = sources
    assert chosen == [(0, 2), (0, 3), (0, 4)]
    assert (source.rows.context_length, source.rows.stride) == (64, 16)
    assert tokenizer.vocab_size == 300
    assert len(rows_to_show(run / "data", split="validation", context_length=8)[0][0].rows) > 10


def test_a_run_is_shown_as_it_read(run: Path):
    (source,) = rows_to_show(run)[0]
    assert isinstance(source.rows, PackedRows)
    assert source.rows.context_length == 32
    (other,) = rows_to_show(run, packing="windows", context_length=8)[0]
    assert other.rows.context_length == 8


def test_rows_of_a_mixture_come_in_the_order_of_the_training(run: Path, stories: Path, tmp_path: Path):
    gu.prepare(stories, gu.Tokenizer.load(run / "model"), tmp_path / "again", validation_fraction=0.5)
    mix = [f"a={run / 'data'}:1", f"b={tmp_path / 'again'}:2"]
    sources, chosen, _ = rows_to_show(mix=mix, first=3, count=12, packing="best-fit")
    batches = TrainingBatches(
        [source.rows for source in sources], batch_size=1, micro_batch_size=1, seed=0, parts=(1, 2)
    )
    assert chosen == [tuple(int(part[0]) for part in batches.row_indices(step)) for step in range(3, 15)]
    assert [source.name for source in sources] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["nothing to show", "--mix"]),
        ({"data": "nowhere"}, ["nowhere", "groundup data prepare"]),
        ({"first": 10**6}, ["--window 1,000,000", "are 0 to"]),
        ({"first": -1}, ["are 0 to"]),
        ({"count": 0}, ["are 0 to"]),
        ({"packing": "best-fit", "stride": 3}, ["stride 3"]),
        ({"packing": "tight"}, ["packing", "tight"]),
        ({"context_length": 0}, ["context_length", "0"]),
        ({"mix_alpha": 0.5}, ["mix_alpha"]),
        ({"mix": ["a=x:1", "b=y:2"]}, ["source a", "x"]),
    ],
)
def test_what_is_not_there_is_said(run: Path, given: dict, words: list[str]):
    data = None if not given or "mix" in given else run / "data"
    with pytest.raises(gu.GroundupError) as caught:
        rows_to_show(**({"data": data} | given))
    assert all(word in str(caught.value) for word in words), str(caught.value)
