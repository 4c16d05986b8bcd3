"""Text in, text out: streams equal what is returned, stops and characters are whole, people are told the unexpected."""

from __future__ import annotations

import pytest
import torch

from groundup.checkpoints.model_folder import save_model
from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.generation.engine import generate_ids
from groundup.generation.sampling import SamplingSettings
from groundup.generation.text_model import TextModel, load
from groundup.tokenization.tokenizer import Tokenizer

from .conftest import CONTEXT, VOCAB, decided_model

PROMPTS = ["The statement", "", "A name is bound to", "x"]


class Heard(Reporter):
    def __init__(self):
        self.warnings: list[str] = []

    def warn(self, text):
        self.warnings.append(text)


class Script(torch.nn.Module):
    """Stands where a model stands and writes the ids it was given, whatever it reads."""

    def __init__(self, ids: list[int], config):
        super().__init__()
        self.ids, self.config, self.weight = ids, config, torch.nn.Parameter(torch.zeros(1))

    def trunk(self, tokens_BT, state=None, document_ids_BT=None):
        state.n_read += 1
        return torch.full((*tokens_BT.shape, 1), float(self.ids[state.n_read - 1]))

    def unembed(self, hidden):
        return torch.nn.functional.one_hot(hidden[..., 0].long(), self.config.vocab_size).float()

    def new_state(self, batch_size, max_length=None):
        class State:
            n_read = 0

        return State()


def scripted(text: str, tokenizer, config) -> TextModel:
    """A writer whose text is known: one token a byte, so every character and every stop string is cut."""
    pieces = [piece for character in text for piece in tokenizer.pieces(character)]
    assert all(len(of_bytes) == 1 for _, _, of_bytes in pieces)
    ids = [token for token, _, _ in pieces]
    return TextModel(Script([*ids, tokenizer.eos_id], config), tokenizer)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def config():
    return decided_model("gpt2", context_length=200).config


def test_a_prompt_gives_a_text_and_a_list_a_list(writer):
    settings = {"max_new_tokens": 5, "temperature": 0.9}
    alone = [writer.generate(prompt, **settings) for prompt in PROMPTS]
    assert all(isinstance(text, str) for text in alone)
    assert writer.generate(PROMPTS, **settings) == alone
    samples = writer.generate(PROMPTS, n_samples=3, **settings)
    assert [len(texts) for texts in samples] == [3] * 4
    assert [texts[0] for texts in samples] == alone
    assert writer.generate(PROMPTS[0], n_samples=3, **settings) == samples[0]
    assert writer.generate("x", n_samples=1, **settings) == [alone[3]]
    assert writer.generate([], **settings) == []
    assert len(set(samples[0])) == 3


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("use_cache", [True, False])
def test_the_stream_joined_is_the_text(writer, temperature, use_cache):
    settings = {"max_new_tokens": 40, "temperature": temperature, "seed": 4}
    pieces = list(writer.stream("The", use_cache=use_cache, **settings))
    assert "".join(pieces) == writer.generate("The", **settings)
    assert len(pieces) > 10
    assert all(pieces)


def test_the_text_is_that_of_the_ids(writer):
    settings = SamplingSettings(max_new_tokens=30, temperature=1.0)
    [ids] = generate_ids(writer.model, [writer.tokenizer.encode("The")], settings, end_ids=[writer.tokenizer.eos_id])
    assert writer.generate("The", max_new_tokens=30, temperature=1.0) == writer.tokenizer.decode(ids)


@pytest.mark.parametrize("text", ["naïve café", "日本語 👩‍👩‍👧 done", "Żółć\n"])
def test_characters_made_of_several_tokens_come_whole(text, tokenizer, config):
    pieces = list(scripted(text, tokenizer, config).stream("go", temperature=0))
    assert pieces == list(text)


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("1,1,2 and more", "1,2", "1,"),
        ("one\n\ntwo", ["\n\n", "END"], "one"),
        ("no stop here", ["END"], "no stop here"),
        ("it ends in EN", ["END"], "it ends in EN"),
        ("été, naïve", ["ï"], "été, na"),
        ("STOP at once", ["STOP"], ""),
    ],
)
def test_stop_strings_span_tokens_and_never_show(text, stop, expected, tokenizer, config):
    writer = scripted(text, tokenizer, config)
    assert writer.generate("go", temperature=0, stop=stop) == expected
    assert "".join(writer.stream("go", temperature=0, stop=stop)) == expected


def test_half_a_character_at_the_end_is_shown_as_such(tokenizer, config):
    writer = scripted("ab€", tokenizer, config)
    assert writer.generate("go", temperature=0, max_new_tokens=4) == "ab\ufffd"


def test_a_stop_ends_one_text_of_a_batch_and_not_the_others(writer):
    free = writer.generate(PROMPTS, max_new_tokens=30, temperature=0)
    stop = free[0][5:8]
    stopped = writer.generate(PROMPTS, max_new_tokens=30, temperature=0, stop=stop)
    assert stopped == [text.split(stop)[0] for text in free]
    assert len(stopped[0]) <= 5 < len(free[0])


def test_the_empty_prompt_begins_a_text(writer):
    settings = SamplingSettings(max_new_tokens=8, temperature=0)
    [ids] = generate_ids(writer.model, [[writer.tokenizer.bos_id]], settings)
    assert writer.generate(max_new_tokens=8, temperature=0) == writer.tokenizer.decode(ids)
    assert "".join(writer.stream(max_new_tokens=8, temperature=0)) == writer.tokenizer.decode(ids)


def test_a_long_prompt_and_a_long_text_are_told(model, tokenizer):
    heard = Heard()
    writer = TextModel(model, tokenizer, reporter=heard)
    writer.generate("short", max_new_tokens=2)
    assert heard.warnings == []
    n_tokens = len(tokenizer.encode("word " * CONTEXT))
    writer.generate("word " * CONTEXT, max_new_tokens=1)
    assert len(heard.warnings) == 1
    assert f"longer than the context of {CONTEXT} tokens" in heard.warnings[0]
    assert f"up to {n_tokens - CONTEXT} left out" in heard.warnings[0]
    heard.warnings.clear()
    list(writer.stream("short", max_new_tokens=2 * CONTEXT, temperature=0))
    assert len(heard.warnings) == 1
    assert "older half was forgotten" in heard.warnings[0]
    heard.warnings.clear()
    writer.generate(["short", "word " * CONTEXT, "x"], max_new_tokens=1)
    assert heard.warnings[0].startswith("1 of 3 prompts are longer")


def test_settings_are_checked_before_the_first_piece(writer):
    with pytest.raises(GroundupError, match="temperature is -1"):
        writer.stream("x", temperature=-1)
    with pytest.raises(GroundupError, match=r"top_p is 0: .*; unknown setting 'top_q', did you mean"):
        writer.generate("x", top_q=1, top_p=0)
    with pytest.raises(GroundupError, match="n_samples is 0"):
        writer.generate("x", n_samples=0)


def test_load_opens_a_model_folder(tmp_path, model, tokenizer):
    save_model(tmp_path / "model", model, tokenizer)
    expected = TextModel(model, tokenizer).generate("The", max_new_tokens=10, temperature=0)
    assert load(str(tmp_path / "model")).generate("The", max_new_tokens=10, temperature=0) == expected
    assert load(tmp_path / "model", packed=True).generate("The", max_new_tokens=10, temperature=0) == expected
    half = load(str(tmp_path / "model"), precision="bf16", device="cpu")
    assert next(half.model.parameters()).dtype == torch.bfloat16
    assert isinstance(half.generate("The", max_new_tokens=3), str)
    with pytest.raises(GroundupError, match="unknown precision 'fp16'"):
        load(str(tmp_path / "model"), precision="fp16")


def test_load_tells_on_standard_error(tmp_path, model, tokenizer, capsys):
    save_model(tmp_path / "model", model, tokenizer)
    load(str(tmp_path / "model")).generate("word " * CONTEXT, max_new_tokens=1)
    captured = capsys.readouterr()
    assert "longer than the context" in captured.err
    assert captured.out == ""


def test_a_model_with_more_ids_than_its_tokenizer_writes_only_text(tokenizer):
    writer = TextModel(decided_model("qwen3", vocab_size=VOCAB + 3000), tokenizer)
    assert len(writer.generate("The", max_new_tokens=20, temperature=2.0)) >= 10


def test_a_prompt_begins_with_the_models_own_token_where_its_tokenizer_says_so(model, tokenizer):
    plain = TextModel(model, tokenizer)
    begun = TextModel(model, Tokenizer(tokenizer.to_json(), tokenizer.config | {"add_bos_token": True}))
    ids = tokenizer.encode("The statement")
    assert plain._prompt_ids("The statement") == ids
    assert begun._prompt_ids("The statement") == [tokenizer.bos_id, *ids]
    assert begun._prompt_ids("") == plain._prompt_ids("") == [tokenizer.bos_id]
