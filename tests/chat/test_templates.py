"""Which template is meant, and what a tokenizer carries of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chat.conftest import with_tokens

from groundup.chat.templates import BUILTIN, builtin, find_template
from groundup.core.errors import GroundupError
from groundup.tokenization import Tokenizer


def test_the_model_s_own_comes_first(plain: Tokenizer, tmp_path: Path) -> None:
    own = plain.with_chat_template("{{ messages }}")
    assert find_template(None, own).source == find_template("own", own).source == "{{ messages }}"
    assert find_template(None, plain) == builtin("chatml") == find_template("chatml", own)
    (tmp_path / "my.jinja").write_text("{{ tools }}", encoding="utf-8")
    assert find_template(str(tmp_path / "my.jinja"), own).source == "{{ tools }}"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("own", "has no chat template of its own; choose one of ours: alpaca"),
        ("chatm", "unknown chat template 'chatm'; did you mean 'chatml'"),
        ("there/is/none.jinja", "cannot be read: No such file"),
    ],
)
def test_what_is_not_there_is_said(choice: str, message: str, plain: Tokenizer) -> None:
    with pytest.raises(GroundupError, match=message):
        find_template(choice, plain)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_beginning_of_text_is_the_model_s_habit(name: str, plain: Tokenizer) -> None:
    habit = with_tokens(plain, ("<s>",), bos_token="<s>", add_bos_token=True)
    assert "bos_token" in find_template(name, habit).source
    assert ("bos_token" in find_template(name, plain).source) == (name == "llama3")


@pytest.mark.parametrize("name", BUILTIN)
def test_our_templates_carry_tools_or_refuse_them(name: str, tokenizers: dict[str, Tokenizer]) -> None:
    from groundup.chat.renderer import Renderer

    renderer = Renderer(tokenizers[name], builtin(name))
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": "é<|im_end|>"}}}
    talk = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ]
    if name in ("alpaca", "phi"):
        with pytest.raises(GroundupError, match="no place for tools; take chatml"):
            renderer.render(talk, tools)
        return
    rendered = renderer.render(talk, tools)
    tokenizer = tokenizers[name]
    learned = [tokenizer.decode(rendered.ids[a.start : a.end]) for a in rendered.answers]
    key, end = ("arguments", "<|im_end|>") if name == "chatml" else ("parameters", "<|eot_id|>")
    written = '{"name": "add", "' + key + '": {"a": "é<|im_end|>"}}'
    wrapped = f"<tool_call>\n{written}\n</tool_call>" if name == "chatml" else written
    assert learned == [wrapped + end, "It is 4." + end]


@pytest.mark.parametrize("in_config", ["text", "list", "file"])
def test_a_tokenizer_carries_its_template(in_config: str, plain: Tokenizer, tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    tokenizer = with_tokens(plain, chat_template={"text": "D", "list": named, "file": "D"}[in_config])
    tokenizer.save(tmp_path / "one")
    opened = Tokenizer.load(tmp_path / "one")
    assert opened.chat_template == tokenizer.chat_template == "D"
    assert opened.config == tokenizer.config and opened.sha256 == tokenizer.sha256
    assert (tmp_path / "one" / "chat_template.jinja").exists() == (in_config != "list")
    plain.save(tmp_path / "one")
    assert Tokenizer.load(tmp_path / "one").chat_template is None


def test_a_gguf_file_carries_it_too(plain: Tokenizer) -> None:
    from groundup.tokenization.gguf_vocabulary import gguf_from_tokenizer, tokenizer_from_gguf

    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    for tokenizer in (plain.with_chat_template("D"), with_tokens(plain, chat_template=named)):
        fields = gguf_from_tokenizer(tokenizer, tokenizer.vocab_size)
        assert tokenizer_from_gguf(fields, Path("a.gguf")).chat_template == "D"
