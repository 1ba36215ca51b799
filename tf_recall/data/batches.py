"""Training batches of columns: shuffled in each epoch, and resumable at any step."""

import logging
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger("tf_recall")

# What one call gathers: enough that the call itself costs little, and few enough bytes for the
# processor's cache.
BLOCK_ROWS = 65_536
BLOCK_BYTES = 32 * 2**20
POOL_ROWS = 2**20  # the rows that are shuffled together where rows are read in runs


class Batches:
    """Cuts columns of one length into batches, each a pure function of `(seed, step)`.

        epoch, i = divmod(step, steps_per_epoch)
        order = the rows shuffled by (seed, epoch)
        batch = {name: column[order[i * batch_size : (i + 1) * batch_size]]}

    So training that resumes at a step reads exactly what it would have read without the
    interruption, and no state but the step is saved. Each epoch has its own order, and every batch
    is full: an epoch leaves out the last rows of its order, fewer than a batch.

    Columns may be memory maps. While they fit the page cache, one shuffle over all rows costs
    little. Beyond that every row would be a random read from the disk, and the order itself grows
    with the rows. For such columns use `run=1024`: rows are then read in runs of 1024 neighboring
    rows, in random order, and shuffled with those of a thousand other runs.

    Args:
        columns: a dict of numeric arrays or memory maps `[num_rows, ...]`, nested as the model's
            batches are.
        batch_size: rows in a batch. A number above those of an epoch becomes theirs, and a warning
            is logged.
        seed: same seed, same batches.
        run: how many neighboring rows are read together: 1 in memory, some hundreds for columns
            larger than memory.
        keep: `[num_rows]`, the probability of each row to be in an epoch; None: every row is in
            every epoch. An epoch then has `floor(sum(keep))` rows, drawn anew. Needs `run=1`.

    Call:
        `at(step)`: the same nesting of arrays `[batch_size, ...]`; `dataset()`: of tensors
        `[batch_size, ...]`.

    Raises:
        ValueError: columns that are empty, of different lengths or not numeric, or a `batch_size`,
            `run` or `keep` out of range.

    Example:
        >>> columns = {"query": {"user": user_rows}, "item": {"item": item_rows}}
        >>> batches = Batches(columns, batch_size=2048)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=3)

        `fit` starts every dataset at its first batch. To go on training a model:

        >>> rest = batches.dataset(start=int(model.step.numpy()))
    """

    def __init__(
        self,
        columns: dict[str, Any],
        batch_size: int,
        seed: int = 0,
        run: int = 1,
        keep: np.ndarray | None = None,
    ):
        self._columns = columns
        self._leaves = dict(_leaves(columns))
        self.num_rows = _num_rows(self._leaves)
        check_batch_size(batch_size)
        if not 1 <= run <= self.num_rows:
            raise ValueError(
                f"run is {run}; it must lie between 1 and the number of rows, {self.num_rows}."
            )
        if keep is not None:
            keep = checked_keep(keep, self.num_rows, run)
        self.seed = seed
        self._order = _Order(self.num_rows, seed, run, keep)
        self.batch_size = at_most(batch_size, self._order.num_rows)
        self.steps_per_epoch = self._order.num_rows // self.batch_size

    def __len__(self) -> int:
        return self.steps_per_epoch

    def at(self, step: int) -> dict[str, Any]:
        """The batch of a step, as NumPy arrays `[batch_size, ...]`."""
        if step < 0:
            raise ValueError(f"step is {step}; the first step is 0.")
        leaves = iter(self._gather(step, 1))
        return _fill(self._columns, (leaf[0] for leaf in leaves))

    def dataset(self, start: int = 0) -> "tf.data.Dataset":
        """An endless `tf.data.Dataset` of the batches from step `start` on."""
        import tensorflow as tf

        if start < 0:
            raise ValueError(f"start is {start}; the first step is 0.")
        row_bytes = sum(
            leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in self._leaves.values()
        )
        rows = min(BLOCK_ROWS, BLOCK_BYTES // max(row_bytes, 1))
        block_steps = min(self.steps_per_epoch, max(1, rows // self.batch_size))
        # no block spans two epochs
        blocks_per_epoch = -(-self.steps_per_epoch // block_steps)
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
        options = tf.data.Options()
        # there is nothing to tune, and the tuning thread holds up the end of `fit` for seconds
        options.autotune.enabled = False
        batches = blocks.unbatch().skip(skipped).prefetch(4).with_options(options)
        return batches.repeat()  # known to have no end: `fit` then asks for `steps_per_epoch`

    def _gather(self, step: int, count: int) -> list[np.ndarray]:
        """The leaves of `count` batches of one epoch, each `[count, batch_size, ...]`."""
        epoch, i = divmod(step, self.steps_per_epoch)
        rows = self._order.rows(epoch, i * self.batch_size, (i + count) * self.batch_size)
        return [
            leaf[rows].reshape(count, self.batch_size, *leaf.shape[1:])
            for leaf in self._leaves.values()
        ]


class _Order:
    """The order of the rows in each epoch, computed pool by pool.

        slot = pool * POOL_ROWS + (slots of the pool shuffled by (seed, epoch, pool))[i % POOL_ROWS]
        row  = (shuffled runs[slot // run] * run + slot % run + shift) % all_rows

    The runs start at another row in each epoch, so that other rows are neighbors, and the
    `all_rows % run` rows that are left out are others. For runs of one row the first shuffle is
    enough, and there are no pools.

    Where rows have a probability `keep`, an epoch has those of the shuffled rows that `thinned`
    leaves.
    """

    def __init__(self, all_rows: int, seed: int, run: int, keep=None):
        if keep is None:
            self.num_rows = all_rows - all_rows % run
        else:
            self.num_rows = num_kept(keep)
        self._all_rows = all_rows
        self._seed = seed
        self._run = run
        self._keep = keep
        self._pool_rows = max(1, POOL_ROWS // run) * run
        # The latest epoch's runs and pool's slots as (key, value), replaced as a whole: several
        # threads may use them.
        self._runs = (None, None)
        self._slots = (None, None)

    def rows(self, epoch: int, first: int, last: int) -> np.ndarray:
        runs = self._shuffled_runs(epoch)
        if self._run == 1:
            return runs[first:last]
        pools = range(first // self._pool_rows, -(-last // self._pool_rows))
        slots = np.concatenate([self._shuffled_slots(epoch, pool) for pool in pools])
        slots = slots[first - pools.start * self._pool_rows :][: last - first]
        shift = np.random.default_rng([self._seed, epoch, 0]).integers(self._all_rows)
        return (runs[slots // self._run] * self._run + slots % self._run + shift) % self._all_rows

    def _shuffled_runs(self, epoch: int) -> np.ndarray:
        key, runs = self._runs
        if key != epoch:
            num_runs = self._all_rows // self._run
            dtype = np.int32 if self._run == 1 and num_runs < 2**31 else np.int64
            runs = np.arange(num_runs, dtype=dtype)
            random = np.random.default_rng([self._seed, epoch])
            random.shuffle(runs)
            if self._keep is not None:
                runs = thinned(runs, self._keep, self.num_rows, random)
            self._runs = (epoch, runs)
        return runs

    def _shuffled_slots(self, epoch: int, pool: int) -> np.ndarray:
        key, slots = self._slots
        if key != (epoch, pool):
            start = pool * self._pool_rows
            slots = np.arange(start, min(start + self._pool_rows, self.num_rows))
            np.random.default_rng([self._seed, epoch, 1 + pool]).shuffle(slots)
            self._slots = ((epoch, pool), slots)
        return slots


def check_batch_size(batch_size: int) -> None:
    """Raises a ValueError where a number of rows is not a whole number, 1 or more."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; it must be a whole number, 1 or more.")


def at_most(batch_size: int, num_rows: int, unit: str = "rows") -> int:
    """The size of a batch where an epoch has `num_rows`; a warning says where it is less."""
    if batch_size > num_rows:
        logger.warning(
            "an epoch has %d %s, fewer than the %d of a batch: an epoch is one step",
            num_rows,
            unit,
            batch_size,
        )
    return min(int(batch_size), num_rows)


def num_kept(keep: np.ndarray) -> int:
    """How many rows of probabilities `keep` an epoch has."""
    return int(keep.sum(dtype=np.float64) * (1 + 1e-12))


def thinned(
    rows: np.ndarray, keep: np.ndarray, num: int, random: np.random.Generator
) -> np.ndarray:
    """Those rows at which the running sum of their probabilities passes a whole number.

    The sum starts at random below 1: each row stays with its probability, and always `num` do.

    Args:
        rows: `[n]`, in the order of an epoch.
        keep: the probability of each row, by number.
        num: `num_kept(keep)`.
        random: of the start.
    """
    total = np.cumsum(keep[rows], dtype=np.float64)
    total *= num / total[-1]  # leaves out what is less than a row
    passed = np.floor(total + random.uniform(1e-9, 1 - 1e-9))
    return rows[np.diff(passed, prepend=0) > 0]


def checked_keep(keep: np.ndarray, num_rows: int, run: int = 1) -> np.ndarray:
    """The rows' probabilities to be in an epoch, as float32.

    Raises:
        ValueError: they are no probabilities, not one of each row, leave less than a row, or rows
            are read in runs.
    """
    keep = np.asarray(keep, np.float32)
    if keep.shape != (num_rows,) or not ((keep >= 0) & (keep <= 1)).all():
        raise ValueError(
            f"keep must hold a probability between 0 and 1 for each of the {num_rows} rows; got "
            f"{keep.shape}."
        )
    if run > 1:
        raise ValueError(f"keep needs rows shuffled one by one: leave out run={run}.")
    if keep.sum(dtype=np.float64) < 1:
        raise ValueError("keep leaves less than one row an epoch; there is nothing to train on.")
    return keep


def _leaves(columns, path=""):
    for name, column in columns.items():
        if isinstance(column, dict):
            yield from _leaves(column, f"{path}{name}/")
        else:
            yield f"{path}{name}", column if isinstance(column, np.ndarray) else np.asarray(column)


def _fill(columns, leaves):
    """The nesting of `columns` with `leaves` in the order of its own."""
    return {
        name: _fill(column, leaves) if isinstance(column, dict) else next(leaves)
        for name, column in columns.items()
    }


def _num_rows(leaves) -> int:
    if not leaves:
        raise ValueError(
            "There are no columns; give a dict of arrays, such as {'user': users, 'item': items}."
        )
    for name, leaf in leaves.items():
        if leaf.ndim == 0 or leaf.dtype.kind not in "biuf":
            raise ValueError(
                f"Column {name!r} is of dtype {leaf.dtype} and shape {leaf.shape}; batches are of "
                "numbers, with rows on the first axis. Turn strings into row numbers first, with "
                "Vocabulary.encode."
            )
    lengths = {name: len(leaf) for name, leaf in leaves.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"The columns differ in length: {lengths}. Every column needs the same number of rows."
        )
    num_rows = next(iter(lengths.values()))
    if num_rows == 0:
        raise ValueError(f"The columns {list(leaves)} have no rows; there is nothing to train on.")
    return num_rows
