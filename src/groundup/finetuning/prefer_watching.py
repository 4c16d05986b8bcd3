"""Looks at a preference run: how the rewards of validation answers stand, and whether longer answers win."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from groundup.core.files import write_atomically
from groundup.core.runs import Row, RunFolder
from groundup.finetuning.base_model import Base
from groundup.finetuning.prefer_data import TRAIN, VALIDATION, Judged, PreferConfig
from groundup.finetuning.prefer_rows import PreferenceRows
from groundup.finetuning.run import Look
from groundup.training.preferences import (
    PreferenceSettings,
    divergence_of,
    judged,
    kto_losses,
    pair_losses,
    split_pairs,
)

SHOWN = 50  # validation prompts in the report


@dataclass(frozen=True)
class PreferenceWatcher:
    """Looks at the validation answers: loss, rewards, and whether longer answers win."""

    config: PreferConfig
    settings: PreferenceSettings
    base: Base
    answers: Judged
    rows: PreferenceRows

    def look(self) -> Look:
        row = self._measure()[0]
        what = "liked over disliked" if not self.rows.pairs else "chosen over rejected"
        line = (
            f"validation loss {row['val_loss']:.4f}  accuracy {row['val_reward_accuracy']:.1%}  "
            f"reward margin {row['val_reward_margin']:+.4f} ({what})"
        )
        return Look(row, line)

    @torch.no_grad()
    def _measure(self) -> tuple[Row, np.ndarray, np.ndarray]:
        """The figures, and of each validation answer its reward and whether it was liked."""
        model = self.base.model.eval()
        device = model.token_embedding.weight.device
        losses, rewards, liked, lengths = [], [], [], []
        divergence = torch.zeros(())
        if not self.rows.pairs:
            beside = [judged(model, batch.to(device)).ratio_N for batch in self.rows.of_validation_mismatched()]
            divergence = divergence_of(torch.cat(beside))
        for batch in self.rows.of(VALIDATION):
            batch = batch.to(device)
            answers = judged(model, batch)
            if batch.liked_B is None:
                losses.append(pair_losses(*split_pairs(answers), self.settings))
                liked.append(torch.arange(2 * batch.n_targets) < batch.n_targets)
            else:
                losses.append(kto_losses(answers, batch.liked_B, divergence, self.settings))
                liked.append(batch.liked_B.cpu())
            rewards.append(answers.rewards(self.settings))
            lengths.append(answers.n_tokens_N)
        loss, reward = torch.cat(losses).double().cpu(), torch.cat(rewards).double().cpu()
        mask, length = torch.cat(liked), torch.cat(lengths).double().cpu()
        chosen, rejected = reward[mask], reward[~mask]
        row: Row = {"val_loss": loss.mean().item(), "val_answers": len(reward)}
        row |= {"val_reward_chosen": _mean(chosen), "val_reward_rejected": _mean(rejected)}
        row["val_reward_margin"] = _mean(chosen) - _mean(rejected)
        if self.rows.pairs:
            longer = length[mask] > length[~mask]
            # The batches lie chosen first, so the sides of a pair are the same place of each half.
            # Before training all rewards are zero: a tie is half right.
            row["val_reward_accuracy"] = _share(chosen > rejected) + 0.5 * _share(chosen == rejected)
            differ = length[mask] != length[~mask]
            row["val_longer_wins"] = _share((chosen > rejected)[differ] == longer[differ])
            row["val_longer_chosen"] = _share(longer[differ])
        else:
            # How likely a liked answer has a higher reward than a disliked one (area under the ROC curve).
            ranks = reward.argsort().argsort().double() + 1
            n_liked, n_other = int(mask.sum()), int((~mask).sum())
            area = (ranks[mask].sum().item() - n_liked * (n_liked + 1) / 2) / max(1, n_liked * n_other)
            row["val_reward_accuracy"] = area if n_liked and n_other else math.nan
        return row, reward.numpy(), mask.numpy()

    def notes(self) -> tuple[str, ...]:
        """What a person should know of the data before looking at the figures."""
        if not self.rows.pairs:
            liked = self.answers.liked_N[self.answers.side_N == TRAIN]
            return (f"Of the answers {liked.mean():.0%} are liked.",)
        units = self.answers.units(TRAIN, pairs=True)
        n = self._answer_lengths()
        chosen, rejected = n[units], n[self.answers.partner_N[units]]
        share = float((chosen > rejected).mean())
        note = (
            f"The chosen answer is the longer one in {share:.0%} of the pairs ({chosen.mean():.0f} tokens against "
            f"{rejected.mean():.0f} on average)"
        )
        if share > 0.6 or share < 0.4:
            word = "longer" if share > 0.5 else "shorter"
            note += f"; a model learns from that to write {word} answers: simpo counts rewards per token"
        return (f"{note}.",)

    def _answer_lengths(self) -> np.ndarray:
        starts = self.answers.examples.offsets[:-1]
        return np.add.reduceat(self.answers.examples.trained.astype(np.int64), starts)

    def finish(self, run: RunFolder) -> None:
        """Write what the report shows of single answers: `preferences.json`."""
        row, reward, liked = self._measure()
        decode = self.base.tokenizer.decode
        order = [unit for batch in self._order() for unit in batch]
        shown = []
        for place, unit in enumerate(order[: 2 * SHOWN]):
            ids, start = self.answers.examples.example(unit)[0].tolist(), self.answers.answer_start(unit)
            shown.append(
                {
                    "prompt": decode(ids[:start], skip_special=True),
                    "answer": decode(ids[start:], skip_special=True),
                    "n_tokens": len(ids) - start,
                    "liked": bool(liked[place]),
                    "reward": float(reward[place]),
                    "unit": int(min(unit, self.answers.partner_N[unit])) if self.rows.pairs else int(unit),
                }
            )
        values = {"pairs": self.rows.pairs, "loss": self.settings.describe(), "figures": row, "answers": shown}
        write_atomically(run.path / "preferences.json", json.dumps(values, ensure_ascii=False, indent=1))

    def _order(self) -> Iterator[list[int]]:
        """The validation answers in the order `_measure` reads them."""
        units, n = self.answers.units(VALIDATION, pairs=self.rows.pairs), self.config.micro_batch_size or 1
        for part in (units[i : i + n] for i in range(0, len(units), n)):
            yield [*part.tolist(), *(self.answers.partner_N[part].tolist() if self.rows.pairs else [])]


def _mean(values: Tensor) -> float:
    return values.mean().item() if len(values) else math.nan


def _share(flags: Tensor) -> float:
    return flags.double().mean().item() if len(flags) else math.nan
