"""Errors name what is wrong and the nearest right thing."""

import pytest

from groundup.core.errors import GroundupError, MissingExtraError, missing_extra, nearest, unknown_name


def test_errors_are_ordinary_python_errors():
    assert issubclass(GroundupError, ValueError)
    assert issubclass(MissingExtraError, ImportError)


@pytest.mark.parametrize(("name", "expected"), [("qwen", "qwen3"), ("gtp2", "gpt2"), ("zebra", None), ("", None)])
def test_nearest(name, expected):
    assert nearest(name, ["gpt2", "qwen3"]) == expected


def test_unknown_name_lists_all_and_suggests_one():
    message = str(unknown_name("architecture", "qwen33", {"qwen3", "gpt2"}))
    assert message == "unknown architecture 'qwen33'; did you mean 'qwen3'? (known: gpt2, qwen3)"
    assert "did you mean" not in str(unknown_name("architecture", "zebra", ["gpt2"]))


def test_missing_extra_says_what_to_install():
    error = missing_extra("pyarrow", "parquet", "reading a.parquet")
    assert (
        str(error)
        == "reading a.parquet needs pyarrow, which is not installed; pip install pyarrow (the extra groundup[parquet] has it)"
    )
    several = str(missing_extra("ftfy rensa", "clean", "cleaning"))
    assert several.startswith("cleaning needs ftfy and rensa, which are not installed; pip install ftfy rensa (")
