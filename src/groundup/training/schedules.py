"""How the learning rate moves over a run: warm-up, stable, decay, as a plain function of where the run stands.

The one idea: the two ends of the curve are different things. Warm-up is about the optimizer, whose averages need some
*steps* before they mean anything; so it counts steps. Decay is about the budget, and must reach its end exactly when
the steps or the seconds do; so it follows `progress`, the share of the budget spent, which knows nothing of steps.

Sources: the shape is from MiniCPM (Hu et al. 2024, section 4) and Hägele et al. 2024, "Scaling Laws and
Compute-Optimal Training Beyond Fixed Training Durations", section 3: constant, then a decay over the last part, is as
good as a cosine and lets a run be continued from its stable part. Decay is linear and goes to (nearly) zero: Bergsma
et al. 2025, "Straight to Zero", find it best at every batch size and model size they tried.
"""

from __future__ import annotations


def warmup_stable_decay(step: int, progress: float, *, warmup_steps: int = 0, decay: float = 0.4) -> float:
    """The factor on every learning rate for the step that comes after `step` steps, between 0 and 1.

    `progress` is the share of the budget spent so far (0 to 1). The factor rises linearly over `warmup_steps` (the
    first step already moves, the step after the warm-up has factor 1), and falls linearly to zero over the last
    `decay` of the budget: `decay=0` never falls, `decay=1` falls from the start. The smaller of the two wins where
    they meet.
    """
    rise = (step + 1) / (warmup_steps + 1)
    fall = (1 - progress) / decay if decay > 0 else 1.0
    return max(0.0, min(1.0, rise, fall))
