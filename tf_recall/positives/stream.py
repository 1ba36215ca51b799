"""Sequences of items to training batches of centers and contexts, block by block."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

BLOCK_EVENTS = 2**17  # read at a time; their segments are shuffled together
# centers in a segment: enough to make the places beside them cheap, few enough for a small product
SIZE = 32
DRY_BLOCKS = 8  # how many are expanded to see how many segments an epoch has


@dataclass(frozen=True, eq=False)
class Block:
    """Some whole sequences of an epoch, `items[offsets[s]:offsets[s + 1]]` each.

    Args:
        items: `[n]` int32.
        offsets: `[s + 1]`.
        share: which part of an epoch's work it is: those of an epoch add up to 1.
        conversion: `[s]` int32, or None.
    """

    items: np.ndarray
    offsets: np.ndarray
    share: float
    conversion: np.ndarray | None = None


class Stream:
    """Batches of centers and contexts, made as they are read; a batch is a pure function of
    `(seed, step)`.

        epoch, i = divmod(step, steps_per_epoch)
        rows = those of the blocks drawn by (seed, epoch, 0), then, should they run out, by (seed,
        epoch, 1), ... batch = rows[i * num_rows : (i + 1) * num_rows],  num_rows = batch_size /
        SIZE

    A row is a segment of `SIZE` centers. It has the interface of `Batches`. How many rows an epoch
    has is left to chance, so `steps_per_epoch` is what the first blocks of epoch 0 lead to expect;
    where they are all of them, it is what epoch 0 has. An epoch with more rows is cut, one with
    fewer goes on with another draw of the same sequences. To start at an epoch costs nothing; to
    start within one, the blocks before are made again.

    Args:
        blocks: from a `numpy.random.Generator` to an epoch's `Block`s.
        expand: from a `Block` and the generator to its rows in random order, in pieces, as
            `windows.segments` has them.
        batch_size: centers in a batch, rounded down to whole segments, at least one and at most an
            epoch's.
        seed: same seed, same batches.

    Call shapes:
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
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        self._blocks, self._expand, self.seed = blocks, expand, seed
        self.num_events, num_rows, self._empty = self._dry_run()
        self._rows = min(max(1, int(batch_size) // SIZE), num_rows)  # in a batch
        self.batch_size, self.steps_per_epoch = self._rows * SIZE, num_rows // self._rows

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
        """An endless `tf.data.Dataset` of batches whose first element is the batch of step
        `start`.
        """
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

        batches = (
            tf.data.Dataset.from_generator(chunks, output_signature=specs).prefetch(1).unbatch()
        )
        options = tf.data.Options()
        options.autotune.enabled = (
            False  # nothing to tune, and its thread holds up the end of `fit` for seconds
        )
        return batches.skip(skipped).prefetch(4).with_options(options)

    def _dry_run(self):
        """Events and rows of an epoch, as far as the first blocks tell, and what rows look like."""
        rng, share, num_events, num_rows, empty = (
            np.random.default_rng([self.seed, 0, 0]),
            0.0,
            0,
            0,
            None,
        )
        for i, block in enumerate(self._blocks(rng)):
            if i >= DRY_BLOCKS and num_rows:
                break
            share, num_events = share + block.share, num_events + len(block.items)
            for piece in self._expand(block, rng):
                num_rows += len(piece["item"])
                empty = {name: column[:0] for name, column in piece.items()}
        else:
            share = 1.0
        if not num_rows:
            raise ValueError(
                "There is no pair to train on: no session or walk has two different items, or "
                "alpha leaves none over."
            )
        return round(num_events / share), max(1, round(num_rows / share)), empty

    def _pieces(self, epoch):
        for again in itertools.count():
            rng = np.random.default_rng([self.seed, epoch, again])
            for block in self._blocks(rng):
                yield from self._expand(block, rng)

    def _chunks(self, epoch):
        """An epoch's batches, as many at a time as a block gives: columns `[count, G, ...]`."""
        remainder, missing = self._empty, self.steps_per_epoch
        for piece in self._pieces(epoch):
            piece = {
                name: np.concatenate([remainder[name], column]) for name, column in piece.items()
            }
            count = min(len(piece["item"]) // self._rows, missing)
            num = count * self._rows
            if count:
                yield {
                    name: column[:num].reshape(count, self._rows, *column.shape[1:])
                    for name, column in piece.items()
                }
            remainder = {name: column[num:] for name, column in piece.items()}
            missing -= count
            if not missing:
                return
