"""Configurations refuse what they do not know, tell every problem at once, and come back from disk unchanged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.config import Config, Count, Seconds, read_yaml
from groundup.core.errors import GroundupError


class Optimizer(Config):
    learning_rate: float = 1e-3


class Settings(Config):
    n_layers: int = 4
    title: str = "a run"
    steps: Count | None = None
    time: Seconds | None = None
    optimizer: Optimizer = Optimizer()


def problem_of(values):
    with pytest.raises(GroundupError) as caught:
        Settings.build(values, source="run.yaml")
    return str(caught.value)


def test_every_problem_is_in_one_message():
    message = problem_of({"n_layer": 3, "steps": "many", "time": -1, "optimizer": {"lerning_rate": 1}})
    assert message.startswith("run.yaml: ")
    assert "unknown setting 'n_layer', did you mean 'n_layers'?" in message
    assert "unknown setting 'optimizer.lerning_rate', did you mean 'learning_rate'?" in message
    assert "'many' is not a count" in message
    assert "time is -1: input should be greater than 0" in message
    assert message.count(";") >= 3


def test_an_unlike_name_gets_no_guess():
    assert "did you mean" not in problem_of({"zebra": 1})


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().n_layers = 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("1.5 h", 5400), (7, 7)],
)
def test_durations(text, seconds):
    assert Settings.build({"time": text}).time == seconds


@pytest.mark.parametrize("text", ["", "m", "10x", "10m5", "-3m", "0", "inf", "nan", "1e999"])
def test_durations_refused(text):
    assert "time" in problem_of({"time": text})


@pytest.mark.parametrize(
    ("text", "count"),
    [("5000", 5000), ("20k", 20_000), ("1.5M", 1_500_000), ("2B", 2 * 10**9), ("1_000", 1000), (3, 3)],
)
def test_counts(text, count):
    assert Settings.build({"steps": text}).steps == count


@pytest.mark.parametrize("text", ["", "k", "1.5", "0.0001k", "0", "-4", "1e5x", 2.5])
def test_counts_refused(text):
    assert "steps" in problem_of({"steps": text})


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8")), st.floats(allow_nan=False, allow_infinity=False))
def test_written_and_read_back(tmp_path_factory, title, rate):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    written = Settings(title=title, optimizer=Optimizer(learning_rate=rate))
    written.write(path)
    assert Settings.read(path) == written


def test_overrides_win_unless_none(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("n_layers: 6\ntitle: x\n")
    read = Settings.read(path, n_layers=None, title="y")
    assert (read.n_layers, read.title) == (6, "y")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a: [1", "not valid YAML"),
        (b"- 1\n- 2\n", "holds a list"),
        (b"false\n", "holds a bool"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"n_layers: 1\ntitle: x\nn_layers: 2\n", "'n_layers' is set twice"),
        (b"a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_broken_yaml_is_named(tmp_path, content, says):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(GroundupError, match=says) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_absent_and_empty_yaml(tmp_path):
    with pytest.raises(GroundupError, match="does not exist"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}
