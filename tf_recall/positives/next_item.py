"""The items that a user interacted with before an event, against the event's item."""

import keras
import numpy as np

from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom0, WholeFrom1
from tf_recall.positives.user_item import UserItem, pasts


@keras.saving.register_keras_serializable("tf_recall")
class NextItem(UserItem):
    """The item that follows a user's history (METHODS.md P6).

    row = (the last items before an event, the event's item)

    The history is cut strictly before the event: neither later events, nor events of the very same
    time, nor the event's own item are in it. Without timestamps lines are in order of time. The
    query tower sets the history's length.

    Args:
        alpha, where: as `UserItem`.
        per_user: how many examples of each user an epoch has, in the mean, so that very active
            users do not dominate; a user with fewer events has all of them. None: every event.
        min_history: how many earlier events of the user an event needs to be an example.

    Raises:
        ValueError: an argument out of range; at `batches`, as `UserItem`, or no user has so many
            events.

    Example:
        >>> model = YouTubeDNN(dim=32, positives=NextItem(per_user=50))

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.4.
    """

    def __init__(
        self,
        alpha: NumberAbove0 | None = None,
        where: Column | None = None,
        per_user: WholeFrom1 | None = None,
        min_history: WholeFrom0 = 1,
    ) -> None:
        super().__init__(alpha, where)
        if per_user is not None and not per_user > 0:
            raise ValueError(f"per_user must be a number above 0, or None, not {per_user!r}")
        if min_history < 0:
            raise ValueError(f"min_history must be at least 0, not {min_history}")
        self.per_user = per_user
        self.min_history = min_history

    def _pasts(self, train, catalog):
        return pasts(train, catalog)

    def _chosen(self, train, catalog):
        lines, keep = super()._chosen(train, catalog)
        lines = np.arange(len(train)) if lines is None else lines
        _, past = pasts(train, catalog)
        enough = (past["cut"] - past["begin"])[lines] >= self.min_history
        lines = lines[enough]
        keep = None if keep is None else keep[enough]
        if not len(lines):
            raise ValueError(
                f"no user has {self.min_history} events before another one: there is no example to "
                "learn from"
            )
        if self.per_user is None:
            return lines, keep
        users = train.rows("user", catalog.users)[lines]
        rate = self.per_user / np.bincount(users)[users]
        # slightly more, so that rounding does not cost the epoch a row
        rate = np.minimum(1, rate * (1 + 1e-6)).astype(np.float32)
        return lines, rate if keep is None else keep * rate

    def get_config(self) -> dict:
        own = {"per_user": self.per_user, "min_history": self.min_history}
        return {**super().get_config(), **own}
