"""Whole histories, of which every place predicts what comes next, packed side by side in rows."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tf_recall.data.batches import at_most, check_batch_size, checked_keep, num_kept, thinned
from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions
from tf_recall.data.packing import packed
from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom0, WholeFrom1
from tf_recall.data.stepwise import stepwise
from tf_recall.features.needs import Needs
from tf_recall.positives.next_item import NextItem
from tf_recall.positives.user_item import select

if TYPE_CHECKING:
    import tensorflow as tf

ROWS = 4  # a batch has a multiple of so many rows: XLA compiles each number of them once


@keras.saving.register_keras_serializable("tf_recall")
class Sequences(NextItem):
    """A user's whole history, of which every place predicts what comes next (METHODS.md P7).

    target j of a user is predicted at the place of the last event before it in time

    Every event is a target once an epoch. Its query is what the tower has read up to the event
    before: strictly before it in time, as in `NextItem`, so that events of the very same time, such
    as the lines of an invoice, are all targets of the event before them and see nothing of one
    another. A user's first events are predicted from an empty history.

    The histories of a batch stand side by side in rows as wide as the tower's `length` at most, so
    that short ones do not pay for long ones. One that is longer is cut into pieces that overlap by
    half: a target has at least half the length before it, or all there is.

    `batch_size` counts targets, as for every positive; two batches may share a history whose
    targets lie in both. The targets of a batch are of few users, so that `InBatch` would draw what
    the same user liked: `Popularity(power=1)` draws as often from all.

    Args:
        alpha, where, per_user, min_history: as `NextItem`: which events are targets. All are part
            of histories.

    Raises:
        ValueError: as `NextItem`.

    Example:
        >>> model = SASRec(dim=16, positives=Sequences()).adapt(split.train, catalog)
        >>> batch = model.batches(split.train, catalog, batch_size=256).at(0)
        >>> batch["item"]["item"].shape, batch["query"]["at"].shape
        ((256,), (256,))

    Paper: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", section III.
    """

    def __init__(
        self,
        alpha: NumberAbove0 | None = None,
        where: Column | None = None,
        per_user: WholeFrom1 | None = None,
        min_history: WholeFrom0 = 0,
    ) -> None:
        super().__init__(alpha, where, per_user, min_history)

    @classmethod
    def unfit(cls, needs: Needs, item: str, windows: bool, graph: bool) -> str | None:
        why = super().unfit(needs, item, windows, graph)
        if why is None and not needs.packed:
            return f"its query tower reads one history a row, and {cls.__name__} packs several"
        return why

    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> "SequenceBatches":
        columns, keep, histories = self._learnable(train, catalog, needs)
        del columns["query"]  # who they are is what they did
        return SequenceBatches(columns, histories, needs.history, batch_size, seed, keep)


class SequenceBatches:
    """Batches of targets with their histories packed in rows, each a function of the seed and step.

    Args:
        columns: `{"past": {"begin": [n], "cut": [n]}, ...}`: where each target's past lies in the
            histories, and further columns `[n, ...]` of targets, nested by name.
        histories: the `Histories`.
        length: how long a piece of a history is at most.
        batch_size, seed, keep: as for `Batches`; `batch_size` counts targets.

    Batches:
        `{"query": {"history": [R, W], "place": [R, W], "at": [T]}, ...}` int32, and the columns of
        targets `[T, ...]`. `place` counts within a history from 0, and is 0 where a row has
        nothing; `at` is the place in the flattened rows after which a target comes, R * W where it
        has nothing before it. R varies by step.
    """

    def __init__(
        self,
        columns: dict[str, Any],
        histories: Histories,
        length: int,
        batch_size: int,
        seed: int = 0,
        keep: np.ndarray | None = None,
    ) -> None:
        check_batch_size(batch_size)
        past = columns["past"]
        start = piece_starts(past["begin"], past["cut"], length)
        order = np.lexsort((past["cut"], start))
        self._start = start[order]  # of a target's piece
        self._length = (past["cut"][order] - self._start).astype(np.int32)  # up to the target
        others = {name: column for name, column in columns.items() if name != "past"}
        self._columns = select(others, order)
        self._first = np.flatnonzero(np.diff(self._start, prepend=-1))  # target of each piece
        self._items = histories.items
        self._width = int(self._length.max())
        self._keep = None if keep is None else checked_keep(keep, len(order))[order]
        num_targets = len(order) if keep is None else num_kept(self._keep)
        self.seed = seed
        self.batch_size = at_most(batch_size, num_targets, "targets")
        self.steps_per_epoch = num_targets // self.batch_size
        # the latest epoch's order as (epoch, targets), replaced as a whole: threads may share it
        self._order = (None, None)

    def __len__(self) -> int:
        return self.steps_per_epoch

    def at(self, step: int) -> dict[str, Any]:
        """The batch of a step, as NumPy arrays."""
        if step < 0:
            raise ValueError(f"step is {step}; the first step is 0.")
        epoch, i = divmod(step, self.steps_per_epoch)
        targets = self._targets(epoch)[i * self.batch_size : (i + 1) * self.batch_size]
        return {"query": self._packed(targets), **select(self._columns, targets)}

    def dataset(self, start: int = 0) -> "tf.data.Dataset":
        """An endless dataset of batches whose first element is the batch of step `start`."""
        return stepwise(self.at, start, free=("query",))

    def _targets(self, epoch):
        """The targets of an epoch: its pieces in random order, each one's targets in their own."""
        key, targets = self._order
        if key != epoch:
            random = np.random.default_rng([self.seed, epoch])
            pieces = random.permutation(len(self._first))
            counts = np.diff(self._first, append=len(self._start))[pieces]
            shift = self._first[pieces] - np.cumsum(counts) + counts
            targets = np.arange(len(self._start)) + np.repeat(shift, counts)
            if self._keep is not None:
                targets = thinned(targets, self._keep, num_kept(self._keep), random)
            self._order = (epoch, targets)
        return targets

    def _packed(self, targets):
        """The histories of targets, those of one piece beside one another, side by side in rows."""
        start, before = self._start[targets], self._length[targets]
        last = np.flatnonzero(np.diff(start, append=-1))  # target of each piece
        piece = np.cumsum(np.diff(start, prepend=start[0]) != 0)  # of each target
        lengths = before[last]
        some = lengths > 0
        row, begin = packed(lengths[some], self._width)
        num_rows = -(-(int(row.max(initial=0)) + 1) // ROWS) * ROWS
        begins = np.zeros(len(last), np.int64)
        begins[some] = row * self._width + begin
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(begins, lengths) + within
        history = np.zeros(num_rows * self._width, np.int32)
        history[places] = self._items[np.repeat(start[last], lengths) + within]
        place = np.zeros(num_rows * self._width, np.int32)
        place[places] = within
        at = np.where(before > 0, begins[piece] + before - 1, len(history))
        return {
            "history": history.reshape(num_rows, self._width),
            "place": place.reshape(num_rows, self._width),
            "at": at.astype(np.int32),
        }


def piece_starts(begin: np.ndarray, cut: np.ndarray, length: int) -> np.ndarray:
    """Where the pieces begin in which targets have their pasts: `[n]`.

    Pieces of a history begin every half length. A target belongs to the first that reaches it.

    Args:
        begin, cut: `[n]`, where the targets' pasts begin and end.
        length: how long a piece is at most.

    Example:
        >>> piece_starts(np.zeros(4, int), np.array([0, 4, 5, 7]), length=4).tolist()
        [0, 0, 2, 4]
    """
    stride = -(-length // 2)
    beyond = np.maximum(cut - begin - length, 0)
    return begin + -(-beyond // stride) * stride
