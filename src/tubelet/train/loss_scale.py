"""Scaling the loss for float16, whose smallest numbers are larger than many gradients.

As in "Mixed precision training" (Micikevicius et al. 2018) and ``torch.amp.GradScaler``: the gradient is that of the
loss times a scale; when it overflows, the step moves no weight and the scale is halved, and after many steps without
that it is doubled. The state is two numbers in the run's counts, so a checkpoint has it and all ranks agree on it:
whether a gradient fits is judged on its norm over all parameters, also where each rank holds a part of them.
"""

from collections.abc import MutableMapping

SCALE, STEADY, SKIPPED = "loss_scale_log2", "steps_since_overflow", "steps_without_update"
FIRST_LOG2 = 16
DOUBLED_AFTER = 2000
LEAST_LOG2 = 0


def loss_scale(counts: MutableMapping[str, int]) -> float:
    """Return what the loss is multiplied by: a power of two; at 1 a gradient that does not fit is an error."""
    return 2.0 ** counts.setdefault(SCALE, FIRST_LOG2)


def adapt_scale(counts: MutableMapping[str, int], *, fits: bool) -> None:
    """Note whether a step's gradient was finite; a step where it was not is counted as one without an update."""
    if not fits:
        counts[SCALE] = max(LEAST_LOG2, counts[SCALE] - 1)
        counts[STEADY] = 0
        counts[SKIPPED] = counts.get(SKIPPED, 0) + 1
        return
    counts[STEADY] = counts.get(STEADY, 0) + 1
    if counts[STEADY] == DOUBLED_AFTER:
        counts[SCALE] += 1
        counts[STEADY] = 0
