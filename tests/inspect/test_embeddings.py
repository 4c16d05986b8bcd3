"""Neighbours and pictures of tokens, and the model as it was before training."""

import io
import re

import pytest
import torch
from rich.console import Console

import groundup as gu
from groundup.core.errors import GroundupError
from groundup.inspect.embeddings import (
    embeddings_html,
    embeddings_terminal,
    initial_model,
    nearest_tokens,
    principal_plane,
    words_of,
)
from groundup.models import build_model
from groundup.tokenization.training import train_tokenizer


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


def test_nearest_tokens(model):
    table_VD = model.token_embedding.weight.detach()
    found = nearest_tokens(model, 7, n_nearest=5)
    cosine_V = torch.nn.functional.cosine_similarity(table_VD[7][None], table_VD)
    expected = [i for i in cosine_V.argsort(descending=True).tolist() if i != 7][:5]
    assert [id for id, _ in found] == expected
    assert [value for _, value in found] == pytest.approx(cosine_V[expected].tolist(), abs=1e-5)


def test_principal_plane_finds_the_plane():
    generator = torch.Generator().manual_seed(0)
    flat_N2 = torch.randn(50, 2, generator=generator) * torch.tensor([5.0, 1.0])
    turn_DD = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    found_N2 = principal_plane(flat_N2 @ turn_DD[:2] + 3.0)
    between = [(points[:, None] - points).norm(dim=-1) for points in (found_N2, flat_N2)]
    torch.testing.assert_close(*between, atol=1e-3, rtol=1e-3)
    assert found_N2[:, 0].var() > found_N2[:, 1].var()
    assert torch.equal(found_N2, principal_plane(flat_N2 @ turn_DD[:2] + 3.0))


def test_words_come_in_the_order_of_the_vocabulary(tokenizer):
    ids = words_of(tokenizer, 4)
    pieces = [tokenizer.decode([id], continued=True) for id in ids]
    assert ids == sorted(ids)
    assert len(ids) == 4
    assert all(re.fullmatch(r" [A-Za-z]{3,}", piece) for piece in pieces)
    assert set(ids) < set(words_of(tokenizer, 4, 5))


def test_a_table_and_a_page(model, tokenizer):
    text = shown(embeddings_terminal(model, tokenizer, "the cat the cat", n_nearest=2))
    assert len(text.splitlines()) == len(set(tokenizer.encode("the cat the cat"))) + 1
    page = embeddings_html(model, tokenizer, "the cat")
    assert page.count("<svg") == 1
    assert page == embeddings_html(model, tokenizer, "the cat")
    assert "run folder does" in page
    for id in tokenizer.encode("the cat"):
        assert f'data-id="{id}"' in page
    assert embeddings_html(model, tokenizer).count("<circle") == len(words_of(tokenizer, 200, 100))
    with pytest.raises(GroundupError, match="no tokens"):
        embeddings_terminal(model, tokenizer, "")


def test_a_vocabulary_without_words_needs_a_text(model):
    letters = train_tokenizer(["abc " * 20], algorithm="char", byte_fallback=False)
    with pytest.raises(GroundupError, match="give some text"):
        embeddings_terminal(model, letters)


def test_before_and_after_stand_side_by_side(model, tokenizer):
    before = build_model(model.config, seed=4)
    lines = shown(embeddings_terminal(model, tokenizer, "cat", n_nearest=1, before=before)).splitlines()
    id = tokenizer.encode("cat")[0]
    for line, one in ((lines[2], model), (lines[2 + len(lines) // 2 + 1], before)):
        assert f"{nearest_tokens(one, id, 1)[0][1]:.2f}" in line
    page = embeddings_html(model, tokenizer, "cat", before=before)
    assert page.count("<svg") == 2
    assert page.index("Before training") < page.index("After training:")


def test_the_initial_weights_are_those_the_run_began_with(tmp_path):
    """A run whose learning rates are nothing ends where it began; that is what is made again."""
    (tmp_path / "text").mkdir()
    for number in range(12):
        (tmp_path / "text" / f"{number}.txt").write_text(
            f"Page {number}. The quick brown fox jumps over the dog.\n" * 20
        )
    rates = dict.fromkeys(
        ("learning_rate", "embedding_learning_rate", "head_learning_rate", "vector_learning_rate"), 1e-30
    )
    sizes = {"size": "d1", "d_model": 32, "n_heads": 2, "context_length": 32, "batch_size": 4, "vocab_size": 280}
    still = {"compile": "off", "precision": "fp32", "threads": 1, "sample_tokens": 0, "evaluations": 1}
    gu.pretrain(tmp_path / "text", out=tmp_path / "run", steps=1, seed=7, **rates, **sizes, **still)
    opened = gu.load(str(tmp_path / "run")).model
    before = initial_model(tmp_path / "run", opened)
    assert before is not None
    for (name, ours), (_, theirs) in zip(before.named_parameters(), opened.named_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    other_seed = build_model(opened.config, 8)
    assert not torch.allclose(before.token_embedding.weight, other_seed.token_embedding.weight)
    assert initial_model(tmp_path / "run" / "model", opened) is None
