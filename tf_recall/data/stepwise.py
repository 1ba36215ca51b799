"""Batches that are made one step at a time, as a `tf.data.Dataset`."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_recall.data.batches import Batches

if TYPE_CHECKING:
    import tensorflow as tf

AHEAD = 4  # batches made before they are asked for


class StepBatches:
    """`Batches` that are finished as they are read: a batch is a function of the seed and the step.

    batch = finish(rows, generator of (seed, step, 1)),  rows = Batches(columns).at(step)

    Args:
        columns: the arrays `[n, ...]` that an epoch goes through, nested by name.
        finish: from a batch's part of the columns, and a `numpy.random.Generator`, to the batch.
        batch_size, seed, keep: as for `Batches`.
    """

    def __init__(
        self,
        columns: dict[str, Any],
        finish: Callable[[dict, np.random.Generator], dict],
        batch_size: int,
        seed: int = 0,
        keep: np.ndarray | None = None,
    ):
        self._batches = Batches(columns, batch_size, seed, keep=keep)
        self._finish = finish
        self.seed = seed
        self.batch_size = self._batches.batch_size
        self.steps_per_epoch = self._batches.steps_per_epoch

    def __len__(self) -> int:
        return self.steps_per_epoch

    def at(self, step: int) -> dict[str, Any]:
        """The batch of one step, as NumPy arrays `[batch_size, ...]`."""
        return self._finish(self._batches.at(step), np.random.default_rng([self.seed, step, 1]))

    def dataset(self, start: int = 0) -> "tf.data.Dataset":
        """An endless dataset of batches whose first element is the batch of step `start`."""
        return stepwise(self.at, start)


def stepwise(
    at: Callable[[int], dict],
    start: int,
    workers: int = 1,
    free: Collection[str] = (),
    axis: int = 0,
) -> "tf.data.Dataset":
    """An endless dataset of `at(start)`, `at(start + 1)`, ...

    Args:
        at: from a step to its batch, nested dicts of NumPy arrays.
        start: the first step.
        workers: threads that make batches.
        free: top-level keys whose arrays change one of their sizes from step to step.
        axis: which one, of the arrays that have so many.

    Raises:
        ValueError: `start` is negative.
    """
    import tensorflow as tf

    if start < 0:
        raise ValueError(f"start is {start}; the first step is 0.")
    example = at(start)
    known = {
        key: tf.nest.map_structure(
            lambda leaf, axis=axis if key in free else None: _spec(np.asarray(leaf), axis), of_key
        )
        for key, of_key in example.items()
    }
    specs = tf.nest.flatten(known)

    def make(step):
        return [np.asarray(leaf) for leaf in tf.nest.flatten(at(int(step)))]

    def tensors(step):
        leaves = tf.numpy_function(make, [step], [spec.dtype for spec in specs])
        for leaf, spec in zip(leaves, specs, strict=True):
            leaf.set_shape(spec.shape)
        return tf.nest.pack_sequence_as(known, leaves)

    batches = tf.data.Dataset.counter(start).map(tensors, workers, deterministic=True)
    options = tf.data.Options()
    # nothing to tune, and its thread holds up the end of `fit` for seconds
    options.autotune.enabled = False
    return batches.prefetch(AHEAD).with_options(options)


def _spec(leaf, free):
    import tensorflow as tf

    shape = [None if axis == free else size for axis, size in enumerate(leaf.shape)]
    return tf.TensorSpec(shape, leaf.dtype)
