"""Learning rate over a run: a linear warm-up, then half a cosine down to a hundredth."""

import math

WARM_UP_SHARE = 0.05
FINAL_SHARE = 0.01


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Learning rate of a step.

    Args:
        step: 0..steps-1.
        steps: steps of the whole run.
        highest: rate at the end of the warm-up.
    """
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return highest * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up - 1)
    return highest * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress)))
