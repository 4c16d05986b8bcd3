"""Every parameter is counted once, whatever kinds of blocks there are; memory and arithmetic are those of real tensors."""

import io
import math
import re
import xml.etree.ElementTree as ET

import pytest
import torch
from rich.console import Console
from torch import nn

from groundup.core.files import readable_bytes
from groundup.inspect.architecture import (
    architecture_html,
    architecture_terminal,
    kept_bytes_per_token,
    training_memory_bytes,
)
from groundup.inspect.block_structure import Step, block_structure
from groundup.inspect.model_drawing import model_drawing
from groundup.inspect.model_tree import alike, model_parts, model_tree, numbers
from groundup.inspect.page import readable_count
from groundup.models import architecture_names, build_model, config_for_size
from groundup.models.layers.linear import Linear


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=160).print(renderable)
    return out.getvalue()


@pytest.fixture(params=architecture_names())
def any_model(request):
    model = build_model(config_for_size("d3", 300, 32, request.param, d_model=64), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def test_every_parameter_is_in_the_tree_once(any_model):
    n = sum(p.numel() for p in any_model.parameters())
    assert model_tree(any_model).n_parameters == n
    parts = model_parts(any_model)
    assert sum(part.n_parameters for part in parts) == n
    assert all(part.n_parameters == part.n_copies * math.prod(part.shape) for part in parts)
    assert len({part.name for part in parts}) == len(parts)


def test_the_terminal_shows_tree_cost_and_memory(any_model):
    text = shown(architecture_terminal(any_model))
    assert f"{any_model.n_parameters():,}" in text
    rows = dict(re.findall(r"^(\S.*?)\s{2,}(\S.*?)$", text, re.M))
    assert rows["arithmetic to train on a token"].startswith(f"{readable_count(any_model.flops_per_token())} FLOPs")
    config, full = any_model.config, any_model.config.state_bytes(any_model.config.context_length)
    if config.state_bytes(1) > config.state_bytes(0):
        assert rows["decode state, a full context of 32"].startswith(readable_bytes(full))
    else:
        assert rows["decode state, however long the text"].startswith(readable_bytes(full))
    assert re.match(r"\S+ \S+ +\S+ \S+ *$", rows["to train: together"])


def test_the_page_holds_a_drawing_of_every_part(any_model):
    svg = model_drawing(any_model)
    texts = ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    for name, part in any_model.blocks[0].named_children():
        if any(True for _ in part.parameters()):
            assert any(text == name or f" {name} " in text for text in texts), name
    assert "token_embedding" in texts
    assert "final_norm" in texts
    assert not any("cannot be seen" in text for text in texts), "the numbers told how the parts are joined"
    html = architecture_html(any_model)
    assert html.count("<svg") == 1
    assert "http" not in html.replace("http://www.w3.org", "")


def test_blocks_of_several_kinds_are_told_apart():
    model = build_model(config_for_size("d4", 300, 32, "gpt2", d_model=64))
    for index in (1, 3):
        model.blocks[index].feed_forward.up = Linear(64, 100, bias=True)
        model.blocks[index].feed_forward.down = Linear(100, 64, bias=True)
    assert alike(model.blocks) == [[0, 2], [1, 3]]
    names = [node.name for node in model_tree(model).children]
    assert names == ["token_embedding", "position_embedding", "blocks.0, 2", "blocks.1, 3", "final_norm"]
    assert model_tree(model).n_parameters == sum(p.numel() for p in model.parameters())
    assert "blocks.1, 3: 2 blocks" in model_drawing(model)


def test_layers_with_a_window_are_another_kind():
    model = build_model(config_for_size("d4", 300, 32, "gemma2", d_model=64))
    assert alike(model.blocks) == [[0, 2], [1, 3]]
    attention = [next(c for c in node.children if c.name == "attention") for node in model_tree(model).children[1:3]]
    assert [node.note for node in attention] == ["window of 16 tokens", ""]
    assert "window of 16 tokens" in shown(architecture_terminal(model))
    assert model_drawing(model).count("window of 16 tokens") == 1


def test_numbers_of_blocks():
    assert numbers([0]) == "0"
    assert numbers([0, 1]) == "0, 1"
    assert numbers([2, 3, 4]) == "2–4"
    assert numbers([0, 2, 4, 6]) == "0, 2 … 6"
    assert numbers([0, 1, 3]) == "0, 1, 3"


class _Block(nn.Module):
    """A block wired in one of several ways."""

    def __init__(self, way):
        super().__init__()
        self.first, self.second, self.way = nn.Linear(8, 8), nn.Linear(8, 8), way

    def forward(self, x, reading=None):
        if self.way == "in a row":
            return x + self.second(self.first(x))
        if self.way == "side by side":
            return x + self.first(x) + self.second(x)
        if self.way == "one by one":
            x = x + self.first(x)
            return x + self.second(x)
        if self.way == "a gate between":
            return x + self.second(torch.sigmoid(self.first(x)))
        if self.way == "no sum":
            return self.second(self.first(x))
        return x * self.second(self.first(x))


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("in a row", [Step((("first", "second"),), True)]),
        ("side by side", [Step((("first",), ("second",)), True)]),
        ("one by one", [Step((("first",),), True), Step((("second",),), True)]),
        ("no sum", [Step((("first", "second"),), False)]),
        ("a gate between", [Step((("first", "second"),), True, frozenset({"second"}))]),
        ("a product", None),
    ],
)
def test_the_wiring_of_a_block_is_seen_in_its_numbers(way, expected):
    class Model(nn.Module):
        config = config_for_size("d1", 300, 32, "gpt2", d_model=32)

        def __init__(self):
            super().__init__()
            self.embedding, self.blocks = nn.Embedding(300, 8), nn.ModuleList([_Block(way)])

        def trunk(self, tokens):
            return self.blocks[0](self.embedding(tokens))

    torch.manual_seed(0)
    assert block_structure(Model(), 0) == expected


def test_memory_of_training(model):
    n, matrices = model.n_parameters(), sum(p.numel() for _, p in model.parameter_roles()["matrices"])
    plain = {"weights": 4 * n, "gradients": 4 * n, "optimizer": 8 * n, "copies": 0}
    assert training_memory_bytes(model, muon=False) == plain
    assert training_memory_bytes(model)["optimizer"] == 8 * n - 4 * matrices
    assert training_memory_bytes(model, dtype=torch.bfloat16)["copies"] == 2 * n


def test_what_is_kept_for_the_backward_pass_is_counted(any_model):
    config = any_model.config
    fp32, bf16 = (kept_bytes_per_token(any_model, dtype) for dtype in (torch.float32, torch.bfloat16))
    # Every block keeps at least the vectors it reads, as numbers of 4 or 2 bytes.
    assert fp32 > 4 * config.d_model * config.n_layers
    assert 2 * config.d_model * config.n_layers < bf16 < fp32
    assert any_model.compute_dtype == torch.float32
    assert all(p.grad is None for p in any_model.parameters())
