"""The classifier reads the last real token, whatever architecture and padding."""

from __future__ import annotations

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.models import (
    AttentionConfig,
    LanguageModel,
    architecture,
    architecture_names,
    build_model,
    config_for_size,
)
from groundup.models.classifier import Classifier, train_only

LABELS = ("ham", "spam", "news")
VOCAB, CONTEXT = 60, 24


def language_model(name: str) -> LanguageModel:
    """A small model whose every part has a say."""
    heads = {"d_head": 16} if issubclass(architecture(name).Config, AttentionConfig) else {}
    model = build_model(config_for_size("d2", VOCAB, CONTEXT, name, d_model=32, **heads), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def classifier(name: str) -> Classifier:
    model = Classifier(language_model(name), LABELS).eval()
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(3))
    return model


@pytest.mark.parametrize("name", architecture_names())
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(name: str):
    model = classifier(name)
    generator = torch.Generator().manual_seed(4)
    texts = [torch.randint(VOCAB, (length,), generator=generator) for length in (7, 1, 12)]
    lengths = torch.tensor([len(text) for text in texts])
    alone = torch.cat([model(text[None], torch.tensor([len(text)])) for text in texts])
    for filler in (0, 5, VOCAB - 1):  # the id of the padding may be in the texts too
        rows = torch.full((3, 15), filler)
        for row, text in zip(rows, texts, strict=True):
            row[: len(text)] = text
        torch.testing.assert_close(model(rows, lengths), alone, atol=2e-5, rtol=1e-4)
        rows = torch.full((3, 15), filler)
        begins = torch.tensor([15 - 7, 15 - 1, 0])  # at the end, at the end, and between
        for row, text, begin in zip(rows, texts, begins.tolist(), strict=True):
            row[begin : begin + len(text)] = text
        torch.testing.assert_close(model(rows, lengths, begins), alone, atol=2e-5, rtol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@torch.no_grad()
def test_the_last_token_decides_and_none_after_it():
    model = classifier("gpt2")
    tokens, lengths = torch.randint(VOCAB, (1, 8), generator=torch.Generator().manual_seed(5)), torch.tensor([5])
    before = model(tokens, lengths)
    after, last = tokens.clone(), tokens.clone()
    after[0, 5:] = (after[0, 5:] + 1) % VOCAB
    last[0, 4] = (last[0, 4] + 1) % VOCAB
    assert torch.equal(model(after, lengths), before)
    assert not torch.allclose(model(last, lengths), before)


def test_an_untrained_head_prefers_nothing_and_the_head_of_tokens_is_gone():
    language = language_model("llama")
    assert language.head is not None or language.config.tie_embeddings
    model = Classifier(language, LABELS)
    logits = model(torch.ones(2, 4, dtype=torch.long), torch.tensor([4, 2]))
    assert torch.equal(logits, torch.zeros(2, 3)) and logits.dtype == torch.float32
    assert model.language_model.head is None
    named = [name for roles in model.parameter_roles().values() for name, _ in roles]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert model.parameter_roles()["head"] == [("score.weight", model.score.weight)]


def test_what_is_trained():
    model = classifier("gpt2")
    trained = lambda: {name for name, parameter in model.named_parameters() if parameter.requires_grad}  # noqa: E731
    train_only(model, "head")
    assert trained() == {"score.weight"}
    train_only(model, "last-block")
    rest = trained() - {"score.weight"}
    assert all(name.startswith(("language_model.blocks.1.", "language_model.final_norm.")) for name in rest)
    assert {"language_model.final_norm.weight", "language_model.blocks.1.attention.output.weight"} <= rest
    train_only(model, "all")
    assert trained() == {name for name, _ in model.named_parameters()}


def test_bf16_computes_in_bf16_and_gives_fp32():
    model = classifier("llama")
    model.compute_dtype = torch.bfloat16
    tokens, lengths = torch.ones(1, 4, dtype=torch.long), torch.tensor([4])
    logits = model(tokens, lengths)
    assert model.language_model.compute_dtype == torch.bfloat16 and logits.dtype == torch.float32
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("labels", [(), ("spam",), ("a", "a"), ("a", "")])
def test_labels_that_tell_nothing(labels: tuple[str, ...]):
    with pytest.raises(GroundupError, match="label"):
        Classifier(language_model("gpt2"), labels)
