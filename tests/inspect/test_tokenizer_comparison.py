"""Several tokenizers on several texts: every figure is that of the texts given, labels are theirs."""

from __future__ import annotations

import io
import os
import re
from typing import ClassVar

import pytest
from rich.console import Console

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.inspect.tokenizer_comparison import compare_tokenizers, comparison_html, comparison_terminal, labelled
from groundup.tokenization import train_tokenizer

NESTED = [("many", "deu.txt"), ("many", "empty.txt"), ("many", "eng.txt"), ("more", "deu.txt")]


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "deu.txt").write_text("Der Hund und die Katze.\n")
    (tmp_path / "many" / "eng.txt").write_text("The cat sat on the <script>mat</script>.\n")
    (tmp_path / "many" / "empty.txt").write_text("")
    return tmp_path


def test_figures_are_those_of_the_texts(tokenizer, texts):
    other = train_tokenizer(["Der Hund und die Katze " * 20], algorithm="char")
    found = compare_tokenizers({"mine": tokenizer, "letters": other}, [texts / "many"])
    assert (found.names, found.labels) == (["mine", "letters"], ["deu", "eng"])
    for name, one in (("mine", tokenizer), ("letters", other)):
        for label in found.labels:
            text = (texts / "many" / f"{label}.txt").read_text().rstrip("\n")
            fit = found.fits[name][label]
            assert fit.n_tokens == len(one.encode(text)) or fit.n_tokens == len(one.encode(text + "\n"))
            assert fit.lossless_share == 1
        assert found.totals[name].n_tokens == sum(fit.n_tokens for fit in found.fits[name].values())
    text = shown(comparison_terminal(found))
    assert "bytes per token" in text
    assert f"{found.totals['mine'].bytes_per_token:.2f}" in text
    html = comparison_html(found)
    assert "<svg" in html
    assert "<script" not in html


def test_each_text_has_a_narrow_table_a_measure(tokenizer, texts):
    found = compare_tokenizers({"a_long/name.model": tokenizer, "other-one": tokenizer}, [texts / "many"])
    html = comparison_html(found)
    tables = re.findall(r"<h3>(.*?)</h3>.*?<tr>(.*?)</tr>", html.split("<h2>Each text</h2>")[1])
    assert [name for name, _ in tables] == ["Bytes per token", "Tokens per word", "Unknown"]
    for _, header in tables:
        assert re.findall(r">([^<]*(?:<wbr>[^<]*)*)</th>", header) == [
            *("text", "bytes", "a_<wbr>long/<wbr>name.<wbr>model", "other-<wbr>one")
        ]
    assert html.count(f"{found.fits['other-one']['deu'].bytes_per_token:.2f}") >= 2


def test_names_and_folders_of_tokenizers(tokenizer, texts):
    tokenizer.save(texts / "tok")
    found = compare_tokenizers(
        [texts / "tok", texts / "tok" / "tokenizer.json"], {"German": texts / "many" / "deu.txt"}
    )
    assert (found.names, found.labels) == (["tok", "tokenizer.json"], ["German"])
    assert found.fits["tok"]["German"].n_tokens == found.fits["tokenizer.json"]["German"].n_tokens


def test_labels(texts):
    assert labelled([texts / "many" / "deu.txt"]) == {"deu": texts / "many" / "deu.txt"}
    assert labelled([f"German={texts / 'many'}"]) == {"German": texts / "many"}
    assert list(labelled([texts / "many"])) == ["deu", "empty", "eng"]
    assert list(labelled([texts / "many" / "deu.txt", texts / "many"])) == ["deu", "empty", "eng"]  # once


def test_where_two_names_are_the_same_all_are_paths(texts):
    (texts / "more").mkdir()
    (texts / "more" / "deu.txt").write_text("Noch ein Hund.\n")
    both = labelled([texts, f"other={texts / 'many' / 'eng.txt'}"])
    assert list(both) == ["other", *(os.path.join(*parts) for parts in NESTED)]
    assert both[os.path.join("more", "deu.txt")] == texts / "more" / "deu.txt"
    assert list(labelled([texts / "more", f"deu={texts / 'many'}"])) == ["deu", "deu.txt"]
    with pytest.raises(GroundupError, match=r"two texts are labelled 'x': a\.txt and b\.txt; give each its own"):
        labelled(["x=a.txt", "x=b.txt"])
    with pytest.raises(GroundupError, match=r"two texts are labelled 'deu\.txt'; give .*many another label"):
        labelled([texts / "more", f"deu.txt={texts / 'many'}", f"deu={texts / 'many'}"])


def test_texts_without_text_are_told_in_one_line(tokenizer, texts):
    class Heard(Reporter):
        lines: ClassVar[list[str]] = []

        def warn(self, text: str) -> None:
            self.lines.append(text)

    for number in range(9):
        (texts / "many" / f"no{number}.txt").write_text("")
    found = compare_tokenizers({"mine": tokenizer}, [texts / "many"], reporter=Heard())
    assert found.labels == ["deu", "eng"]
    assert Heard.lines == ["left out, as they hold no text: empty, no0, no1, no2, no3 and 5 more"]


def test_only_the_beginning_of_a_long_text_is_read(tokenizer, texts):
    (texts / "long.txt").write_text("The cat ü. " * 10_000)
    found = compare_tokenizers({"mine": tokenizer}, [texts / "long.txt"], max_bytes=1000)
    assert 990 <= found.totals["mine"].n_bytes <= 1000


def test_many_texts_are_shown_by_the_worst(tokenizer, texts):
    for number in range(40):
        (texts / "many" / f"t{number:02d}.txt").write_text("The cat sat. " * (number + 1) + "ÿ" * (40 - number))
    found = compare_tokenizers({"mine": tokenizer}, [texts / "many"])
    text = shown(comparison_terminal(found))
    assert "the 10 of 42 texts that mine cuts into most tokens; all stand on the page (--html FILE)" in text
    assert "t00" in text
    assert "t39" not in text
    assert text.count("\n") < 40
    assert "t39" in comparison_html(found)


def test_a_long_label_keeps_its_end(tokenizer, texts):
    found = compare_tokenizers(
        {"mine": tokenizer}, {"a/" * 40 + "deu": texts / "many" / "deu.txt", "b": texts / "many"}
    )
    text = shown(comparison_terminal(found))
    assert "…" + ("a/" * 40 + "deu")[-39:] + " " in text
    assert "a/" * 40 + "deu" in comparison_html(found)


def test_what_cannot_be_compared_is_said(tokenizer, texts):
    with pytest.raises(GroundupError, match="no text was given"):
        compare_tokenizers({"mine": tokenizer}, [])
    with pytest.raises(GroundupError, match="no tokenizer was given"):
        compare_tokenizers({}, [texts / "many"])
    with pytest.raises(GroundupError, match="there is no text in what was given"):
        compare_tokenizers({"mine": tokenizer}, [texts / "many" / "empty.txt"])
