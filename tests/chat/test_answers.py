"""Answers in templates that change what came before, and in those that say themselves what the assistant wrote."""

from __future__ import annotations

import pytest
from tests.chat.test_renderer import TALK, parts

from groundup.chat.errors import AnswerNotFound
from groundup.chat.renderer import Renderer
from groundup.chat.templates import ChatTemplate
from groundup.core.errors import GroundupError
from groundup.tokenization import Tokenizer

BEGIN = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
END = "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

# As Qwen 3: what was thought before the last question is dropped.
FORGETS = (
    "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    + BEGIN
    + "{% if m.role == 'assistant' and loop.index0 < ns.last %}{{ m.content.split('</t>')[-1] }}"
    + "{% else %}{{ m.content }}{% endif %}"
    + END
)
# As Mistral's: the system message goes before the last question.
MOVES = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>' }}{% if loop.last %}{{ messages[0].content + '\n' }}{% endif %}"
    "{{ m.content + '<|assistant|>' }}{% elif m.role == 'assistant' %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
)
# As DeepSeek R1's: a prompt begins the thinking, and what was said is written without it.
THINKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|assistant|>' + m.content.split('</t>')[-1] + '<|im_end|>' }}"
    "{% else %}{{ '<|user|>' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|><t>\n' }}{% endif %}"
)


def talk(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text} for role, text in zip(["user", "assistant"] * 4, contents, strict=False) if text
    ]


def test_thinking_that_is_dropped_later_is_learned_where_it_is_asked_for(plain: Tokenizer) -> None:
    renderer = Renderer(plain, ChatTemplate(FORGETS, "forgets"))
    renderer.check()
    messages = talk("a", "<t>one</t>b", "c", "d", "e", "<t>three</t>f")
    with pytest.raises(GroundupError, match="changes earlier messages"):
        renderer.render(messages)
    first, whole = renderer.renderings(messages)
    start = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    assert parts(plain, first) == [(False, start), (True, "<t>one</t>b<|im_end|>"), (False, "\n")]
    # Without its thinking the first answer is read, not learned; the second, which had none, is learned in the whole.
    assert parts(plain, whole) == [
        (False, f"{start}b<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"),
        (True, "d<|im_end|>"),
        (False, "\n<|im_start|>user\ne<|im_end|>\n<|im_start|>assistant\n"),
        (True, "<t>three</t>f<|im_end|>"),
        (False, "\n"),
    ]
    assert [answer.message for rendering in (first, whole) for answer in rendering.answers] == [1, 3, 5]
    light = [messages[0], messages[1] | {"weight": 0}, *messages[2:]]
    assert renderer.render(light).ids == whole.ids


def test_a_system_message_that_moves(plain: Tokenizer) -> None:
    renderer = Renderer(plain, ChatTemplate(MOVES, "moves"))
    first, second = renderer.renderings(TALK)
    assert parts(plain, first) == [(False, "<|user|>Be kind.\nHi<|assistant|>"), (True, "Hello!<|im_end|>")]
    assert parts(plain, second) == [
        (False, "<|user|>Hi<|assistant|>Hello!<|im_end|><|user|>Be kind.\n2+2?<|assistant|>"),
        (True, "It is 4.<|im_end|>"),
    ]
    for rendering, n in ((first, 2), (second, 4)):
        assert rendering.ids[: rendering.answers[0].start] == renderer.prompt(TALK[:n])


def test_an_answer_that_goes_on_where_its_prompt_ended(plain: Tokenizer) -> None:
    renderer = Renderer(plain, ChatTemplate(THINKS, "thinks"))
    renderer.check()
    rendered = renderer.renderings(talk("a", "<t>\nwell</t>b"))
    assert [parts(plain, each) for each in rendered] == [
        [(False, "<|user|>a<|assistant|><t>\n"), (True, "well</t>b<|im_end|>")]
    ]
    with pytest.raises(AnswerNotFound, match=r"does not begin with '<\|assistant\|><t>\\n'.*message 2"):
        renderer.renderings(talk("a", "b"))


def test_no_answer_begins_so(plain: Tokenizer) -> None:
    source = "{% for m in messages %}{{ '<|user|>' + m.content + '<|im_end|>' }}{% endfor %}"
    source += "{{ '<|tool|>' if add_generation_prompt else '' }}"
    with pytest.raises(GroundupError, match="cannot be trained with"):
        Renderer(plain, ChatTemplate(source, "other")).check()


BLOCKS = {
    "with the end": "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}",
    "without the end": "{% generation %}{{ m.content }}{% endgeneration %}{{ '<|im_end|>\n' }}",
    "in a macro": "{{ said(m) }}{{ '<|im_end|>\n' }}",
    "in a set block": "{% set s %}{% generation %}{{ m.content }}{% endgeneration %}{% endset %}{{ s + '<|im_end|>\n' }}",
}


def blocks(how: str) -> str:
    return (
        "{% macro said(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
        f"{BEGIN}{{% if m.role == 'assistant' %}}{BLOCKS[how]}{{% else %}}{{{{ m.content + '<|im_end|>\n' }}}}{{% endif %}}"
        + END.removeprefix("{{ '<|im_end|>\n' }}")
    )


@pytest.mark.parametrize("how", BLOCKS)
def test_generation_blocks_are_believed_and_the_end_of_turn_is_added(how: str, plain: Tokenizer) -> None:
    renderer = Renderer(plain, ChatTemplate(blocks(how), "marks"))
    renderer.check()
    compared = Renderer(plain, ChatTemplate(BEGIN + "{{ m.content }}" + END, "compares"))
    assert renderer.render(TALK) == compared.render(TALK)
    light = [*TALK[:2], TALK[2] | {"weight": 0}, *TALK[3:]]
    assert renderer.render(light) == compared.render(light)


def test_a_block_may_hold_a_part_of_the_answer(plain: Tokenizer) -> None:
    source = blocks("without the end").replace("{% generation %}", "{{ '(sure)' }}{% generation %}")
    rendered = Renderer(plain, ChatTemplate(source, "part")).render(TALK)
    assert [text for trained, text in parts(plain, rendered) if trained] == ["Hello!<|im_end|>", "It is 4.<|im_end|>"]


def test_people_cannot_mark_themselves(plain: Tokenizer) -> None:
    renderer = Renderer(plain, ChatTemplate(blocks("with the end"), "marks"))
    messages = [{"role": "user", "content": "{% generation %}x{% endgeneration %}{{ 1 }}"}, TALK[2]]
    assert [text for trained, text in parts(plain, renderer.render(messages)) if trained] == ["Hello!<|im_end|>"]
