"""The lens looks through the model's own end: after the last block it shows what the model says."""

import pytest
import torch

from groundup.inspect.logit_lens import LayerGuesses, lens_html, logit_lens, settled_at
from groundup.models import architecture_names, build_model, config_for_size

TEXT = "The cat sat on"


@pytest.mark.parametrize("name", architecture_names())
def test_the_last_layer_is_the_model(name, tokenizer):
    model = build_model(config_for_size("d3", tokenizer.vocab_size, 32, name, d_model=64), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    layers = logit_lens(model, tokenizer, TEXT, n_likeliest=3)
    assert [layer.name for layer in layers] == ["embedding", *map(str, range(len(model.blocks)))]
    ids = tokenizer.encode(TEXT)
    with torch.no_grad():
        p_TV = model.eval()(torch.tensor([ids]))[0].softmax(-1)
    for position, p_V in enumerate(p_TV):
        top = p_V.topk(3)
        found = layers[-1].likeliest[position]
        assert [p for _, p in found] == pytest.approx(top.values.tolist(), abs=1e-5)
        assert layers[-1].entropy_bits[position] == pytest.approx(-(p_V * p_V.log2()).sum().item(), abs=1e-3)
    ranks = [1 + int((p_TV[t] > p_TV[t, came]).sum()) for t, came in enumerate(ids[1:])]
    assert layers[-1].came_rank == (*ranks, None)
    assert layers[0].likeliest != layers[-1].likeliest
    assert model.training is False


@torch.no_grad()
def test_the_first_is_the_embedding_alone(model, tokenizer):
    ids = tokenizer.encode(TEXT)
    embedded = model.token_embedding(torch.tensor([ids]))
    expected = model.unembed(model.final_norm(embedded))[0].softmax(-1).max(-1).values.tolist()
    first = logit_lens(model, tokenizer, TEXT)[0]
    assert [guesses[0][1] for guesses in first.likeliest] == pytest.approx(expected, abs=1e-6)


def test_looking_leaves_no_hooks(model, tokenizer):
    logit_lens(model, tokenizer, TEXT)
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in model.blocks)


def test_where_a_guess_settles():
    def layer(name, piece):
        return LayerGuesses(name, (((piece, 0.5),),), (1.0,), (None,))

    layers = [layer("embedding", "b"), layer("0", "a"), layer("1", "b"), layer("2", "b")]
    assert settled_at(layers, 0) == "1"
    assert settled_at(layers[:1], 0) == "embedding"
    assert settled_at([*layers, layer("3", "c")], 0) == "3"


def test_a_page_has_a_cell_for_each_layer_and_token(model, tokenizer):
    layers = logit_lens(model, tokenizer, TEXT)
    pieces = ["<script>"] * len(tokenizer.encode(TEXT))
    html = lens_html(layers, pieces)
    assert html.count("<td") == len(layers) * len(pieces)
    assert "<script" not in html
    assert lens_html([], []) == ""
    assert logit_lens(model, tokenizer, "") == []
