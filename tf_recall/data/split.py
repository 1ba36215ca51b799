"""The parts of a log: to learn from, to tell when to end, and to measure on."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tf_recall.data.impressions import before
from tf_recall.data.interactions import Interactions


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of one log.

    Attributes:
        train: what models learn from.
        test: what reports measure.
        validation: what early stopping and tuning may use, or None.
        taken: bool `[n]`, which rows of the train side are the validation part; None: it was no
            part of it, but comes from elsewhere.

    Of impressions train keeps what was shown before anything that is held out, and the other parts
    nothing.

    Raises:
        ValueError: impressions without timestamps.
    """

    train: Interactions
    test: Interactions
    validation: Interactions | None = None
    taken: np.ndarray | None = None
    shown: pd.DataFrame | None = field(default=None, repr=False)  # the impressions, all of them

    def __post_init__(self):
        size = len(self.train) + len(self.validation or ())
        if self.taken is not None and len(self.taken) != size:
            object.__setattr__(self, "taken", None)  # the parts are others than those it tells of
        if self.train.impressions is None:
            return
        if self.shown is None:
            object.__setattr__(self, "shown", self.train.impressions)
        held = [each for each in (self.test, self.validation) if each is not None]
        frames = [each.frame for each in held]
        shown = before(self.train.impressions, self.train.frame, frames)
        for name in ("test", "validation"):
            part = getattr(self, name)
            if part is not None:
                object.__setattr__(self, name, replace(part, impressions=None))
        object.__setattr__(self, "train", replace(self.train, impressions=shown))

    @property
    def lacking(self) -> list[str]:
        """The columns of the training part that the validation part lacks."""
        return [name for name in self.train.frame if name not in self.validation.frame]

    def together(self) -> "Split":
        """The split whose training part is the training and the validation part.

        Raises:
            ValueError: the validation part lacks columns, or is none.

        Example:
            >>> len(split.together().train) == len(split.train) + len(split.validation)
            True
        """
        if self.validation is None or self.lacking:
            lacking = "there is none" if self.validation is None else f"it lacks {self.lacking}"
            raise ValueError(f"training needs a whole validation part to learn it too: {lacking}")
        both = self.train.interleaved(self.validation, self.taken)
        return Split(replace(both, impressions=self.shown), self.test)
