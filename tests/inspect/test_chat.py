"""The view of a conversation shows the mask that is trained by, counts what is cut, and obeys no text."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from groundup.chat.renderer import Renderer
from groundup.chat.templates import builtin
from groundup.cli import cli
from groundup.core.errors import GroundupError
from groundup.inspect.chat import chat_html, chat_terminal, look_at_conversations

TALKS = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello <b>you</b>!"}]},
    {"messages": [{"role": "user", "content": "The cat " * 60}, {"role": "assistant", "content": "sat.\nÉ"}]},
    {"messages": [{"role": "assistant", "content": "Hi"}]},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in TALKS), encoding="utf-8")
    return tmp_path / "talks.jsonl"


def shown(view) -> str:
    console = Console(file=io.StringIO(), width=500, highlight=False)
    console.print(view)
    return console.file.getvalue()


def test_the_terminal_shows_the_mask_and_the_counts(file: Path, tokenizer) -> None:
    renderer = Renderer(tokenizer, builtin("chatml"))
    seen = look_at_conversations(file, renderer, count=3, context_length=100)
    text = shown(chat_terminal(seen, renderer))
    assert "⟦Hello <b>you</b>!<|im_end|>⟧" in text and "⟦sat.↵\nÉ<|im_end|>⟧" in text
    rendered = [renderer.render(talk["messages"]) for talk in TALKS[:2]]
    n_tokens = sum(each.answers[-1].end for each in rendered)
    n_learned = sum(sum(each.trained) for each in rendered)
    assert f"3 conversations, 2 examples, {n_tokens} tokens, {n_learned} of them learned" in text
    assert f"not learned: 1 x the roles are in a wrong order (first: {file}:3)" in text
    assert re.search(r"^ +100 +1 +0 +1 *$", text, re.M)  # one whole, none cut, one that loses its answer
    assert f"{file}:3: not learned: the roles are in a wrong order: message 1 is of role assistant, first" in text


def test_the_page_shows_the_same_and_escapes(file: Path, tokenizer) -> None:
    renderer = Renderer(tokenizer, builtin("chatml"))
    html = chat_html(look_at_conversations(file, renderer), renderer)
    learned = re.findall(r'<span class="piece learned(?: structure)?" title="[^"]*">([^<]*)</span>', html)
    assert "".join(learned) == "Hello &lt;b&gt;you&lt;/b&gt;!&lt;|im_end|&gt;" and "<b>you" not in html
    assert html.count('class="piece structure"') == 3  # two turns begin, one that is not learned ends


def test_wrong_flags_are_named(file: Path, tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tok")

    def said(*flags: str) -> str:
        return str(CliRunner().invoke(cli, ["data", "show", *flags]).exception)

    assert "--split, --packing" not in said("--chat", str(tmp_path / "tok"), str(file))
    wrong = said("--chat", str(tmp_path / "tok"), str(file), "--packing", "none", "--split", "train")
    assert wrong.startswith("--packing, --split: no effect with --chat")
    assert "--chat needs a file" in said("--chat", str(tmp_path / "tok"))
    assert "no effect without --chat" in said(str(file), "--template", "chatml")
    assert "the conversations 0 to 2" in said("--chat", str(tmp_path / "tok"), str(file), "--window", "3")
    with pytest.raises(GroundupError, match="numbered from 0"):
        look_at_conversations(file, Renderer(tokenizer, builtin("chatml")), first=-1)
