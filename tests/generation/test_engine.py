"""The engine: what a text becomes depends on its prompt, its settings and its seed alone."""

from __future__ import annotations

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.generation.engine import Continuation, Engine, generate_ids
from groundup.generation.sampling import SamplingSettings

from .conftest import CONTEXT, VOCAB, decided_model

GREEDY = SamplingSettings(temperature=0, max_new_tokens=12)
DRAWN = SamplingSettings(temperature=1.2, top_k=50, repetition_penalty=1.1, max_new_tokens=12)
PROMPTS = [[5], [1, 2, 3], [7, 8], [1, 2, 3], [9, 10, 11, 12, 13, 14, 15]]


def greedy_by_hand(model, prompt: list[int], n_new: int) -> list[int]:
    """The loop of the textbooks: the whole text through the model, the likeliest token behind it."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(n_new):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_is_the_loop_of_the_textbooks(model, use_cache):
    expected = [greedy_by_hand(model, prompt, 12) for prompt in PROMPTS]
    assert generate_ids(model, PROMPTS, GREEDY, use_cache=use_cache) == expected
    assert len({tuple(ids) for ids in expected}) == 4  # the prompts lead to different texts, so the test can fail


@pytest.mark.parametrize("settings", [GREEDY, DRAWN])
def test_a_batch_writes_what_each_prompt_writes_alone(model, settings):
    alone = [generate_ids(model, [prompt], settings, n_samples=3) for prompt in PROMPTS]
    together = generate_ids(model, PROMPTS, settings, n_samples=3)
    assert together == [ids for samples in alone for ids in samples]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_places_in_the_batch_make_no_difference(model, batch_size):
    settings = DRAWN.model_copy(update={"max_new_tokens": 2 * CONTEXT})
    everything = generate_ids(model, PROMPTS, settings, n_samples=2)
    assert generate_ids(model, PROMPTS, settings, n_samples=2, batch_size=batch_size) == everything


def test_the_cache_makes_no_difference_even_past_the_context(model):
    settings = DRAWN.model_copy(update={"max_new_tokens": 3 * CONTEXT})
    cached = generate_ids(model, PROMPTS, settings)
    assert cached == generate_ids(model, PROMPTS, settings, use_cache=False)
    assert [len(ids) for ids in cached] == [3 * CONTEXT] * len(PROMPTS)


def test_a_sample_is_a_function_of_the_seed_and_its_number(model):
    first, second, third = generate_ids(model, [[5]], DRAWN, n_samples=3)
    assert first != second != third != first
    assert generate_ids(model, [[5]], DRAWN, n_samples=2) == [first, second]
    assert generate_ids(model, [[5]], DRAWN.model_copy(update={"seed": 1})) != [first]


def test_texts_may_come_later_and_have_settings_of_their_own(model):
    alone = [generate_ids(model, [prompt], settings)[0] for prompt in PROMPTS[:2] for settings in (GREEDY, DRAWN)]
    texts = [Continuation(prompt, settings) for prompt in PROMPTS[:2] for settings in (GREEDY, DRAWN)]
    engine = Engine(model)
    for text in texts:
        engine.add(text)
        engine.step()
    while engine.busy:
        engine.step()
    assert [text.tokens for text in texts] == alone
    assert {text.finish for text in texts} == {"length"}


def test_the_window_slides_by_the_documented_rule(model):
    """Read up to the whole context; when it is full, go on from the newest half."""
    window, written, n_slides = [1, 2, 3], [], 0
    with torch.inference_mode():
        for _ in range(3 * CONTEXT):
            if len(window) > CONTEXT:
                window, n_slides = window[-(CONTEXT // 2) :], n_slides + 1
            written.append(int(model(torch.tensor([window]))[0, -1].argmax()))
            window.append(written[-1])
    text = Continuation([1, 2, 3], GREEDY.model_copy(update={"max_new_tokens": 3 * CONTEXT}))
    engine = Engine(model)
    engine.add(text)
    while engine.busy:
        engine.step()
    assert text.tokens == written
    assert text.n_slides == n_slides == 4


def test_a_prompt_longer_than_the_context_is_read_from_its_end(model):
    prompt = [(7 * i) % VOCAB for i in range(CONTEXT + 9)]
    text = Continuation(prompt, GREEDY)
    Engine(model).add(text)
    assert text.n_unread == 9
    assert generate_ids(model, [prompt], GREEDY) == generate_ids(model, [prompt[-CONTEXT:]], GREEDY)
    first_token = GREEDY.model_copy(update={"max_new_tokens": 1})
    assert generate_ids(model, [prompt[9:]], first_token) == [greedy_by_hand(model, prompt[9:], 1)]


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_context_of_one_token(use_cache):
    model = decided_model("gpt2", context_length=1)
    expected = [3]
    for _ in range(5):
        expected += greedy_by_hand(model, expected[-1:], 1)
    settings = SamplingSettings(temperature=0, max_new_tokens=5)
    assert generate_ids(model, [[8, 3]], settings, use_cache=use_cache) == [expected[1:]]


def test_an_end_token_ends_its_text_and_is_not_in_it(model):
    free = generate_ids(model, PROMPTS, GREEDY)
    end = free[1][4]
    texts = [Continuation(prompt, GREEDY) for prompt in PROMPTS]
    engine = Engine(model, end_ids={end})
    for text in texts:
        engine.add(text)
    while engine.busy:
        engine.step()
    for text, ids in zip(texts, free, strict=True):
        expected = ids[: ids.index(end)] if end in ids else ids
        assert (text.tokens, text.finish) == (expected, "end" if end in ids else "length")
    assert texts[1].finish == "end"


def test_finished_texts_cost_nothing(model, monkeypatch):
    rows_read = []
    trunk = type(model).trunk

    def counted(self, tokens_BT, *args, **kwargs):
        rows_read.append(tuple(tokens_BT.shape))
        return trunk(self, tokens_BT, *args, **kwargs)

    monkeypatch.setattr(type(model), "trunk", counted)
    engine = Engine(model)
    texts = [Continuation([5, 6], SamplingSettings(temperature=0, max_new_tokens=n)) for n in (1, 3, 3)]
    for text in texts:
        engine.add(text)
    engine.step()
    texts[1].finish = "stopped"
    while engine.busy:
        engine.step()
    # One reading of the prompt all three share, then one row alone for its two more tokens.
    assert rows_read == [(1, 2), (1, 1), (1, 1)]
    assert [len(text.tokens) for text in texts] == [1, 1, 3]


def test_a_text_stopped_before_it_began_leaves_the_queue(model):
    engine = Engine(model, batch_size=1)
    texts = [Continuation([5], GREEDY), Continuation([6], GREEDY)]
    for text in texts:
        engine.add(text)
    texts[1].finish = "stopped"
    while engine.busy:
        engine.step()
    assert (len(texts[0].tokens), texts[1].tokens) == (12, [])
    assert engine.step() == []


def test_the_engine_asks_only_three_things_of_a_state(model, monkeypatch):
    """A state that hides its keys and values from the engine serves as well: so will a recurrent one."""

    class Closed:
        def __init__(self, inner):
            self.inner = inner

        def select(self, rows):
            return Closed(self.inner.select(rows))

        @staticmethod
        def join(states):
            return Closed(states[0].inner.join([state.inner for state in states]))

    expected = generate_ids(model, PROMPTS, DRAWN, n_samples=2, batch_size=3)
    trunk, new_state = type(model).trunk, type(model).new_state
    monkeypatch.setattr(type(model), "trunk", lambda self, tokens, state: trunk(self, tokens, state.inner))
    monkeypatch.setattr(type(model), "new_state", lambda self, *args: Closed(new_state(self, *args)))
    assert generate_ids(model, PROMPTS, DRAWN, n_samples=2, batch_size=3) == expected


def test_ids_beyond_the_tokenizer_are_never_chosen(model):
    text = Continuation([5], SamplingSettings(temperature=5.0, max_new_tokens=40, repetition_penalty=1.5))
    engine = Engine(model, n_tokens=10)
    engine.add(text)
    while engine.busy:
        engine.step()
    assert max(text.tokens) < 10


def test_dropout_is_off_while_writing_and_back_on_afterwards():
    model = decided_model("gpt2")
    model.config = model.config.model_copy(update={"dropout": 0.5})
    expected = generate_ids(model, [[5]], GREEDY)
    model.train()
    assert generate_ids(model, [[5]], GREEDY) == expected
    assert model.training


def test_weights_in_bfloat16_write_too():
    model = decided_model("qwen3").set_dtype(torch.bfloat16)
    assert [len(ids) for ids in generate_ids(model, PROMPTS, DRAWN)] == [12] * len(PROMPTS)


def test_what_cannot_be_continued_is_said(model):
    with pytest.raises(GroundupError, match="without tokens"):
        Continuation([], GREEDY)
    with pytest.raises(GroundupError, match=f"token {VOCAB}.* 0 to {VOCAB - 1}"):
        Engine(model).add(Continuation([1, VOCAB], GREEDY))
    with pytest.raises(GroundupError, match="batch_size is 0"):
        Engine(model, batch_size=0)
