"""Each view tells the truth about the tokenizer, the windows and the model, in the terminal and as a page."""

import base64
import io
import json
import math
import re

import numpy as np
import pytest
import torch
from rich.console import Console

from groundup.core.errors import GroundupError
from groundup.data.prepare import prepare
from groundup.data.windows import Windows
from groundup.inspect.attention import attention_html, attention_terminal, attention_weights
from groundup.inspect.next_token import next_token_guesses, next_token_html, next_token_terminal
from groundup.inspect.terminal import visible
from groundup.inspect.tokens import piece_of, tokens_html, tokens_terminal
from groundup.inspect.windows import windows_html, windows_terminal

EVIL = "the [bold]cat[/bold] <script>x</script>\x1b[31m"


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


def test_visible():
    assert visible(" a\n") == "·a↵"
    assert visible("  ") == "··"
    assert visible("a b") == "a b"


def test_tokens(tokenizer):
    text = shown(tokens_terminal(tokenizer, EVIL))
    assert f"{len(tokenizer.encode(EVIL))} tokens for {len(EVIL)} characters, {len(EVIL)} bytes" in text
    assert "[bold]" in text.splitlines()[0]
    assert "\x1b" not in text
    html = tokens_html(tokenizer, EVIL)
    assert "<script" not in html
    assert "\x1b" not in html
    assert html.count('class="piece"') == len(tokenizer.encode(EVIL))
    assert "0 tokens" in shown(tokens_terminal(tokenizer, ""))


def test_stray_bytes_are_told_apart(tokenizer):
    ids = tokenizer.encode("ä")
    assert [piece_of(tokenizer, id) for id in ids] == ["\\xc3", "\\xa4"]
    assert [piece_of(tokenizer, id) for id in tokenizer.encode("cat cat")][-1] == " cat"


@pytest.fixture
def windows(tokenizer, tmp_path):
    (tmp_path / "text").mkdir()
    for animal in ("cat", "dog", "bird", "cow", "hen", "pig", "fox", "owl", "bee", "ant", "elk", "eel"):
        (tmp_path / "text" / f"{animal}.txt").write_text(f"The {animal} sat.")
    split = prepare([tmp_path / "text"], tokenizer, tmp_path / "data", n_threads=1).split("train")
    return Windows(split, context_length=split.n_tokens - 1)


def test_windows(windows, tokenizer):
    lines = shown(windows_terminal(windows, tokenizer, n_rows=999)).splitlines()
    inputs, targets = windows.window(0)
    rows = [line for line in lines if re.match(r" *\d+  ", line)]
    assert len(rows) == len(inputs)
    assert [int(row.split()[-1]) for row in rows] == targets.tolist()
    # The end of text opens the next document: nothing of the one before is seen from there on.
    for end in np.flatnonzero(inputs == tokenizer.eos_id):
        assert re.match(rf" *{end}  <\|endoftext\|>  +", rows[end])
        assert re.match(rf" *{end - 1}  [^.]* sat\.  +<\|endoftext\|>", rows[end - 1])
    html = windows_html(windows, tokenizer)
    assert html.count('class="piece"') == 2 * len(inputs)


def test_next_token(model, tokenizer):
    text = "The cat sat on"
    ids = tokenizer.encode(text)
    guesses = next_token_guesses(model, tokenizer, text, n_likeliest=3)
    p_TV = model(torch.tensor([ids]))[0].softmax(-1)
    assert [guess.piece for guess in guesses] == [tokenizer.decode([id]) for id in ids]
    for position, guess in enumerate(guesses):
        p_V = p_TV[position]
        assert guess.entropy_bits == pytest.approx(-(p_V * p_V.log2()).sum().item(), abs=1e-4)
        assert [p for _, p in guess.likeliest] == pytest.approx(p_V.sort(descending=True).values[:3].tolist(), abs=1e-6)
    assert guesses[0].came_probability == pytest.approx(p_TV[0, ids[1]].item(), abs=1e-6)
    assert guesses[0].came_rank == 1 + int((p_TV[0] > p_TV[0, ids[1]]).sum())
    assert (guesses[-1].came, guesses[-1].came_probability, guesses[-1].came_rank) == (None, None, None)
    assert next_token_guesses(model, tokenizer, "") == []
    lines = shown(next_token_terminal(model, tokenizer, text)).splitlines()
    assert lines[1 + len(ids)] == ""
    assert len(lines) == 2 * (1 + len(ids)) + 3, "the guesses, then the layers"
    assert "<script" not in next_token_html(model, tokenizer, EVIL[:20])


def test_entropy_of_a_uniform_model(model, tokenizer):
    head = model.head_weight
    kept = head.detach().clone()
    try:
        with torch.no_grad():
            head.zero_()
        assert next_token_guesses(model, tokenizer, "cat")[0].entropy_bits == pytest.approx(math.log2(head.shape[0]))
    finally:
        with torch.no_grad():
            head.copy_(kept)


def test_attention(model, tokenizer):
    text = "The cat sat on the mat"
    tokens, weights_LHTT = attention_weights(model, tokenizer, text)
    n_tokens = len(tokenizer.encode(text))
    assert weights_LHTT.shape == (model.config.n_layers, model.config.n_heads, n_tokens, n_tokens)
    torch.testing.assert_close(weights_LHTT.sum(-1), torch.ones(weights_LHTT.shape[:3]))
    assert weights_LHTT.triu(1).abs().max() == 0
    n_heads = model.config.n_layers * model.config.n_heads
    lines = shown(attention_terminal(model, tokenizer, text)).splitlines()
    assert sum(bool(re.match(r"\d\.\d ", line)) for line in lines) == n_heads
    html = attention_html(model, tokenizer, text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    levels = np.frombuffer(base64.b64decode(data["weights"]), np.uint8).reshape(weights_LHTT.shape)
    assert np.abs(levels / 255 - weights_LHTT.numpy()).max() <= 0.5 / 255 + 1e-6
    assert data["tokens"] == tokens
    assert html.count("<canvas") == n_heads
    # Frames stand outside of their pictures, and what scrolls cuts off what stands outside of it.
    frame, room = (
        re.search(r"\.named \{ outline: (\d)px", html)[1],
        re.search(r"\.heads \{[^}]*padding: (\d)px", html)[1],
    )
    assert int(room) >= int(frame)


def test_attention_of_one_token_and_of_too_many(model, tokenizer):
    assert "100%" in shown(attention_terminal(model, tokenizer, "a"))
    with pytest.raises(GroundupError, match=r"1 to 32 of them"):
        attention_html(model, tokenizer, "cat " * 40)
    with pytest.raises(GroundupError, match="has 0 tokens"):
        attention_html(model, tokenizer, "")


def test_script_in_attended_text_stays_data(model, tokenizer):
    html = attention_html(model, tokenizer, "</script><script>")
    assert html.count("<script") == 2  # the data and ours
