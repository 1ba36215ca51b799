"""Training batches of centers and contexts, made from sequences of items block by block."""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_recall.data.batches import at_most, check_batch_size

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger("tf_recall")

BLOCK_EVENTS = 2**17  # read at a time; their segments are shuffled together
# centers in a segment: many enough that the positions beside them cost little
SIZE = 32
DRY_BLOCKS = 8  # how many are expanded to estimate the segments of an epoch


@dataclass(frozen=True, eq=False)
class Block:
    """Some whole sequences of an epoch, `items[offsets[s]:offsets[s + 1]]` each.

    Args:
        items: `[n]` int32.
        offsets: `[s + 1]`.
        share: its share of an epoch; the shares of an epoch's blocks add up to 1.
        conversion: `[s]` int32, the item that each sequence led to, 0 for none; or None.
    """

    items: np.ndarray
    offsets: np.ndarray
    share: float
    conversion: np.ndarray | None = None


class Stream:
    """Batches of centers and contexts, made as they are read, by seed and step alone.

        epoch, i = divmod(step, steps_per_epoch)
        rows = those of the blocks drawn by (seed, epoch, 0),
            then, if there are too few, by (seed, epoch, 1), ...
        batch = rows[i * num_rows : (i + 1) * num_rows],  num_rows = batch_size / SIZE

    A row is a segment of `SIZE` centers. A stream has the interface of `Batches`. The number of
    rows of an epoch is random, so `steps_per_epoch` is extrapolated from the first blocks of epoch
    0; where these are all its blocks, it is exact. An epoch with more rows is cut, one with fewer
    goes on with another draw of the same sequences. A start at the beginning of an epoch costs
    nothing; for a start within one, the blocks before are made again.

    Args:
        blocks: from a `numpy.random.Generator` to an epoch's `Block`s.
        expand: from a `Block` and the generator to its rows in random order, in parts, each as
            `windows.segments` returns it.
        batch_size: centers in a batch, rounded down to whole segments, at least one and at most an
            epoch's; a warning says where it is another number.
        seed: same seed, same batches.

    Batches:
        `{"item": [G, SIZE + 2 * window], "left": [G, SIZE], "right": [G, SIZE]}`, and
        `"conversion": [G, SIZE]`, int32.

    Raises:
        ValueError: no sequence has two different items, or `batch_size` is out of range.
    """

    def __init__(
        self,
        blocks: Callable[[np.random.Generator], Iterator[Block]],
        expand: Callable[[Block, np.random.Generator], Iterator[dict[str, np.ndarray]]],
        batch_size: int,
        seed: int = 0,
    ) -> None:
        check_batch_size(batch_size)
        self._blocks = blocks
        self._expand = expand
        self.seed = seed
        self.num_events, num_rows, self._empty = self._dry_run()
        if batch_size < SIZE:
            logger.warning(
                "a batch has %d centers, a segment, not the %d of batch_size", SIZE, batch_size
            )
        self._rows = at_most(max(1, int(batch_size) // SIZE), num_rows, "segments")  # in a batch
        self.batch_size = self._rows * SIZE
        self.steps_per_epoch = num_rows // self._rows

    def __len__(self) -> int:
        return self.steps_per_epoch

    def at(self, step: int) -> dict[str, Any]:
        """The batch of one step, as NumPy arrays."""
        if step < 0:
            raise ValueError(f"step is {step}; the first step is 0.")
        epoch, i = divmod(step, self.steps_per_epoch)
        for chunk in self._chunks(epoch):
            if i < len(chunk["item"]):
                return {name: column[i] for name, column in chunk.items()}
            i -= len(chunk["item"])

    def dataset(self, start: int = 0) -> "tf.data.Dataset":
        """An endless `tf.data.Dataset` of batches that begins with the batch of step `start`."""
        import tensorflow as tf

        if start < 0:
            raise ValueError(f"start is {start}; the first step is 0.")
        epoch, skipped = divmod(start, self.steps_per_epoch)
        specs = {
            name: tf.TensorSpec([None, self._rows, *column.shape[1:]], column.dtype)
            for name, column in self._empty.items()
        }

        def chunks():
            return itertools.chain.from_iterable(map(self._chunks, itertools.count(epoch)))

        dataset = tf.data.Dataset.from_generator(chunks, output_signature=specs)
        batches = dataset.prefetch(1).unbatch()
        options = tf.data.Options()
        # there is nothing to tune, and its thread delays the end of `fit` by seconds
        options.autotune.enabled = False
        batches = batches.skip(skipped).prefetch(4).with_options(options)
        return batches.repeat()  # known to have no end: `fit` then asks for `steps_per_epoch`

    def _dry_run(self):
        """Events and rows of an epoch, by its first blocks, and columns without rows."""
        rng = np.random.default_rng([self.seed, 0, 0])
        share = 0.0
        num_events = num_rows = 0
        empty = None
        for i, block in enumerate(self._blocks(rng)):
            if i >= DRY_BLOCKS and num_rows:
                break
            share += block.share
            num_events += len(block.items)
            for part in self._expand(block, rng):
                num_rows += len(part["item"])
                empty = {name: column[:0] for name, column in part.items()}
        else:
            share = 1.0
        if not num_rows:
            raise ValueError(
                "There is no pair to train on: no session or walk has two different items, or "
                "alpha leaves none over."
            )
        return round(num_events / share), max(1, round(num_rows / share)), empty

    def _parts(self, epoch):
        for again in itertools.count():
            rng = np.random.default_rng([self.seed, epoch, again])
            for block in self._blocks(rng):
                yield from self._expand(block, rng)

    def _chunks(self, epoch):
        """An epoch's batches, as many at a time as a block gives: columns `[count, G, ...]`."""
        remainder = self._empty
        missing = self.steps_per_epoch
        for part in self._parts(epoch):
            rows = {name: np.concatenate([remainder[name], part[name]]) for name in part}
            count = min(len(rows["item"]) // self._rows, missing)
            num = count * self._rows
            if count:
                yield {
                    name: column[:num].reshape(count, self._rows, *column.shape[1:])
                    for name, column in rows.items()
                }
            remainder = {name: column[num:] for name, column in rows.items()}
            missing -= count
            if not missing:
                return
