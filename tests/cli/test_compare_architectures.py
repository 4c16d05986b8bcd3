"""The command is one word with a hyphen, and says before anything else what it cannot do."""

import pytest

from groundup.cli import command_files, main


def test_the_hyphenated_command_and_the_grouped_ones():
    files = command_files()
    assert files[("compare-architectures",)] == "compare_architectures"
    assert files[("inspect", "model")] == "inspect_model"
    assert not any(words[0] == "compare" for words in files)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "gpt2,qwen4"], "did you mean 'qwen3'"),
        (["--models", "gpt2", "--parameters", "many"], "--parameters: 'many' is not a count"),
        (["--models", ","], "no models to compare"),
        (["--models", "gpt2", "--n-layers", "3"], "No such option"),
    ],
)
def test_wrong_words_end_with_code_2(tmp_path, capsys, words, said):
    text = tmp_path / "text.txt"
    text.write_text("A line of text.\n" * 400)
    with pytest.raises(SystemExit) as ended:
        main(["compare-architectures", str(text), "--out", str(tmp_path / "out"), "--steps", "2", *words])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert said in output.err
    assert "Traceback" not in output.err
    assert not (tmp_path / "out").exists()
