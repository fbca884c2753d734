"""Scaling the loss for float16, whose smallest numbers are larger than many gradients.

As in "Mixed precision training" (Micikevicius et al. 2018) and ``torch.amp.GradScaler``: the gradient is that of the
loss times a scale; when it overflows, the step moves no weight and the scale is halved, and after many steps without
that it is doubled. It is part of the run's state, so a checkpoint has it, and all ranks agree on it: whether a gradient
fits is judged on its norm over all parameters, also where each rank holds a part of them.
"""

from dataclasses import dataclass

DOUBLED_AFTER = 2000


@dataclass(kw_only=True, slots=True)
class LossScale:
    """A scale that changes as the run goes."""

    log2: int = 16
    """Its logarithm, 0 or above."""
    steps_since_overflow: int = 0
    """Or since it was doubled."""
    steps_without_update: int = 0
    """Of the whole run: those whose gradient overflowed."""

    @property
    def factor(self) -> float:
        """What the loss is multiplied by: a power of two; at 1 a gradient that does not fit is an error."""
        return 2.0**self.log2

    def adapt(self, *, fits: bool) -> None:
        """Note whether a step's gradient was finite; a step where it was not is counted as one without an update."""
        if not fits:
            self.log2 = max(0, self.log2 - 1)
            self.steps_since_overflow = 0
            self.steps_without_update += 1
            return
        self.steps_since_overflow += 1
        if self.steps_since_overflow == DOUBLED_AFTER:
            self.log2 += 1
            self.steps_since_overflow = 0
