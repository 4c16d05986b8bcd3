"""Published chat templates: the ids of `transformers`, and masks that hold what a mask has to hold."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import tokenizers as library
from tests.chat.conftest import with_tokens

from groundup.chat.errors import AnswerNotFound, TemplateError
from groundup.chat.renderer import Renderer
from groundup.chat.templates import ChatTemplate
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.data.reading_records import read_records
from groundup.tokenization import Tokenizer

pytestmark = pytest.mark.shared_data
transformers = pytest.importorskip("transformers")

HERMES = "NousResearch-Hermes-3-Llama-3.1-8B-tool_use"
QWEN = "Qwen-Qwen2.5-7B-Instruct"
DEEPSEEK = "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"
GEMMA = "google-gemma-2-2b-it"
LLAMA = "meta-llama-Llama-3.1-8B-Instruct"
PHI = "microsoft-Phi-3.5-mini-instruct"
NEMO = "mistralai-Mistral-Nemo-Instruct-2407"
NAMES = (HERMES, QWEN, DEEPSEEK, GEMMA, LLAMA, PHI, NEMO)

# What a template writes and its model's tokenizer has; the vocabulary is another's where the model's own is not at hand.
GIVEN: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    DEEPSEEK: (
        (
            *(
                "<｜begin▁of▁sentence｜>",
                "<｜end▁of▁sentence｜>",
                "<｜User｜>",
                "<｜Assistant｜>",
                "<｜tool▁calls▁begin｜>",
            ),
            *("<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
            *("<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
        ),
        {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"},
    ),
    GEMMA: (("<bos>", "<start_of_turn>", "<end_of_turn>"), {"bos_token": "<bos>", "eos_token": "<end_of_turn>"}),
    LLAMA: (
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    ),
}

SYSTEM = {"role": "system", "content": "Be kind & brief."}
TALKS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello!"}],
    [
        {"role": "user", "content": "Hi, x < y [1]?\n\n```py\nprint('é 🙂')\n```"},
        {"role": "assistant", "content": "  Yes.\n- one\n- two "},
        {"role": "user", "content": "\nAnd\tnow?  "},
        {"role": "assistant", "content": "\n\nNow <b>this</b>."},
        {"role": "user", "content": "谢谢 [INSTITUTE] </ s>"},
        {"role": "assistant", "content": "不客气。"},
    ],
]


@pytest.fixture(scope="module")
def renderer(shared_data: Path) -> Callable[[str], Renderer]:
    folder = shared_data / "tokenizers"
    qwen = Tokenizer(
        gzip.decompress((folder / "qwen3_tokenizer.json.gz").read_bytes()).decode("utf-8"),
        {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    )
    own = {PHI: folder / "ggml" / "ggml-vocab-phi-3.gguf", NEMO: folder / "mistral_v3_spm.model"}
    kept: dict[str, Renderer] = {}

    def made(name: str) -> Renderer:
        if name not in kept:
            names, roles = GIVEN.get(name, ((), {}))
            tokenizer = open_tokenizer(own[name]) if name in own else with_tokens(qwen, names, **roles)
            source = (folder / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
            kept[name] = Renderer(tokenizer, ChatTemplate(source, name))
        return kept[name]

    return made


def theirs(renderer: Renderer) -> Callable[..., list[int]]:
    config = {
        key: value for key, value in renderer.tokenizer.config.items() if key in ("bos_token", "eos_token") and value
    }
    opened = transformers.PreTrainedTokenizerFast(
        tokenizer_object=library.Tokenizer.from_str(renderer.tokenizer.to_json()), **config
    )

    def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]], prompt: bool) -> list[int]:
        return opened.apply_chat_template(
            messages,
            tools=tools or None,
            chat_template=renderer.template.source,
            add_generation_prompt=prompt,
            tokenize=True,
            return_dict=False,
        )

    return render


def conversations(shared_data: Path, name: str) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Talks by hand and from real files, with tools where the template knows them."""
    found: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []
    if name != HERMES:  # which is for tools only
        found += [(talk, []) for talk in TALKS] + [([SYSTEM, *talk], []) for talk in TALKS if name != GEMMA]
        found += [
            (list(record.messages), [])
            for record in islice(read_records(shared_data / "sft/v1_messages_500.jsonl"), 500)
            if record
        ][::25]
    if name in (HERMES, QWEN, LLAMA, NEMO):
        records = islice(read_records(shared_data / "sft/glaive_toolcall_en_300.json", "conversation"), 40)
        found += [(list(record.messages), list(record.tools)) for record in records if record.tools]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_those_of_transformers(name: str, shared_data: Path, renderer: Callable[[str], Renderer]) -> None:
    ours, their = renderer(name), theirs(renderer(name))
    n_same = 0
    for messages, tools in conversations(shared_data, name):
        if name == NEMO and any(message.get("tool_calls") for message in messages):
            continue  # refused there: its calls want identifiers, which these have not
        for said, prompt in ((messages, False), (messages[:-1], True)):
            assert ours.ids(said, tools, add_generation_prompt=prompt) == their(said, tools, prompt)
            n_same += 1
    assert n_same >= 40


@pytest.mark.parametrize("name", NAMES)
def test_masks(name: str, shared_data: Path, renderer: Callable[[str], Renderer]) -> None:
    each = renderer(name)
    each.check()
    n_answers = 0
    for messages, tools in conversations(shared_data, name):
        if name == DEEPSEEK:  # whose prompts begin the thinking, which an answer has to go on with
            with pytest.raises(AnswerNotFound, match="'<think>"):
                each.renderings(messages, tools)
            messages = [
                message | {"content": f"<think>\nHm.\n</think>\n\n{message['content']}"}
                if message["role"] == "assistant"
                else message
                for message in messages
            ]
        renderings = each.renderings(messages, tools)
        seen = []
        for rendering in renderings:
            trained = set()
            for answer in rendering.answers:
                prompt = each.prompt(messages[: answer.message], tools)
                assert rendering.ids[: answer.start] == prompt
                assert rendering.ids[answer.end - 1] == each.stop_ids[0]
                text = each.tokenizer.decode(rendering.ids[answer.start : answer.end - 1], continued=True)
                content = messages[answer.message]["content"]
                if name == DEEPSEEK:
                    content = content.removeprefix("<think>\n")
                assert text.strip() == content.strip() or messages[answer.message].get("tool_calls")
                trained |= set(range(answer.start, answer.end))
                seen.append(answer.message)
            assert trained == {n for n, is_trained in enumerate(rendering.trained) if is_trained}
        assert sorted(seen) == [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        n_answers += len(seen)
    assert n_answers >= 20


@pytest.mark.parametrize(
    ("name", "messages", "reason"),
    [
        (GEMMA, [SYSTEM, *TALKS[0]], "System role not supported"),
        (GEMMA, TALKS[0][:1] * 2, "roles must alternate"),
        (NEMO, [TALKS[0][1]], "roles must alternate"),
    ],
)
def test_a_template_that_refuses_is_quoted(
    name: str, messages: list[dict[str, Any]], reason: str, renderer: Callable[[str], Renderer]
) -> None:
    with pytest.raises(TemplateError, match=reason):
        renderer(name).ids(messages)


def test_mistral_gets_the_identifiers_its_calls_want(shared_data: Path, renderer: Callable[[str], Renderer]) -> None:
    ours, their = renderer(NEMO), theirs(renderer(NEMO))
    n = 0
    for messages, tools in conversations(shared_data, NEMO):
        numbered, waiting, count = [], "", 0
        for message in messages:
            if message.get("tool_calls"):
                count += 1
                waiting = f"call{count:05d}"
                numbered.append(message | {"tool_calls": [call | {"id": waiting} for call in message["tool_calls"]]})
            else:
                numbered.append(message | ({"tool_call_id": waiting} if message["role"] == "tool" else {}))
        if count:
            n += 1
            assert ours.ids(messages, tools) == their(numbered, tools, False) == ours.ids(numbered, tools)
    assert n > 10
