"""Batches of labelled texts: all texts once an epoch, balanced where asked, little padding, long texts cut as said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from groundup.data.labelled import Splitting, collect_labelled
from groundup.data.labelled_batches import LabelledBatches, Reader, TokenRows
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["some words of a text " * 20], vocab_size=280, algorithm="bpe")


@pytest.fixture
def rows(tmp_path: Path, tokenizer: Tokenizer) -> TokenRows:
    file = tmp_path / "rows.csv"
    file.write_text(
        "text,label\n" + "".join(f"{i} {'x' * (i % 30)},{'b' if i % 5 == 0 else 'a'}\n" for i in range(100))
    )
    texts = collect_labelled(tmp_path / "data", {"train": [str(file)]}, Splitting(), reading={})
    return TokenRows(tmp_path / "tokens.bin", texts, "train", tokenizer)


def batches(rows: TokenRows, tokenizer: Tokenizer, **settings) -> LabelledBatches:
    fixed = {"batch_size": 10, "micro_batch_size": 5, "seed": 1, "multi_label": False}
    return LabelledBatches(rows, Reader(tokenizer, settings.pop("context", 64)), **(fixed | settings))


def texts_of(step) -> list[tuple[tuple[int, ...], int]]:
    found = []
    for batch in step:
        for tokens, length, label in zip(batch.tokens_BT, batch.lengths_B, batch.labels, strict=True):
            assert not tokens[length:].any()
            found.append((tuple(tokens[:length].tolist()), int(label)))
    return found


def test_an_epoch_reads_every_text_once(rows: TokenRows, tokenizer: Tokenizer):
    asked = batches(rows, tokenizer)
    assert asked.steps_per_epoch == 7.0 and len(rows) == 70
    read = [text for step in range(7) for text in texts_of(asked(step))]
    wanted = [(tuple(rows[row].tolist()), int(rows.truth[row].argmax())) for row in range(70)]
    assert Counter(read) == Counter(wanted)
    assert [text for step in range(7, 14) for text in texts_of(asked(step))] != read


def test_a_step_is_the_same_rows_however_it_is_cut_or_shared(rows: TokenRows, tokenizer: Tokenizer):
    whole = Counter(texts_of(batches(rows, tokenizer, micro_batch_size=10)(3)))
    assert Counter(texts_of(batches(rows, tokenizer, micro_batch_size=1)(3))) == whole
    ranks = [batches(rows, tokenizer, rank=rank, world_size=2)(3) for rank in (0, 1)]
    assert sum((Counter(texts_of(each)) for each in ranks), Counter()) == whole


def test_rows_of_a_step_are_sorted_so_that_little_is_padding(rows: TokenRows, tokenizer: Tokenizer):
    first, second = batches(rows, tokenizer)(0)
    assert first.lengths_B.max() <= second.lengths_B.min()
    assert first.tokens_BT.shape[1] % 8 == 0 and first.tokens_BT.shape[1] - first.lengths_B.max() < 8
    fixed = batches(rows, tokenizer, fixed_width=True)(0)
    assert {batch.tokens_BT.shape for batch in fixed} == {(5, 64)}
    assert [batch.n_targets for batch in fixed] == [5, 5]


def test_balanced_classes_take_turns(rows: TokenRows, tokenizer: Tokenizer):
    labels = Counter(
        label for step in range(14) for _, label in texts_of(batches(rows, tokenizer, balanced=True)(step))
    )
    assert labels == {0: 70, 1: 70}
    plain = Counter(label for step in range(7) for _, label in texts_of(batches(rows, tokenizer)(step)))
    assert plain == {0: 56, 1: 14}


def test_several_labels_are_a_table(rows: TokenRows, tokenizer: Tokenizer):
    batch = batches(rows, tokenizer, multi_label=True)(0)[0]
    assert batch.labels.shape == (5, 2) and batch.labels.dtype.is_floating_point
    assert np.array_equal(batch.labels.sum(1).numpy(), np.ones(5))


@pytest.mark.parametrize(
    ("keep", "bos", "wanted"), [("start", 0, [1, 2, 3]), ("end", 0, [4, 5, 6]), ("end", 1, [9, 5, 6])]
)
def test_long_texts_keep_their_start_or_end(tokenizer: Tokenizer, keep, bos: int, wanted: list[int]):
    config = tokenizer.config | {"add_bos_token": bool(bos), "bos_token": tokenizer.token_of(9)}
    reader = Reader(Tokenizer(tokenizer.to_json(), config), 3, keep)
    ids = np.array([9] * bos + [1, 2, 3, 4, 5, 6], np.int32)
    assert reader.cut(ids).tolist() == wanted
    assert reader.cut(ids[:2]).tolist() == ids[:2].tolist()
