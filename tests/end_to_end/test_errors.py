"""Wrong input, as a person would give it: a sentence that names it, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from groundup.cli import main

TINY = """
    --size d1 --d-model 32 --n-heads 2 --context-length 32 --batch-size 4 --micro-batch-size 4 --precision fp32
    --compile off --threads 1 --vocab-size 300 --sample-tokens 0 --evaluations 1
"""
TINY_FLAGS = shlex.split(TINY)


def fails(capsys: pytest.CaptureFixture, *words: object) -> str:
    """Run a command that must end with exit code 2; gives what it said on the error stream."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    output = capsys.readouterr()
    assert ended.value.code == 2, output.out + output.err
    assert "Traceback" not in output.err
    return output.err


def works(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for number in range(12):
        (folder / f"{number}.txt").write_text(f"Page {number}. The quick brown fox jumps over the lazy dog.\n" * 40)
    return folder


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    works("pretrain", text, "--out", out, "--steps", 3, *TINY_FLAGS)
    return out


@pytest.fixture
def copy_of_run(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def test_a_path_that_does_not_exist(capsys, tmp_path: Path):
    said = fails(capsys, "pretrain", tmp_path / "bookz", "--out", tmp_path / "run", "--steps", 3)
    assert str(tmp_path / "bookz") in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["", "x" * 300, "loop.txt", "around"])
@pytest.mark.parametrize("command", ["data read", "tokenizer train", "generate", "tokenizer show"])
def test_a_path_that_can_be_none(
    capsys, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, path: str
):
    """No name, as an unset variable leaves it; too long a name; links that lead to themselves."""
    monkeypatch.chdir(tmp_path)
    Path("loop.txt").symlink_to("loop.txt")
    Path("around").mkdir()
    Path("around/loop.txt").symlink_to("loop.txt")
    rest = {
        "tokenizer train": ["--out", "out"],
        "generate": ["Hello"],
        "tokenizer show": ["Hello"],
    }
    said = fails(capsys, *command.split(), path, *rest.get(command, []))
    assert (path or "name is empty") in said
    assert "did you mean" not in said
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["around", "loop.txt"]


@pytest.mark.parametrize("out", ["", "/proc/nowhere", "x" * 300, "notes/inside"])
@pytest.mark.parametrize(
    "command",
    [
        ["data", "example", "OUT"],
        ["tokenizer", "train", "TEXT", "--vocab-size", "270", "--out", "OUT"],
        ["data", "inspect", "TEXT", "--rules", "default", "--out", "OUT"],
        ["inspect", "positions", "--html", "OUT"],
    ],
)
def test_a_place_nothing_can_be_written_to(
    capsys, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], out: str
):
    monkeypatch.chdir(tmp_path)
    Path("notes").write_text("mine")
    said = fails(capsys, *({"OUT": out, "TEXT": str(text)}.get(word, word) for word in command))
    assert (out[:200] or "name is empty") in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", ["empty.txt", "empty"]),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 50, ["picture.txt", "not text", "PNG"]),
        ("latin.txt", b"caf" + "é".encode("latin-1") + b" au lait\n" * 30, ["latin.txt", "byte 3"]),
        ("rows.jsonl", b'{"text": "fine"}\n{"text": \n', ["rows.jsonl", "2"]),
        ("rows.jsonl", b'{"body_of_it": "x"}\n', ["rows.jsonl", "body_of_it"]),
        ("table.csv", b"a,b\n1,2\n", ["table.csv", "a", "b"]),
    ],
)
def test_a_file_that_cannot_be_read(capsys, tmp_path: Path, name: str, content: bytes, words: list[str]):
    path = tmp_path / name
    path.write_bytes(content)
    said = fails(capsys, "tokenizer", "train", path, "--out", tmp_path / "tok")
    assert all(word in said for word in words), said
    assert not (tmp_path / "tok").exists()


def test_files_that_cannot_be_read_at_all_are_an_error_of_reading(capsys, tmp_path: Path):
    (tmp_path / "list.jsonl").write_text("[1, 2]\n3\n")
    assert "none of this could be read" in fails(capsys, "data", "read", tmp_path / "list.jsonl")


def test_weights_that_are_no_numbers_are_not_the_machines_fault(capsys, run: Path, tmp_path: Path):
    flags = [word for word in TINY_FLAGS if word not in ("--vocab-size", "300")]
    said = fails(
        capsys, "pretrain", run / "data", "--out", tmp_path / "run", "--steps", 2, "--weight-decay", 1e30, *flags
    )
    assert "not numbers" in said and "weight decay" in said


def test_a_corpus_shorter_than_one_window(capsys, tmp_path: Path):
    path = tmp_path / "short.txt"
    path.write_text("Only a few words stand here.\n" * 4)
    said = fails(capsys, "pretrain", path, "--out", tmp_path / "run", "--steps", 3, "--context-length", 512)
    assert "512" in said
    assert "context_length" in said


@pytest.mark.parametrize("command", ["train", "import"])
def test_a_model_keeps_its_tokenizer(capsys, text: Path, copy_of_run: Path, command: str):
    model = copy_of_run / "model"
    before = (model / "tokenizer.json").read_bytes()
    source = text if command == "train" else model / "tokenizer.json"
    assert "holds a model" in fails(capsys, "tokenizer", command, source, "--out", model)
    assert (model / "tokenizer.json").read_bytes() == before


def test_no_bytes_to_learn_from(capsys, text: Path, tmp_path: Path):
    for size in ("0", ""):
        assert "bytes" in fails(capsys, "tokenizer", "train", text, "--out", tmp_path / "tok", "--max-bytes", size)


def test_commands_that_are_printed_can_be_typed(capsys, text: Path, tmp_path: Path):
    spaced = tmp_path / "my books"
    shutil.copytree(text, spaced)
    works("tokenizer", "train", spaced, "--out", tmp_path / "my tok", "--vocab-size", 270)
    said = [line.removeprefix("next").strip() for line in capsys.readouterr().out.splitlines()]
    typed = [shlex.split(line) for line in said if line.startswith("groundup")]
    assert [str(spaced) in words or str(tmp_path / "my tok") in words for words in typed] == [True, True]


def test_a_vocabulary_too_large_for_the_text(capsys, text: Path, tmp_path: Path):
    said = fails(capsys, "tokenizer", "train", text, "--out", tmp_path / "tok", "--vocab-size", "50k")
    assert "50000" in said
    assert not (tmp_path / "tok").exists()


def test_a_vocabulary_size_that_is_no_number(capsys, text: Path, tmp_path: Path):
    assert "many" in fails(capsys, "tokenizer", "train", text, "--out", tmp_path / "tok", "--vocab-size", "many")


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "nan", "", "x", "9" * 40])
@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("pretrain", "--steps"),
        ("pretrain", "--batch-size"),
        ("pretrain", "--threads"),
        ("pretrain", "--context-length"),
        ("prepare", "--threads"),
        ("prepare", "--workers"),
        ("generate", "--samples"),
    ],
)
def test_a_number_that_is_none_to_count_with(
    capsys, text: Path, run: Path, tmp_path: Path, command: str, flag: str, number: str
):
    words = {
        "pretrain": ["pretrain", run / "data", "--out", tmp_path / "out"],
        "prepare": ["data", "prepare", text, "--tokenizer", run / "tokenizer", "--out", tmp_path / "out"],
        "generate": ["generate", run, "Hello"],
    }[command]
    said = fails(capsys, *words, flag, number)
    assert flag in said or flag.strip("-").replace("-", "_") in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("time", ["0", "-5m", "nan", "", "soon"])
def test_a_quickstart_without_a_time_writes_nothing(capsys, tmp_path: Path, time: str):
    assert "time" in fails(capsys, "quickstart", "--out", tmp_path / "out", "--time", time)
    assert not (tmp_path / "out").exists()


def test_a_quickstart_leaves_another_run_alone(capsys, copy_of_run: Path):
    assert "holds another run" in fails(capsys, "quickstart", "--out", copy_of_run)
    assert not (copy_of_run / "text").exists()


def test_an_interruption_is_told_and_no_traceback(capsys, monkeypatch: pytest.MonkeyPatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("groundup.core.device.doctor", stop)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_an_unknown_command_and_an_unknown_flag(capsys, text: Path):
    assert "pretrain" in fails(capsys, "pretrian", text)
    assert "--learning-rate" in fails(capsys, "pretrain", text, "--out", "x", "--learning-rte", 1)


def test_an_unknown_key_in_a_config_file(capsys, text: Path, tmp_path: Path):
    (tmp_path / "run.yaml").write_text("steps: 3\nlearnin_rate: 0.1\nbatchsize: 4\n")
    said = fails(capsys, "pretrain", text, "--out", tmp_path / "run", "--config", tmp_path / "run.yaml")
    assert "learning_rate" in said
    assert "batch_size" in said


def test_a_config_file_that_is_not_there(capsys, text: Path, tmp_path: Path):
    assert "no.yaml" in fails(capsys, "pretrain", text, "--out", tmp_path / "run", "--config", tmp_path / "no.yaml")


def test_a_place_that_holds_a_run(capsys, text: Path, run: Path):
    assert "groundup resume" in fails(capsys, "pretrain", text, "--out", run, "--steps", 3, *TINY_FLAGS)


def test_resuming_what_is_no_run(capsys, tmp_path: Path):
    assert "nowhere" in fails(capsys, "resume", tmp_path / "nowhere")


def test_settings_without_effect_on_prepared_data(capsys, run: Path, tmp_path: Path):
    said = fails(capsys, "pretrain", run / "data", "--out", tmp_path / "run", "--steps", 3, "--vocab-size", 500)
    assert "vocab_size" in said
    assert not (tmp_path / "run").exists()


def test_another_tokenizer_than_the_data_was_prepared_with(capsys, text: Path, run: Path, tmp_path: Path):
    works("tokenizer", "train", text, "--out", tmp_path / "tok", "--algorithm", "char")
    capsys.readouterr()
    said = fails(
        capsys, "pretrain", run / "data", "--out", tmp_path / "run", "--steps", 3, "--tokenizer", tmp_path / "tok"
    )
    assert "tokenizer" in said


def test_a_model_without_its_tokenizer(capsys, copy_of_run: Path):
    (copy_of_run / "model" / "tokenizer.json").unlink()
    assert "tokenizer.json" in fails(capsys, "generate", copy_of_run, "Hello")


def test_damaged_weights(capsys, copy_of_run: Path):
    weights = copy_of_run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors" in fails(capsys, "generate", copy_of_run, "Hello")


def test_a_damaged_shard(capsys, run: Path, tmp_path: Path):
    data = Path(shutil.copytree(run / "data", tmp_path / "data"))
    shard = data / "train-00000.tokens"
    shard.write_bytes(shard.read_bytes()[:-8])
    assert "train-00000.tokens" in fails(capsys, "pretrain", data, "--out", tmp_path / "run", "--steps", 3)


def test_an_unsupported_model_is_refused_by_name(capsys, copy_of_run: Path):
    config = copy_of_run / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "qwen4"}))
    said = fails(capsys, "generate", copy_of_run, "Hello")
    assert "qwen4" in said
    assert "qwen3" in said


def test_sampling_settings_that_cannot_be(capsys, run: Path):
    said = fails(capsys, "generate", run, "Hello", "--temperature", -1, "--top-p", 2)
    assert "temperature" in said
    assert "top_p" in said


def test_a_model_that_is_nowhere(capsys, tmp_path: Path):
    assert "nothing-here" in fails(capsys, "generate", tmp_path / "nothing-here", "Hello")


def test_a_hub_name_without_a_network(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = fails(capsys, "generate", "some-org/some-model", "Hello")
    assert "some-org/some-model" in said


def test_a_window_that_is_not_there(capsys, run: Path):
    assert "--window" in fails(capsys, "data", "show", run, "--window", 10**9)


def test_a_refused_run_leaves_nothing_behind(capsys, tmp_path: Path):
    path = tmp_path / "short.txt"
    path.write_text("Only a few words stand here.\n" * 4)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("mine")
    for out in ("new", "kept"):
        fails(capsys, "pretrain", path, "--out", tmp_path / out, "--steps", 3, "--context-length", 512)
    assert not (tmp_path / "new").exists()
    assert [entry.name for entry in (tmp_path / "kept").iterdir()] == ["mine.txt"]


def test_a_config_file_with_a_place_in_it(capsys, text: Path, tmp_path: Path):
    (tmp_path / "run.yaml").write_text("steps: 3\nout: somewhere\ntokenizer: 5\n")
    said = fails(capsys, "pretrain", text, "--out", tmp_path / "run", "--config", tmp_path / "run.yaml")
    assert "out" in said
    assert "tokenizer" in said


def test_a_runs_own_config_can_be_planned_again(run: Path):
    works("plan", run / "data", "--config", _without_text(run), "--size", "d1")


def _without_text(run: Path) -> Path:
    lines = (run / "config.yaml").read_text().splitlines()
    path = run.parent / "again.yaml"
    path.write_text("\n".join(line for line in lines if not line.startswith("vocab_size")) + "\n")
    return path


def test_a_tokenizer_config_that_is_no_mapping(capsys, copy_of_run: Path):
    (copy_of_run / "model" / "tokenizer_config.json").write_text("[]")
    assert "tokenizer_config.json" in fails(capsys, "generate", copy_of_run, "Hello")


def test_an_empty_text_to_look_at(capsys, run: Path):
    for view in ("next", "attention", "embeddings"):
        assert "text" in fails(capsys, "inspect", view, run, "")
