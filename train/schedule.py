"""The learning-rate schedule."""

import math


def learning_rate(step: int, steps: int, highest: float, warmup: float) -> float:
    """Learning rate of one step: linear warmup, then a cosine decay to near 0.

    Args:
        step: number of the step, from 0.
        steps: of the whole run.
        highest: rate at the end of the warmup.
        warmup: length of the warmup as a share of all steps.

    Example:
        >>> [round(learning_rate(step, 5, 1.0, 0.2), 2) for step in range(5)]
        [1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = max(1, round(steps * warmup))
    if step < rising:
        return highest * (step + 1) / rising
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
