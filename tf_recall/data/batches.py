"""Columns to training batches: shuffled each epoch, gathered by block, resumable at any step."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# Gathered by one call: enough to make the call's own cost vanish, little enough to stay in the cache.
BLOCK_ROWS, BLOCK_BYTES = 65_536, 32 * 2**20


class Batches:
    """Equal-length columns cut into batches; a batch is a pure function of `(seed, step)`.

        epoch, i = divmod(step, steps_per_epoch)
        order = default_rng([seed, epoch]).permutation(num_rows)
        batch = {name: column[order[i * batch_size : (i + 1) * batch_size]]}

    So a run that resumes at a step reads exactly what the uninterrupted one would have read, with no state to save but
    the step. Each epoch has its own order, and every batch is full: the `num_rows % batch_size` rows at the end of
    an epoch's order are left out of that epoch.

    Args:
        columns: A dict, nested as the model wants its batch, of numeric arrays or memory maps `[num_rows, ...]`.
        batch_size: Rows in a batch. At most `num_rows`: a larger one becomes `num_rows`.
        seed: Same seed, same batches.

    Call shapes:
        `at(step)` gives the same nesting of arrays `[batch_size, ...]`; `dataset()` of tensors `[batch_size, ...]`.

    Raises:
        ValueError: Columns that are empty, of unequal length or not numeric, or a `batch_size` below 1.

    Example:
        >>> batches = Batches({"query": {"user": users}, "item": {"item": items}}, batch_size=2048)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=3)

        `fit` restarts a dataset at its first batch: to go on with a model trained for some steps, give it
        `batches.dataset(start=int(model.optimizer.iterations))`.
    """

    def __init__(self, columns: dict[str, Any], batch_size: int, seed: int = 0):
        self._columns = columns
        self._leaves = dict(_leaves(columns))
        self.num_rows = _num_rows(self._leaves)
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        self.batch_size = min(int(batch_size), self.num_rows)
        self.steps_per_epoch = self.num_rows // self.batch_size
        self.seed = seed
        self._epoch_order = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self.steps_per_epoch

    def at(self, step: int) -> dict[str, Any]:
        """The batch of one step, as NumPy arrays `[batch_size, ...]`."""
        if step < 0:
            raise ValueError(f"step is {step}; the first step is 0.")
        leaves = iter(self._gather(step, 1))
        return _fill(self._columns, (leaf[0] for leaf in leaves))

    def dataset(self, start: int = 0) -> "tf.data.Dataset":
        """An endless `tf.data.Dataset` of batches whose first element is the batch of step `start`."""
        import tensorflow as tf

        if start < 0:
            raise ValueError(f"start is {start}; the first step is 0.")
        row_bytes = sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in self._leaves.values())
        rows = min(BLOCK_ROWS, BLOCK_BYTES // max(row_bytes, 1))
        block_steps = min(self.steps_per_epoch, max(1, rows // self.batch_size))
        blocks_per_epoch = -(-self.steps_per_epoch // block_steps)  # A block stays within its epoch.
        dtypes = [leaf.dtype for leaf in self._leaves.values()]

        def gather(block):
            epoch, i = divmod(int(block), blocks_per_epoch)
            first = i * block_steps
            count = min(block_steps, self.steps_per_epoch - first)
            return self._gather(epoch * self.steps_per_epoch + first, count)

        def tensors(block):
            leaves = tf.numpy_function(gather, [block], dtypes)
            for leaf, column in zip(leaves, self._leaves.values(), strict=True):
                leaf.set_shape([None, self.batch_size, *column.shape[1:]])
            return _fill(self._columns, iter(leaves))

        epoch, step = divmod(start, self.steps_per_epoch)
        block, skipped = divmod(step, block_steps)
        blocks = tf.data.Dataset.counter(epoch * blocks_per_epoch + block).map(tensors).prefetch(1)
        return blocks.unbatch().skip(skipped).prefetch(4)

    def _gather(self, step: int, count: int) -> list[np.ndarray]:
        """The leaves of `count` batches of one epoch, each `[count, batch_size, ...]`."""
        epoch, i = divmod(step, self.steps_per_epoch)
        rows = self._order(epoch)[i * self.batch_size : (i + count) * self.batch_size]
        return [leaf[rows].reshape(count, self.batch_size, *leaf.shape[1:]) for leaf in self._leaves.values()]

    def _order(self, epoch: int) -> np.ndarray:
        cached, order = self._epoch_order  # One tuple, replaced whole: a dataset's thread and `at` may both be here.
        if cached != epoch:
            order = np.arange(self.num_rows, dtype=np.int32 if self.num_rows < 2**31 else np.int64)
            np.random.default_rng([self.seed, epoch]).shuffle(order)
            self._epoch_order = (epoch, order)
        return order


def _leaves(columns, path=""):
    for name, column in columns.items():
        if isinstance(column, dict):
            yield from _leaves(column, f"{path}{name}/")
        else:
            yield f"{path}{name}", column if isinstance(column, np.ndarray) else np.asarray(column)


def _fill(columns, leaves):
    """The nesting of `columns` with its leaves, in order, taken from `leaves`."""
    return {
        name: _fill(column, leaves) if isinstance(column, dict) else next(leaves) for name, column in columns.items()
    }


def _num_rows(leaves) -> int:
    if not leaves:
        raise ValueError("There are no columns; give a dict of arrays, such as {'user': users, 'item': items}.")
    for name, leaf in leaves.items():
        if leaf.ndim == 0 or leaf.dtype.kind not in "biuf":
            raise ValueError(
                f"Column {name!r} is of dtype {leaf.dtype} and shape {leaf.shape}; batches are of numbers, with "
                "rows on the first axis. Turn strings into row numbers first, with Vocabulary.encode."
            )
    lengths = {name: len(leaf) for name, leaf in leaves.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns differ in length: {lengths}. Every column needs the same number of rows.")
    num_rows = next(iter(lengths.values()))
    if num_rows == 0:
        raise ValueError(f"The columns {list(leaves)} have no rows; there is nothing to train on.")
    return num_rows
