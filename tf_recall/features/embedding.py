"""An embedding table of which a training step reads and updates only the rows of its batch."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.tracing import traced

_STATIC = contextvars.ContextVar("static", default=False)  # whether XLA asks for known shapes

TRACED = 2**20  # numbers of a table; 4 MB
EXACT = {tf.float32: 2**24, tf.float64: 2**53}  # up to here a float is exactly one row


@keras.saving.register_keras_serializable("tf_recall")
class RowEmbedding(keras.layers.Layer):
    """A trainable table of vectors `[num_rows, dim]`, read by row.

    output[..., :] = embeddings[ids[...]]

    Only those rows are read, and the gradient is sparse (`tf.IndexedSlices`). With an optimizer of
    `tf_recall.retrievers.optimizers` the cost of a step does not grow with `num_rows`, as it does
    with `keras.layers.Embedding`.

    Args:
        num_rows: rows of the table, the unknown row 0 included.
        dim: length of a row.
        initializer: a Keras initializer or its name, for all rows but row 0.
        zero_unknown: whether row 0 starts at zeros, so that an unknown id adds nothing. It is
            trained like any other row.
        learns_unknown: whether training shows some of each row's events as row 0's.

    Call: ids of any shape `[...]`, each in `0 ... num_rows - 1` -> `[..., dim]` in the layer's
        compute dtype.

    Raises:
        ValueError: `num_rows` or `dim` is not positive.
        TypeError: the ids are floats (to which Keras converts integers in places), and too coarse
            for so many rows.

    Example:
        >>> RowEmbedding(num_rows=1000, dim=16)(tf.constant([3, 0, 3])).shape
        TensorShape([3, 16])
    """

    def __init__(
        self,
        num_rows: int,
        dim: int,
        initializer: str | keras.initializers.Initializer = "uniform",
        zero_unknown: bool = True,
        learns_unknown: bool = False,
        **kwargs,
    ):
        # `call` casts the rows that it reads: autocast would cast the whole table in each step, and
        # ids to half precision.
        super().__init__(autocast=False, **kwargs)
        if num_rows < 1 or dim < 1:
            raise ValueError(f"num_rows and dim must be at least 1, not {num_rows} and {dim}")
        self.num_rows = num_rows
        self.dim = dim
        self.initializer = keras.initializers.get(initializer)
        self.zero_unknown = zero_unknown
        self.learns_unknown = learns_unknown

    def build(self, input_shape: tuple | None = None) -> None:
        self.origin = None
        shape = (self.num_rows, self.dim)
        # one graph of all steps keeps one table in memory, where each step by itself makes another;
        # to trace it takes longer than to fill a small table
        start = traced(self._start) if self.num_rows * self.dim > TRACED else self._start
        self.embeddings = self.add_weight(name="embeddings", shape=shape, initializer=start)

    def come_from(self, origin: np.ndarray | None) -> None:
        """Notes which rows of an earlier table this one's go on from.

        Args:
            origin: `[num_rows]`, as `Side.origin`; None: it goes on from none.
        """
        self.origin = origin

    def by_row(self) -> list[tuple[keras.Variable, np.ndarray | None]]:
        """What it keeps by row, with the origin of each row."""
        return [(self.embeddings, self.origin)]

    def _start(self, shape, dtype=None):
        table = self.initializer(shape, dtype=dtype)
        if not self.zero_unknown:
            return table
        return tf.tensor_scatter_nd_update(table, [[0]], tf.zeros_like(table[:1]))

    def save_own_variables(self, store: dict) -> None:
        store["0"] = tf.convert_to_tensor(self.embeddings.value)  # Keras would copy it once more

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        ids = tf.convert_to_tensor(ids)
        if not ids.dtype.is_integer and self.num_rows > EXACT.get(ids.dtype, 0):
            raise TypeError(
                f"{ids.dtype.name} ids cannot name {self.num_rows} rows: give int32 or int64"
            )
        ids = ids if ids.dtype in (tf.int32, tf.int64) else tf.cast(ids, tf.int64)
        return tf.cast(tf.nn.embedding_lookup(self.embeddings.value, ids), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape, self.dim)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_rows": self.num_rows,
            "dim": self.dim,
            "initializer": keras.initializers.serialize(self.initializer),
            "zero_unknown": self.zero_unknown,
            "learns_unknown": self.learns_unknown,
        }


@contextlib.contextmanager
def static_shapes(static: bool) -> Iterator[None]:
    """Within, shapes must be known beforehand, as XLA asks, where `static` is true."""
    before = _STATIC.set(static)
    try:
        yield
    finally:
        _STATIC.reset(before)


def shapes_are_static() -> bool:
    """Whether shapes must be known beforehand."""
    return _STATIC.get()


def each_once(embed: Callable, rows: tf.Tensor) -> tf.Tensor:
    """`embed(rows)`, each distinct row computed once: popular items repeat, their copies cost.

    Under `static_shapes(True)` every row is computed.

    Args:
        embed: rows `[M]` int32 -> `[M, dim]`.
        rows: int32 of any shape `[...]`.

    Returns:
        `[..., dim]`.
    """
    flat = tf.reshape(rows, [-1])
    if _STATIC.get():
        vectors = embed(flat)
    else:
        distinct, position = tf.unique(flat)
        vectors = tf.gather(embed(distinct), position)
    shape = tf.concat([tf.shape(rows), [vectors.shape[-1]]], axis=0)
    vectors = tf.reshape(vectors, shape)
    return tf.ensure_shape(vectors, [*rows.shape, vectors.shape[-1]])
