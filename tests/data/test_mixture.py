"""Mixtures: weights become exact parts, and what cannot be mixed is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.data.mixture import MixSource, Mixture, check_mix, settled_mix, shares_as_parts, weights_by_size
from groundup.data.prepare import prepare


@pytest.fixture
def stores(tmp_path: Path, tokenizer, another_tokenizer) -> dict[str, Path]:
    """Three prepared texts, the last with another tokenizer."""
    for name, n, used in (("small", 20, tokenizer), ("large", 80, tokenizer), ("other", 20, another_tokenizer)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} word{i} and word{i * i}\n" for i in range(n)))
        prepare([tmp_path / f"{name}.txt"], used, tmp_path / name)
    return {name: tmp_path / name for name in ("small", "large", "other")}


def mix(*entries: str) -> tuple[MixSource, ...]:
    return tuple(MixSource.build(entry) for entry in entries)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ((0.7, 0.3), [7, 3]),
        ((1.0, 1.0, 1.0), [1, 1, 1]),
        ((2.0, 5.0), [2, 5]),
        ((0.33, 0.67), [33, 67]),
        ((1 / 3, 2 / 3), [1, 2]),
        ((0.1, 0.2, 0.7), [1, 2, 7]),
    ],
)
def test_weights_as_people_write_them_are_exact(weights: tuple, parts: list[int]) -> None:
    assert shares_as_parts(dict(zip("abc", weights, strict=False))) == parts


@settings(max_examples=100, deadline=None)
@given(weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_any_weights_become_parts_near_them(weights: list[float]) -> None:
    parts = shares_as_parts({str(i): weight for i, weight in enumerate(weights)})
    assert sum(parts) <= 10_000
    for part, weight in zip(parts, weights, strict=True):
        assert part / sum(parts) == pytest.approx(weight / sum(weights), abs=1e-4)
    assert shares_as_parts({str(i): float(part) for i, part in enumerate(parts)}) == parts  # settled once and for all


def test_a_share_too_small_to_be_read_is_refused() -> None:
    with pytest.raises(GroundupError, match=r"source b .*share of 1e-06.*one row in 10,000"):
        shares_as_parts({"a": 1.0, "b": 1e-6})


def test_shares_by_size() -> None:
    assert weights_by_size([100, 300], 1.0) == pytest.approx([0.25, 0.75])
    assert weights_by_size([100, 300], 0.0) == pytest.approx([0.5, 0.5])
    assert weights_by_size([100, 900], 0.5) == pytest.approx([0.25, 0.75])
    assert weights_by_size([10**15, 10**15], 0.3) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("web=data/a:0.7", ("web", "data/a", 0.7)),
        ("web=data/a", ("web", "data/a", None)),
        ("a.b-c_1=x:2", ("a.b-c_1", "x", 2.0)),
        ("web=C:/texts", ("web", "C:/texts", None)),
        ("web=a=b:1:3", ("web", "a=b:1", 3.0)),
    ],
)
def test_the_short_form(entry: str, found: tuple) -> None:
    source = MixSource.build(entry)  # type: ignore[arg-type]
    assert (source.name, source.data, source.weight) == found


@pytest.mark.parametrize(
    "entry", ["web", "web=", "=a:1", "a b=c:1", "web=a:0", "web=a:-1", "web=a:nan", "web=a:inf", "web=:1"]
)
def test_entries_that_mean_nothing_are_refused(entry: str) -> None:
    with pytest.raises(GroundupError):
        MixSource.build(entry)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entries", "alpha", "words"),
    [
        (("a=x:1", "a=y:1"), None, ["'a'", "twice"]),
        (("a=x:1", "b=./x:1"), None, ["x", "twice"]),
        (("a=x:1", "b=y"), None, ["b has no weight"]),
        (("a=x:1", "b=y:1"), 0.5, ["mix_alpha"]),
        (("a=x",), None, ["one source", "x"]),
    ],
)
def test_mixtures_that_contradict_themselves_are_refused(entries: tuple, alpha: float | None, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        check_mix(mix(*entries), alpha)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_mixture_of_two_stores(stores: dict[str, Path]) -> None:
    given_mix = mix(f"few={stores['small']}:1", f"many={stores['large']}:3")
    found = Mixture.open(given_mix)
    assert (found.parts, found.shares, found.is_mixed) == ((1, 3), (0.25, 0.75), True)
    sizes = [store.store.split("train").n_tokens for store in found.sources]
    assert found.n_tokens("train") == sum(sizes)
    assert [share for *_, share in found.validation_shares()] == pytest.approx([0.25, 0.75])
    rows = found.rows(16, packing="best-fit", stride=None)
    assert [each.split.n_tokens for each in rows] == sizes
    assert settled_mix(given_mix, found) == given_mix

    unsettled = mix(f"few={stores['small']}", f"many={stores['large']}")
    by_size = Mixture.open(unsettled)
    assert by_size.shares == pytest.approx([size / sum(sizes) for size in sizes], abs=1e-4)
    even = Mixture.open(unsettled, 0.0)
    assert even.parts == (1, 1)
    settled = settled_mix(unsettled, by_size)
    assert Mixture.open(settled).parts == by_size.parts
    assert Mixture.of(found.store).parts == (1,)


def test_stores_of_two_tokenizers_do_not_mix(stores: dict[str, Path]) -> None:
    with pytest.raises(GroundupError) as caught:
        Mixture.open(mix(f"a={stores['small']}:1", f"b={stores['other']}:1"))
    message = str(caught.value)
    assert str(stores["small"]) in message
    assert str(stores["other"]) in message
    assert "groundup data prepare" in message


def test_a_store_that_is_gone_is_named(stores: dict[str, Path]) -> None:
    given_mix = mix(f"few={stores['small']}:1", f"many={stores['large']}:3")
    shutil.rmtree(stores["large"])
    with pytest.raises(GroundupError, match=r"source many of the mixture.*large"):
        Mixture.open(given_mix)
    with pytest.raises(GroundupError, match="source few of the mixture"):
        Mixture.open(mix(f"few={stores['small']}.txt:1", f"many={stores['large']}:3"))


def test_a_source_shorter_than_a_row_is_named(stores: dict[str, Path]) -> None:
    found = Mixture.open(mix(f"few={stores['small']}:1", f"many={stores['large']}:3"))
    n = found.sources[0].store.split("train").n_tokens
    with pytest.raises(GroundupError, match=r"source few of the mixture.*one window"):
        found.rows(n, packing="windows", stride=None)
