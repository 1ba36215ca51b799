"""A random half of what a user did, against the other half."""

import keras
import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import WholeTo1000
from tf_recall.data.stepwise import StepBatches
from tf_recall.features.needs import Needs
from tf_recall.positives.base import Positives
from tf_recall.positives.windows import check_whole


@keras.saving.register_keras_serializable("tf_recall")
class UserHalves(Positives):
    """A random half of a user's history against the other half (METHODS.md P3).

    row = (half of the user's distinct items, the rest of them), drawn anew in each step

    Each half is in order of time. So that both fit the tower's history length, halves are dealt
    from twice as many items, the latest. No item is in both halves: by it alone they would be found
    together. Users of a single item have no pair.

    Args:
        per_user: how many rows of each user an epoch has, each with halves of its own.

    Raises:
        ValueError: an argument out of range; at `batches`, no user has two items, or rows must
            bring context or negatives of their own, which halves do not have.

    Example:
        >>> model = Siamese(dim=32, positives=UserHalves(per_user=20))
    """

    item = "user"
    gives_history = True

    tunable = {"per_user": [1, 50, "log"]}

    def __init__(self, per_user: WholeTo1000 = 10) -> None:
        check_whole(per_user=per_user)
        self.per_user = per_user

    def counts(self, train: Interactions, catalog: Catalog) -> dict[str, np.ndarray]:
        counts = np.zeros(catalog.users.size, np.int64)
        counts[_users(train, catalog, _histories(train, catalog))] = self.per_user
        return {"user": counts}

    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> StepBatches:
        if needs.context or needs.negatives:
            what = needs.context[0].name if needs.context else "the column 'negatives'"
            raise ValueError(f"half a history is no event, and has no {what}: leave it out")
        histories = _histories(train, catalog)
        users = _users(train, catalog, histories)
        if not len(users):
            raise ValueError("There is no pair to train on: no user has two items that differ.")

        def draw(part, rng):
            rows = part["user"]
            begin, end = histories.offsets[rows], histories.offsets[rows + 1]
            latest = histories.before(begin, end, 2 * needs.history)
            one, other = halves(latest, needs.history, rng)
            return {
                "query": {"user": rows, "history": one},
                "item": {"user": rows, "history": other},
            }

        return StepBatches({"user": np.tile(users, self.per_user)}, draw, batch_size, seed)

    def get_config(self) -> dict:
        return {"per_user": self.per_user}


def halves(
    items: np.ndarray, length: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Deals each line's distinct items out to two halves, in their order.

    Of an item that is there several times the last one counts; an odd item goes to either half.

    Args:
        items: `[B, 2 * length]` item rows, 0 for none.
        length: of a half.
        rng: draws the halves.

    Returns:
        Two arrays `[B, length]` int32, padded in front with 0.
    """
    order = np.argsort(items, axis=1, kind="stable")
    by_item = np.take_along_axis(items, order, axis=1)
    latest = np.diff(by_item, axis=1, append=-1) != 0
    kept = np.zeros(items.shape, bool)
    np.put_along_axis(kept, order, latest & (by_item > 0), axis=1)
    drawn = np.where(kept, rng.random(items.shape), np.inf)
    rank = np.argsort(np.argsort(drawn, axis=1), axis=1)
    size = (kept.sum(axis=1) + rng.integers(0, 2, len(items))) // 2  # [B]
    first = kept & (rank < size[:, None])
    return _closed(items, first, length), _closed(items, kept & ~first, length)


def _closed(items, kept, length):
    """The items that are kept, gaps closed, at the end of `[B, length]`."""
    order = np.argsort(kept, axis=1, kind="stable")[:, -length:]
    closed = np.take_along_axis(np.where(kept, items, 0), order, axis=1)
    return closed.astype(np.int32)


def _histories(train, catalog):
    users, items = train.rows("user", catalog.users), train.rows("item", catalog.items)
    return Histories.fit(users, items, train.times, catalog.users.size)


def _users(train, catalog, histories):
    """The rows of users of two items or more, who have an event that is learned."""
    users = np.flatnonzero(np.diff(histories.seen().offsets) > 1).astype(np.int32)
    if train.learned is None:
        return users
    return np.intersect1d(users, catalog.users.encode(train.to_learn.frame["user_id"]))
