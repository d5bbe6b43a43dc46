"""What changes over a run: the learning rate, and how far the loss lifts small classes."""

import math

WARM_UP_SHARE = 0.05
FINAL_SHARE = 0.01
BALANCED_SHARE, BALANCED_STEPS = 0.9, 1000
"""The loss counts all pixels alike after this share of a run, and after so many steps at the latest."""


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Learning rate of a step: a linear warm-up, then half a cosine down to a hundredth.

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


def class_balance(step: int, steps: int) -> float:
    """How far the cross-entropy of a step lifts small classes: all the way at first, in a line down to 0.

    Args:
        step: 0..steps-1.
        steps: steps of the whole run.
    """
    return max(0.0, 1 - step / min(BALANCED_SHARE * steps, BALANCED_STEPS))
