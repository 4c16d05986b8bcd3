"""Each preference loss: a worked example by hand, TRL's value on the same numbers, and itself however a step is cut."""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from groundup.models import build_model, config_for_size
from groundup.training.objectives import IGNORED_LABEL
from groundup.training.preferences import (
    AnswerBatch,
    Answers,
    PreferenceObjective,
    PreferenceSettings,
    divergence_of,
    judged,
    kto_losses,
    pair_losses,
    split_pairs,
)

# One pair: the chosen answer of 4 tokens went from -12 to -10 nats, the rejected one of 5 from -10 to -15.
CHOSEN = Answers(torch.tensor([-10.0]), torch.tensor([4]), torch.tensor([-12.0]))
REJECTED = Answers(torch.tensor([-15.0]), torch.tensor([5]), torch.tensor([-10.0]))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        # margin of log ratios: (-10 + 12) - (-15 + 10) = 2 + 5 = 7
        (PreferenceSettings("dpo", beta=0.1), -math.log(sigmoid(0.1 * 7))),
        # per token: 2 / 4 + 5 / 5 = 1.5; the target is 1 / (2 * 0.1) = 5
        (PreferenceSettings("ipo", beta=0.1), (1.5 - 5) ** 2),
        # means -2.5 and -3; odds p / (1 - p) of exp(-2.5) and exp(-3)
        (
            PreferenceSettings("orpo", beta=0.1),
            2.5
            - 0.1
            * math.log(
                sigmoid(
                    math.log(math.exp(-2.5) / (1 - math.exp(-2.5))) - math.log(math.exp(-3.0) / (1 - math.exp(-3.0)))
                )
            ),
        ),
        # 2 * (-2.5 + 3) - 1 = 0
        (PreferenceSettings("simpo", beta=2.0, gamma=1.0), math.log(2)),
    ],
)
def test_a_pair_by_hand(settings, by_hand):
    assert pair_losses(CHOSEN, REJECTED, settings).tolist() == pytest.approx([by_hand], rel=1e-6)


def test_judged_answers_by_hand():
    settings = PreferenceSettings("kto", beta=0.1, liked_weight=1.0, disliked_weight=1.5)
    answers = Answers(torch.tensor([-10.0, -15.0]), torch.tensor([4, 5]), torch.tensor([-12.0, -10.0]))
    # mismatched answers moved by 1 and 2 nats: the reference point is 1.5
    divergence = divergence_of(torch.tensor([1.0, 2.0]))
    losses = kto_losses(answers, torch.tensor([True, False]), divergence, settings)
    by_hand = [1 - sigmoid(0.1 * (2 - 1.5)), 1.5 * (1 - sigmoid(0.1 * (1.5 + 5)))]
    assert losses.tolist() == pytest.approx(by_hand, rel=1e-6)
    assert divergence_of(torch.tensor([-1.0, -2.0])).item() == 0


def test_odds_stay_finite_where_an_answer_is_certain():
    sure = Answers(torch.tensor([0.0]), torch.tensor([3]))
    losses = pair_losses(sure, Answers(torch.tensor([-3.0]), torch.tensor([3])), PreferenceSettings("orpo"))
    assert torch.isfinite(losses).all()


def test_rewards_are_what_the_loss_takes_them_for():
    assert CHOSEN.rewards(PreferenceSettings("dpo", beta=0.1)).item() == pytest.approx(0.2)
    assert CHOSEN.rewards(PreferenceSettings("simpo", beta=2.0)).item() == pytest.approx(-5.0)


def random_answers(seed: int, n: int = 6) -> tuple[Answers, Answers]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(2):
        policy = -30 * torch.rand(n, generator=generator) - 1
        reference = policy + torch.randn(n, generator=generator)
        made.append(Answers(policy, torch.randint(3, 20, (n,), generator=generator), reference))
    return made[0], made[1]


def trl_self(**more):
    """The parts of a TRL trainer its loss reads, and nothing of the training around it."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather_for_metrics=lambda value: value, gather=lambda value: value
    )
    return SimpleNamespace(
        accelerator=accelerator,
        model=SimpleNamespace(training=False),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        aux_loss_enabled=False,
        label_smoothing=0.0,
        **more,
    )


def per_token(answers: Answers, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities [N, length] that sum to each answer's, and the mask [N, length + 1] of its tokens."""
    mask = torch.zeros(len(answers.policy_N), length + 1, dtype=torch.long)
    log_probabilities = torch.zeros(len(answers.policy_N), length)
    for row, (total, n) in enumerate(zip(answers.policy_N, answers.n_tokens_N.tolist(), strict=True)):
        mask[row, 1 : n + 1] = 1
        log_probabilities[row, :n] = total / n
    return log_probabilities, mask


@pytest.mark.parametrize(("loss", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo")])
def test_losses_with_a_reference_are_trls(loss, theirs):
    trainer = importlib.import_module("trl").DPOTrainer
    chosen, rejected = random_answers(0)
    parts = [per_token(each, 20) for each in (chosen, rejected)]
    log_probabilities, masks = (torch.cat(both) for both in zip(*parts, strict=True))
    zeros = torch.zeros_like(log_probabilities)
    outputs = SimpleNamespace(log_probs=log_probabilities, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    inputs = {
        "input_ids": torch.zeros_like(masks),
        "attention_mask": torch.ones_like(masks),
        "completion_mask": masks,
        "ref_chosen_logps": chosen.reference_N,
        "ref_rejected_logps": rejected.reference_N,
    }
    stub = trl_self(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[theirs],
        loss_weights=[1.0],
        beta=0.3,
        use_weighting=False,
        _total_train_tokens=0,
        _tp_size=1,
    )
    expected = trainer._compute_loss(stub, lambda **_: outputs, inputs, return_outputs=False)
    found = pair_losses(chosen, rejected, PreferenceSettings(loss, beta=0.3)).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_odds_ratio_is_trls():
    trainer = importlib.import_module("trl.experimental.orpo").ORPOTrainer
    chosen, rejected = random_answers(1)
    settings = PreferenceSettings("orpo", beta=0.25)
    theirs = trainer.odds_ratio_loss(trl_self(beta=0.25), chosen.mean_N, rejected.mean_N)[0]
    # their loss is the negative log likelihood less this
    found = pair_losses(chosen, rejected, settings) + chosen.mean_N
    assert torch.allclose(found, -theirs, atol=1e-6)


def test_simpo_is_trls():
    trainer = importlib.import_module("trl.experimental.cpo").CPOTrainer
    chosen, rejected = random_answers(2)
    stub = trl_self(beta=2.5, alpha=0.0, loss_type="simpo", simpo_gamma=1.4)
    theirs = trainer.cpo_loss(stub, chosen.mean_N, rejected.mean_N)[0]
    assert torch.allclose(pair_losses(chosen, rejected, PreferenceSettings("simpo", 2.5, 1.4)), theirs, atol=1e-6)


def test_judged_answers_are_trls():
    trainer = importlib.import_module("trl").KTOTrainer
    answers, others = random_answers(3)
    liked = torch.tensor([True, False, True, True, False, False])
    log_probabilities, mask = per_token(answers, 20)
    zeros = torch.zeros_like(log_probabilities)
    outputs = SimpleNamespace(log_probs=log_probabilities, entropy=zeros, mean_logits=zeros)
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "label": liked,
        "ref_logps": answers.reference_N,
        "ref_KL_logps": others.reference_N,
    }
    stub = trl_self(
        _compute_kl_logps=lambda *_: others.policy_N,
        precompute_ref_logps=True,
        calculate_KL=True,
        loss_type="kto",
        beta=0.2,
        desirable_weight=1.3,
        undesirable_weight=0.7,
        _total_train_tokens=0,
        _tp_size=1,
    )
    theirs = trainer._compute_loss(stub, lambda **_: outputs, inputs, return_outputs=False)
    settings = PreferenceSettings("kto", beta=0.2, liked_weight=1.3, disliked_weight=0.7)
    found = kto_losses(answers, liked, divergence_of(others.ratio_N), settings).mean()
    assert found.item() == pytest.approx(theirs.item(), rel=1e-5)


def batch_of(n_rows: int, seed: int, **more) -> AnswerBatch:
    tokens = torch.randint(50, (n_rows, 12), generator=torch.Generator().manual_seed(seed))
    labels = torch.full((n_rows, 12), IGNORED_LABEL)
    for row in range(n_rows):
        labels[row, 4 : 8 + row % 4] = tokens[row, 5 : 9 + row % 4]
    return AnswerBatch(tokens, labels, torch.linspace(-30, -20, n_rows), **more)


def gradient(model, objective, batches) -> torch.Tensor:
    model.zero_grad()
    n_targets = sum(batch.n_targets for batch in batches)
    for batch in batches:
        (objective(model, batch) / n_targets).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def small_model():
    model = build_model(config_for_size("d2", 50, 16, "qwen3", d_model=32, d_head=16), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    return model


@pytest.mark.parametrize("loss", ["dpo", "ipo", "orpo", "simpo"])
def test_one_batch_of_four_pairs_is_four_batches_of_one(loss):
    model, objective = small_model(), PreferenceObjective(PreferenceSettings(loss))
    whole = batch_of(8, seed=6)
    parts = []
    for pair in range(4):
        rows = [pair, pair + 4]
        assert whole.reference_B is not None
        parts.append(AnswerBatch(whole.tokens_BT[rows], whole.labels_BT[rows], whole.reference_B[rows]))
    assert whole.n_targets == 4 and [part.n_targets for part in parts] == [1] * 4
    one, other = gradient(model, objective, [whole]), gradient(model, objective, parts)
    assert one.abs().max() > 1e-4
    assert torch.allclose(one, other, atol=1e-6)


def test_one_batch_of_judged_answers_is_several_with_the_same_reference_point():
    model = small_model()
    mismatched = batch_of(6, seed=7)
    liked = torch.tensor([True, False, True, False, True, True])
    whole = batch_of(6, seed=8, liked_B=liked, step=3)
    assert whole.reference_B is not None
    parts = [
        AnswerBatch(whole.tokens_BT[rows], whole.labels_BT[rows], whole.reference_B[rows], liked[rows], step=3)
        for rows in ([0, 1], [2, 3, 4], [5])
    ]
    calls = []

    def beside(step: int) -> list[AnswerBatch]:
        calls.append(step)
        return [mismatched]

    objective = PreferenceObjective(PreferenceSettings("kto"), beside)
    one = gradient(model, objective, [whole])
    assert calls == [3]
    assert torch.allclose(one, gradient(model, objective, parts), atol=1e-6)
    assert calls == [3], "once a step, whatever it is cut into"
    point = objective.divergence(model, 3)
    assert point.item() == pytest.approx(max(0.0, judged(model.eval(), mismatched).ratio_N.mean().item()), rel=1e-5)


def test_learning_raises_the_chosen_above_the_rejected():
    model = small_model()
    batch = batch_of(8, seed=9)
    with torch.no_grad():
        before = judged(model, batch)
    batch = AnswerBatch(batch.tokens_BT, batch.labels_BT, before.policy_N)
    objective = PreferenceObjective(PreferenceSettings("dpo", beta=0.1))
    assert objective(model, batch).item() == pytest.approx(4 * math.log(2), rel=1e-4), "nothing has moved yet"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        objective(model, batch).backward()
        optimizer.step()
    with torch.no_grad():
        chosen, rejected = split_pairs(judged(model, batch))
    assert (chosen.ratio_N > rejected.ratio_N).all()
    assert objective(model, batch).item() < 0.5 * 4 * math.log(2)
