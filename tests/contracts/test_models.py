"""What every architecture promises; a new file in groundup/models is found and held to all of it by itself."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from groundup.checkpoints.model_folder import load_model, save_model, verify_model
from groundup.core.errors import GroundupError
from groundup.models import (
    AttentionConfig,
    LanguageModel,
    ModelConfig,
    architecture,
    architecture_names,
    build_model,
    config_for_size,
)
from groundup.models.layers.attention import Attend
from groundup.models.layers.experts import Experts
from groundup.models.layers.recurrent import Recurrent
from groundup.models.layers.scan import SelectiveScan
from groundup.models.layers.ssd import StateSpaceDual
from groundup.tokenization.training import train_tokenizer

VOCAB, CONTEXT = 300, 24


def small(name: str, depth: str = "d2", **overrides: Any) -> ModelConfig:
    """A small model; where there are heads, four of them."""
    heads = {"d_head": 16} if issubclass(architecture(name).Config, AttentionConfig) else {}
    return config_for_size(depth, VOCAB, CONTEXT, name, **({"d_model": 64} | heads | overrides))


def variants() -> Iterator[tuple[str, ModelConfig]]:
    """Each architecture as the dial makes it, with the other tying, and with shared key-value heads if it has them."""
    for name in architecture_names():
        config = small(name)
        yield name, config
        yield (
            f"{name}-tie-{not config.tie_embeddings}",
            config.model_copy(update={"tie_embeddings": not config.tie_embeddings}),
        )
        # An architecture that does not share heads refuses to by name, and has one variant less.
        with contextlib.suppress(GroundupError):
            yield f"{name}-shared-heads", small(name, n_kv_heads=2)


def settings_in_files() -> Iterator[tuple[str, ModelConfig]]:
    """Architectures with the settings that `variants/<architecture>.yaml` gives names to."""
    for file in sorted((Path(__file__).parent / "variants").glob("*.yaml")):
        for case, settings in yaml.safe_load(file.read_text("utf-8")).items():
            yield f"{file.stem}-{case}", small(file.stem, **settings)


VARIANTS = dict(variants()) | dict(settings_in_files())
COMPILED = (*architecture_names(), *dict(settings_in_files()))


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return VARIANTS[request.param]


@pytest.fixture
def model(config: ModelConfig) -> LanguageModel:
    """A model whose every part has a say: at initialisation some matrices are zero, and would hide mistakes."""
    model = build_model(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def some_tokens(n_rows: int, length: int, seed: int = 3) -> Tensor:
    return torch.randint(VOCAB, (n_rows, length), generator=torch.Generator().manual_seed(seed))


def mean_loss(model: LanguageModel, tokens: Tensor) -> Tensor:
    return F.cross_entropy(model(tokens[:, :-1]).float().flatten(0, 1), tokens[:, 1:].flatten())


def assert_close(one: Tensor, other: Tensor, tolerance: float = 2e-5) -> None:
    assert one.shape == other.shape
    assert float((one - other).abs().max()) < tolerance


@torch.no_grad()
def test_no_token_sees_the_future(model: LanguageModel) -> None:
    tokens = some_tokens(2, CONTEXT)
    changed = tokens.clone()
    changed[:, 15] = (changed[:, 15] + 1) % VOCAB
    before, after = model(tokens), model(changed)
    assert_close(before[:, :15], after[:, :15], 1e-6)
    moved = (before[:, 15:] - after[:, 15:]).abs().amax(dim=(0, 2))
    assert (moved > 1e-4).all(), "every later token sees the changed one"


@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_the_first_loss_is_near_that_of_guessing(config: ModelConfig, seed: int) -> None:
    loss = mean_loss(build_model(config, seed), some_tokens(16, CONTEXT))
    assert float(loss) == pytest.approx(math.log(VOCAB), abs=0.05)


def test_a_seed_means_the_same_weights_and_touches_no_other_randomness(config: ModelConfig) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = build_model(config, 5), build_model(config, 5), build_model(config, 6)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.token_embedding.weight, other.token_embedding.weight)


def test_the_variants_cover_sharing_and_tying() -> None:
    assert {config.tie_embeddings for config in VARIANTS.values()} == {True, False}
    attending = [config for config in VARIANTS.values() if isinstance(config, AttentionConfig)]
    assert any(config.n_kv_heads < config.n_heads for config in attending)


def test_gradients_reach_every_parameter(model: LanguageModel) -> None:
    tokens = torch.arange(12 * (CONTEXT + 1)).remainder(VOCAB).view(12, -1)
    mean_loss(model, tokens).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 1e-9, name


def test_a_new_model_learns_a_row_by_heart(config: ModelConfig) -> None:
    model, tokens = build_model(config, 0), some_tokens(2, CONTEXT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        mean_loss(model, tokens).backward()
        optimizer.step()
    with torch.no_grad():
        loss = mean_loss(model, tokens)
    assert float(loss) < 1.0, "starting from zeroed outputs must not stop learning"


@pytest.mark.parametrize("cuts", [(23,), (1, 1, 1), (5, 1, 7)], ids=str)
@torch.no_grad()
def test_prefill_and_decode_equal_the_full_forward(model: LanguageModel, cuts: tuple[int, ...]) -> None:
    tokens = some_tokens(3, CONTEXT)
    state, pieces, start = model.new_state(3), [], 0
    for width in (*cuts, CONTEXT - sum(cuts)):
        pieces.append(model(tokens[:, start : start + width], state))
        start += width
    assert_close(torch.cat(pieces, dim=1), model(tokens))
    assert state.lengths == [CONTEXT] * 3


@torch.no_grad()
def test_rows_of_different_lengths_decode_as_they_would_alone(model: LanguageModel) -> None:
    prompts = [some_tokens(1, length, seed=length) for length in (7, 1, 12)]
    states = []
    for prompt in prompts:
        states.append(model.new_state(1))
        model.trunk(prompt, states[-1])
    batch = states[0].join(states)
    assert batch.lengths == [7, 1, 12]
    for n_new in (1, 1, 3, 1):  # one by one, and several at once
        following = some_tokens(3, n_new, seed=40)
        logits = model(following, batch)
        for row in range(3):
            prompts[row] = torch.cat((prompts[row], following[row : row + 1]), dim=1)
            assert_close(logits[row], model(prompts[row])[0, -n_new:])


@torch.no_grad()
def test_rows_can_be_picked_repeated_and_dropped_while_decoding(model: LanguageModel) -> None:
    tokens = some_tokens(3, 9)
    state = model.new_state(3)
    model.trunk(tokens, state)
    picked = state.select(torch.tensor([2, 0, 2]))
    following = some_tokens(3, 1, seed=8)
    assert_close(model(following, picked)[:, 0], model(torch.cat((tokens[[2, 0, 2]], following), dim=1))[:, -1])
    assert state.lengths == [9, 9, 9], "the state picked from stays as it was"
    assert_close(model(following, state)[:, 0], model(torch.cat((tokens, following), dim=1))[:, -1])


@torch.no_grad()
def test_a_batch_equals_its_rows(model: LanguageModel) -> None:
    tokens = some_tokens(4, CONTEXT)
    assert_close(model(tokens), torch.cat([model(row[None]) for row in tokens]))


@torch.no_grad()
def test_packed_documents_equal_documents_apart(model: LanguageModel) -> None:
    lengths = [[5, 1, 12, 6], [24], [11, 13]]
    tokens = some_tokens(3, CONTEXT)
    ids = torch.stack([torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in lengths[:1] * 3])
    for row, parts in enumerate(lengths):
        ids[row] = torch.repeat_interleave(torch.arange(len(parts)) + 3, torch.tensor(parts))
    packed = model(tokens, document_ids_BT=ids)
    for row, parts in enumerate(lengths):
        apart = torch.cat([model(part[None])[0] for part in tokens[row].split(parts)])
        assert_close(packed[row], apart)


@torch.no_grad()
def test_trunk_then_unembed_is_forward(model: LanguageModel) -> None:
    tokens = some_tokens(2, CONTEXT)
    hidden = model.trunk(tokens)
    assert hidden.shape == (2, CONTEXT, model.config.d_model)
    assert torch.equal(model.unembed(hidden), model(tokens))
    assert_close(model.unembed(hidden[:, -1]), model(tokens)[:, -1])


def test_a_model_folder_gives_back_the_same_model(model: LanguageModel, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["round and round the folder goes " * 30], vocab_size=272)
    save_model(tmp_path / "model", model, tokenizer)
    loaded, its_tokenizer = load_model(tmp_path / "model")
    assert verify_model(tmp_path / "model", model, some_tokens(2, CONTEXT)) == 0.0
    for (name, ours), (same_name, theirs) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert name == same_name
        assert torch.equal(ours, theirs), name
        assert theirs.requires_grad
    ids = {"bos_id": tokenizer.bos_id, "eos_ids": (tokenizer.eos_id,), "pad_id": tokenizer.pad_id}
    assert loaded.config == model.config.model_copy(update=ids)
    assert its_tokenizer.sha256 == tokenizer.sha256


def test_parameter_formulas_count_what_is_there(model: LanguageModel) -> None:
    config, roles = model.config, model.parameter_roles()
    named = [name for pairs in roles.values() for name, _ in pairs]
    assert sorted(named) == sorted(dict(model.named_parameters())), "every parameter has one role"
    assert bool(roles["head"]) != config.tie_embeddings
    assert config.matrix_parameters() == sum(p.numel() for _, p in roles["matrices"])
    assert config.vector_parameters() == sum(p.numel() for _, p in roles["vectors"])
    assert config.n_parameters() == model.n_parameters() == sum(p.numel() for p in model.parameters())
    assert config.n_parameters(embeddings=False) == model.n_parameters(embeddings=False) < model.n_parameters()
    assert all(p.ndim >= 2 for role in ("matrices", "embedding", "head") for _, p in roles[role])


def reference_attend(
    self: Attend, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    return self.reference(q, k, v, mask)[0]


def reference_run(
    self: Recurrent, x: Tensor, start: tuple[Tensor, ...] | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    # Memories with a gradient, so that the first step's is counted as every other's.
    return self.run_reference(x, start or tuple(part.requires_grad_() for part in self.nothing(x)))


def compute_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every fast path be its reference."""
    monkeypatch.setattr(Attend, "forward", reference_attend)
    monkeypatch.setattr(Recurrent, "run", reference_run)
    monkeypatch.setattr(SelectiveScan, "forward", SelectiveScan.reference)
    monkeypatch.setattr(StateSpaceDual, "forward", StateSpaceDual.reference)


@pytest.mark.parametrize("length", [CONTEXT, 10])
def test_the_flop_formula_is_what_is_counted(
    model: LanguageModel, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_plainly(monkeypatch)  # plain products, which the counter knows on any device
    tokens = some_tokens(2, length + 1)
    with FlopCounterMode(display=False) as counter:
        mean_loss(model, tokens).backward()
    assert counter.get_total_flops() == model.flops_per_token(length) * 2 * length


@torch.no_grad()
def test_state_size_formula(model: LanguageModel) -> None:
    state = model.new_state(2, dtype=torch.bfloat16)
    model.trunk(some_tokens(2, 5), state)
    # Cut to what was read: room is made ahead.
    assert state.select([0]).n_bytes == model.config.state_bytes(5, torch.bfloat16)


@pytest.mark.parametrize("packed", [False, True])
def test_the_fast_path_equals_the_reference(
    model: LanguageModel, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = some_tokens(2, CONTEXT)
    ids = (torch.arange(CONTEXT) // 7).expand(2, -1) if packed else None

    def logits_and_gradient() -> tuple[Tensor, Tensor]:
        model.zero_grad()
        logits = model(tokens, document_ids_BT=ids)
        logits.square().mean().backward()
        return logits.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    fast = logits_and_gradient()
    compute_plainly(monkeypatch)
    for one, other in zip(fast, logits_and_gradient(), strict=True):
        assert_close(one, other)


@torch.no_grad()
def test_attention_weights_are_shares_of_the_past(model: LanguageModel) -> None:
    config = model.config
    if not isinstance(config, AttentionConfig):
        with pytest.raises(GroundupError, match="has no attention to look at"):
            model.attention_weights(some_tokens(2, 11))
        return
    weights = model.attention_weights(some_tokens(2, 11))
    assert weights.shape == (config.n_layers, 2, config.n_heads, 11, 11)
    total = weights.sum(-1)
    if any(isinstance(module, Attend) and module.sinks is not None for module in model.modules()):
        assert ((total > 0) & (total < 1)).all(), "what a learned sink takes is missing"
    else:
        assert_close(total, torch.ones_like(total))
    assert weights.triu(1).abs().max() == 0


def relative_error(one: Tensor, other: Tensor) -> float:
    return ((one.float() - other).norm() / other.norm()).item()


def test_bf16_stays_close_to_fp32(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, choose, choices = some_tokens(2, CONTEXT), Experts.choose, []

    def remember(self: Experts, probabilities: Tensor) -> Tensor:
        choices.append(choose(self, probabilities))
        return choices[-1]

    monkeypatch.setattr(Experts, "choose", remember)
    exact = model(tokens)
    exact.square().mean().backward()
    # A router's choice between two equals may fall otherwise; what follows from a choice must not.
    replayed = itertools.cycle(choices)
    monkeypatch.setattr(Experts, "choose", lambda self, probabilities: next(replayed))
    exact_gradient = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.compute_dtype = torch.bfloat16
    logits = model(tokens)
    assert logits.dtype == torch.bfloat16
    # A mixture rounds the shares of its experts as well (choices is empty where there are none).
    most, most_gradient = (0.025, 0.12) if choices else (0.02, 0.1)
    assert 1e-5 < relative_error(logits, exact) < most
    logits.float().square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert relative_error(parameter.grad, exact_gradient[name]) < most_gradient, name
    with torch.no_grad():
        kept = model.set_dtype(torch.bfloat16)(tokens)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert relative_error(kept, exact) < most


def test_too_many_tokens_are_refused_with_the_numbers(model: LanguageModel) -> None:
    if model.config.max_length is not None:
        with pytest.raises(GroundupError, match=f"{CONTEXT + 1} tokens exceed the {CONTEXT} positions"):
            model(some_tokens(1, CONTEXT + 1))
        with pytest.raises(GroundupError, match=f"max_length {CONTEXT + 1} exceeds the {CONTEXT}"):
            model.new_state(1, CONTEXT + 1)
    state = model.new_state(1, 4)
    model.trunk(some_tokens(1, 4), state)
    with pytest.raises(GroundupError, match="5 tokens do not fit the 4"):
        model.trunk(some_tokens(1, 1), state)
    assert state.lengths == [4], "a refused step leaves the state as it was"


@torch.no_grad()
def test_a_model_without_a_limit_reads_on_in_constant_memory(model: LanguageModel) -> None:
    if model.config.max_length is not None:
        return  # its state grows up to the limit, which the test above is about
    tokens, state = some_tokens(2, 4 * CONTEXT), model.new_state(2)
    pieces, n_bytes = [], set()
    for token in tokens.split(1, dim=1):
        pieces.append(model(token, state))
        n_bytes.add(state.n_bytes)
    assert_close(torch.cat(pieces, dim=1), model(tokens), 5e-5)
    assert len(n_bytes) == 1
    assert state.lengths == [4 * CONTEXT] * 2


@pytest.mark.parametrize("name", architecture_names())
def test_weight_tables_name_every_parameter_once(name: str) -> None:
    family = architecture(name)
    for tied in (True, False):
        config = config_for_size("d3", VOCAB, CONTEXT, name, d_model=64, tie_embeddings=tied)
        rows = list(family.weights(config).expand(config.n_layers, tied))
        assert sorted(row.ours for row in rows) == sorted(dict(build_model(config).named_parameters()))
        assert len({name for row in rows for name in row.sources}) == sum(len(row.sources) for row in rows)


@pytest.mark.parametrize("name", architecture_names())
def test_configs_pass_through_hugging_face_form(name: str) -> None:
    family = architecture(name)
    config = config_for_size("d3", VOCAB, CONTEXT, name, bos_id=1, eos_ids=(2, 9), pad_id=3, norm_eps=1e-4)
    assert family.from_hugging_face(family.to_hugging_face(config)) == config


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_equals_eager(name: str) -> None:
    torch.compiler.reset()  # variants of one class share code, and only so many compiled forms of it are kept
    model, tokens = build_model(VARIANTS[name], 1), some_tokens(2, CONTEXT)  # two layers: what they share can break
    if not model.compiles:
        pytest.skip("training never compiles it: its kernels are whole operations already")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    for ids in (None, (torch.arange(CONTEXT) // 7).expand(2, -1)):
        results = []
        for run in (model, torch.compile(model, fullgraph=True)):
            model.zero_grad()
            logits = run(tokens, document_ids_BT=ids)
            logits.square().mean().backward()
            gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            results.append((logits.detach(), torch.cat(gradients)))
        for eager, compiled in zip(*results, strict=True):
            assert_close(compiled, eager, 1e-4)
