"""Near duplicates: recall and precision against the true sets, and that the order of the documents is all that counts."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from groundup.core.errors import GroundupError, MissingExtraError
from groundup.data.duplicates import near as module
from groundup.data.duplicates.near import Near, NearDuplicates, NearSettings, sketch_similarity

pytest.importorskip("rensa")

VOCABULARY = [f"w{number}" for number in range(3000)]


def document(chance: random.Random, n_words: int) -> list[str]:
    return chance.choices(VOCABULARY, k=n_words)


def edited(chance: random.Random, words: list[str], n_edits: int) -> list[str]:
    words = list(words)
    for _ in range(n_edits):
        place = chance.randrange(len(words))
        change = chance.randrange(3)
        words[place : place + (change != 1)] = [] if change == 0 else [chance.choice(VOCABULARY)]
    return words


def shingles(words: list[str], length: int = 5) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + length]) for at in range(max(1, len(words) - length + 1))} if words else set()


def jaccard(one: list[str], other: list[str], length: int = 5) -> float:
    left, right = shingles(one, length), shingles(other, length)
    return len(left & right) / len(left | right)


def texts(documents: list[list[str]]) -> list[str]:
    return [" ".join(words) for words in documents]


def planted(chance: random.Random, n: int, sizes: tuple[int, int]) -> tuple[list[list[str]], list[list[str]]]:
    """Originals, and for each one a copy with so many edits that similarities spread from about 0.4 to 1."""
    originals = [document(chance, chance.randint(*sizes)) for _ in range(n)]
    return originals, [edited(chance, words, chance.randint(0, len(words) // 15)) for words in originals]


def test_recall_and_precision_on_planted_near_duplicates():
    chance = random.Random(0)
    originals, copies = planted(chance, 3000, (40, 120))
    truth = [jaccard(one, other) for one, other in zip(originals, copies, strict=True)]
    found = NearDuplicates().first_of_many(texts(originals + copies))
    assert found[:3000] == [None] * 3000  # documents of random words are near none: not one false alarm
    wanted = [similarity >= 0.8 for similarity in truth]
    assert 1000 < sum(wanted) < 2000
    got = [near is not None for near in found[3000:]]
    n_right = sum(a and b for a, b in zip(wanted, got, strict=True))
    assert n_right / sum(got) == 1.0  # precision
    assert n_right / sum(wanted) >= 0.998  # recall
    for number, near in enumerate(found[3000:]):
        if near is not None:
            assert near.of == number
            assert near.similarity == pytest.approx(truth[number], abs=1e-9)


def test_candidates_are_found_as_often_as_promised():
    """The chance to agree on a band follows Broder's formula, so the library's hashes are as independent as they must be."""
    chance = random.Random(1)
    originals, copies = planted(chance, 4000, (30, 60))
    settings = NearSettings(threshold=0.8)
    duplicates = NearDuplicates(settings)
    keys = []
    for some in (originals, copies):
        hashes, bounds = module._shingles(texts(some), settings.words)
        keys.append(duplicates._band_keys(hashes, bounds))
    agree = (keys[0] == keys[1]).any(axis=1)
    truth = np.array([jaccard(one, other) for one, other in zip(originals, copies, strict=True)])
    for low, high in ((0.3, 0.45), (0.45, 0.6), (0.6, 0.75), (0.75, 0.9)):
        some = (truth >= low) & (truth < high)
        promised = np.mean([settings.recall_at(similarity) for similarity in truth[some]])
        error = np.sqrt(promised * (1 - promised) / some.sum()) + 0.002
        assert abs(agree[some].mean() - promised) < 4 * error, (low, high)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9, 1.0])
def test_the_threshold_is_kept_exactly(threshold: float):
    chance = random.Random(2)
    originals, copies = planted(chance, 600, (30, 90))
    found = NearDuplicates(NearSettings(threshold=threshold)).first_of_many(texts(originals + copies))[600:]
    truth = [jaccard(one, other) for one, other in zip(originals, copies, strict=True)]
    assert all(similarity >= threshold for near, similarity in zip(found, truth, strict=True) if near)
    missed = sum(near is None and similarity >= threshold for near, similarity in zip(found, truth, strict=True))
    assert missed <= 0.01 * sum(similarity >= threshold for similarity in truth)


def test_how_documents_are_dealt_into_calls_and_batches_changes_nothing(monkeypatch):
    chance = random.Random(3)
    frame = document(chance, 60)
    mixed = [edited(chance, frame, chance.randint(0, 12)) for _ in range(300)]  # all alike: the buckets overflow
    mixed += [edited(chance, words, 1) for words in mixed[::3]] + [[], ["x"], ["x"]]
    chance.shuffle(mixed)
    at_once = NearDuplicates().first_of_many(texts(mixed))
    assert sum(near is not None for near in at_once) > 100
    for size in (1, 7, 100):
        duplicates = NearDuplicates()
        dealt = [
            near for at in range(0, len(mixed), size) for near in duplicates.first_of_many(texts(mixed[at : at + size]))
        ]
        assert dealt == at_once
    monkeypatch.setattr(module, "_BATCH_DOCUMENTS", 13)
    assert NearDuplicates().first_of_many(texts(mixed)) == at_once


def test_only_kept_documents_are_named():
    chance = random.Random(4)
    words = document(chance, 100)
    chain = [words]  # each a little further away from the first
    for _ in range(30):
        chain.append(edited(chance, chain[-1], 1))
    found = NearDuplicates().first_of_many(texts(chain))
    kept = {number for number, near in enumerate(found) if near is None}
    assert 2 < len(kept) < 12
    assert {near.of for near in found if near} <= kept
    for number, near in enumerate(found):
        if near:
            assert near.similarity == pytest.approx(jaccard(chain[number], chain[near.of]))
            assert near.similarity == pytest.approx(
                max(jaccard(chain[number], chain[one]) for one in kept if one < number)
            )


def test_short_empty_and_wordless_documents():
    given = ["", "", "!!!", "!!!", "One two three.", "one, TWO three", "one two", "one two four", "猫", "猫", "犬"]
    found = NearDuplicates().first_of_many(given)
    assert found == [None] * 5 + [Near(4, 1.0)] + [None] * 3 + [Near(8, 1.0), None]
    assert NearDuplicates().first_of_many([]) == []


def test_scripts_without_spaces():
    chance = random.Random(5)
    text = "".join(chance.choices("日本語は空白を使わない文章です猫犬山川花鳥風月春夏秋冬", k=400))
    changed = text[:200] + "変" + text[201:]
    other = "".join(chance.choices("日本語は空白を使わない文章です猫犬山川花鳥風月春夏秋冬", k=400))
    found = NearDuplicates().first_of_many([text, other, changed])
    assert found[:2] == [None, None]
    assert found[2] == Near(0, pytest.approx(391 / 401, abs=0.003))


def test_long_documents_are_compared_within_the_stated_error():
    """Standard error 0.018 at 0.8 for sketches of 512; a document of a megabyte and its edited copies."""
    chance = random.Random(6)
    words = document(chance, 180_000)
    assert len(" ".join(words)) > 10**6
    copies = [edited(chance, words, n_edits) for n_edits in (2000, 20_000)]
    truth = [jaccard(words, copy) for copy in copies]
    assert truth[0] > 0.85 and truth[1] < 0.65
    found = NearDuplicates().first_of_many(texts([words, *copies, words]))
    assert found[0] is None and found[2] is None and found[3] == Near(0, 1.0)
    assert found[1] and abs(found[1].similarity - truth[0]) < 3 * np.sqrt(truth[0] * (1 - truth[0]) / 512)


def test_sketches_estimate_without_bias():
    chance = np.random.default_rng(0)
    errors = {size: [] for size in (64, 512)}
    for size, _ in itertools.product(errors, range(300)):
        union = chance.choice(2**32, 3000, replace=False).astype(np.uint32)
        one, other = np.sort(union[:2700]), np.sort(union[300:])
        errors[size].append(sketch_similarity(one[:size], other[:size], size) - 0.8)
    for size, some in errors.items():
        assert abs(np.mean(some)) < 0.5 / size + 3 * np.std(some) / np.sqrt(300)
        assert np.std(some) < 1.15 * np.sqrt(0.8 * 0.2 / size)


def test_sketches_of_small_sets_are_exact():
    one, other = (np.array(values, np.uint32) for values in ([1, 5, 9], [5, 9, 11, 2**32 - 1]))
    assert sketch_similarity(one, other, 16) == 2 / 5
    assert sketch_similarity(one, one, 16) == 1.0
    assert sketch_similarity(one, np.array([2, 3], np.uint32), 16) == 0.0


SCRIPT = """
import random
from groundup.data.duplicates.near import NearDuplicates
chance = random.Random(7)
base = [" ".join(chance.choices([f"w{i}" for i in range(50)], k=40)) for _ in range(50)]
print(NearDuplicates().first_of_many([text.replace(f"w{i % 50} ", "new ") for i, text in enumerate(base * 4)]))
"""


def test_the_same_in_another_process_with_another_number_of_threads():
    outputs = set()
    for hash_seed, n_threads in (("1", "1"), ("2", "4")):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": n_threads}
        outputs.add(subprocess.check_output([sys.executable, "-c", SCRIPT], env=environment, text=True))
    assert len(outputs) == 1
    assert outputs.pop().count("Near(") > 30


def test_a_corpus_of_one_text_and_one_of_a_template_take_linear_time():
    def seconds(some: list[str]) -> tuple[float, int]:
        began = time.process_time()
        found = NearDuplicates().first_of_many(some)
        return time.process_time() - began, sum(near is None for near in found)

    chance = random.Random(8)
    line = " ".join(document(chance, 30))
    frame = document(chance, 40)
    # Similarity of any two about 0.6: below the threshold, yet most share a band with most.
    template = [" ".join([*frame, *document(chance, 10)]) for _ in range(6000)]
    seconds([line])  # brings the tables in
    assert seconds([line] * 12_000)[1] == 1
    for some in ([line] * 12_000, template):
        short, long = seconds(some[: len(some) // 4])[0], seconds(some)[0]
        assert long < 8 * short + 0.5  # four times as many; quadratic would be sixteen


@pytest.mark.parametrize(("n_own", "between_any_two", "recall"), [(14, 0.62, 0.98), (8, 0.76, 0.93)])
def test_near_duplicates_within_a_template(n_own: int, between_any_two: float, recall: float):
    """All documents crowd the same bands, each of which leads to one of them; what is their own still finds most copies."""
    chance = random.Random(9)
    frame = document(chance, 64 - n_own)
    originals = [[*frame, *document(chance, n_own)] for _ in range(1000)]
    assert jaccard(*originals[:2]) == pytest.approx(between_any_two, abs=0.005)
    copies = [[*words[:20], "new", *words[21:]] for words in originals]
    found = NearDuplicates().first_of_many(texts(originals + copies))
    assert sum(near is None for near in found[:1000]) >= 999
    right = [near for number, near in enumerate(found[1000:]) if near == Near(number, pytest.approx(55 / 65))]
    assert recall <= len(right) / 1000


def test_bytes_for_a_document():
    chance = random.Random(10)
    some = texts([document(chance, 60) for _ in range(5000)])
    duplicates = NearDuplicates()
    duplicates.first_of_many(some)
    assert 500 < duplicates.n_bytes / 5000 < 21 * 20.6 + 4 * 56 + 50
    before = duplicates.n_bytes
    duplicates.first_of_many(some)
    assert duplicates.n_bytes == before + 8 * 5000


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"threshold": 0}, {"threshold": 1.1}, {"words": 0}, {"n_permutations": 8}, {"seed": -1}):
        with pytest.raises(GroundupError, match=next(iter(wrong))):
            NearSettings(**wrong)
    with pytest.raises(GroundupError, match="would be found"):
        NearSettings(threshold=0.1, n_permutations=16)


def test_bands_follow_from_the_threshold():
    assert NearSettings().bands == (21, 6)
    assert NearSettings(threshold=1.0).bands == (1, 128)
    for threshold in (0.3, 0.5, 0.8, 0.95):
        settings = NearSettings(threshold=threshold)
        assert settings.recall_at(threshold) >= 0.99
        assert settings.bands[0] * settings.bands[1] <= 128


def test_without_the_library_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(MissingExtraError, match="rensa"):
        NearDuplicates()
