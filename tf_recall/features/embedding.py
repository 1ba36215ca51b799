"""A table of vectors of which a step touches only the rows it names."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

_STATIC = contextvars.ContextVar("static", default=False)  # whether XLA asks for known shapes

EXACT = {tf.float32: 2**24, tf.float64: 2**53}  # up to here a float still names one row


@keras.saving.register_keras_serializable("tf_recall")
class RowEmbedding(keras.layers.Layer):
    """A trainable table `[num_rows, dim]`, read by row.

    output[..., :] = embeddings[ids[...]]

    Only those rows are read, and the gradient names them (`tf.IndexedSlices`); with an optimizer of
    `tf_recall.retrievers.optimizers` the cost of a step does not grow with `num_rows`, as it does
    with `keras.layers.Embedding`.

    Args:
        num_rows: rows of the table, the unknown row 0 included.
        dim: numbers per row.
        initializer: a Keras initializer or its name, for every row but row 0.
        zero_unknown: whether row 0 starts at zeros, so that an unknown id adds nothing. It trains
            like any other row.

    Call: ids of any shape `[...]`, each in `0 ... num_rows - 1` -> `[..., dim]` in the layer's
        compute dtype.

    Raises:
        ValueError: `num_rows` or `dim` is not positive.
        TypeError: the ids are floats (which Keras makes of integers here and there) too coarse for
            this many rows.

    Example:
        >>> RowEmbedding(num_rows=1000, dim=16)(tf.constant([3, 0, 3])).shape
        TensorShape([3, 16])
    """

    def __init__(self, num_rows, dim, initializer="uniform", zero_unknown=True, **kwargs):
        # Rows are cast once read: autocast would convert the whole table at each step, and ids to
        # half precision.
        super().__init__(autocast=False, **kwargs)
        if num_rows < 1 or dim < 1:
            raise ValueError(f"num_rows and dim must be at least 1, not {num_rows} and {dim}")
        self.num_rows, self.dim = num_rows, dim
        self.initializer = keras.initializers.get(initializer)
        self.zero_unknown = zero_unknown

    def build(self, input_shape=None):
        shape = (self.num_rows, self.dim)
        self.embeddings = self.add_weight(name="embeddings", shape=shape, initializer=self._start)

    def _start(self, shape, dtype=None):
        table = self.initializer(shape, dtype=dtype)
        return (
            tf.tensor_scatter_nd_update(table, [[0]], tf.zeros_like(table[:1]))
            if self.zero_unknown
            else table
        )

    def call(self, ids):
        ids = tf.convert_to_tensor(ids)
        if not ids.dtype.is_integer and self.num_rows > EXACT.get(ids.dtype, 0):
            raise TypeError(
                f"{ids.dtype.name} ids cannot name {self.num_rows} rows: give int32 or int64"
            )
        ids = ids if ids.dtype in (tf.int32, tf.int64) else tf.cast(ids, tf.int64)
        return tf.cast(tf.nn.embedding_lookup(self.embeddings.value, ids), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def get_config(self):
        return {
            **super().get_config(),
            "num_rows": self.num_rows,
            "dim": self.dim,
            "initializer": keras.initializers.serialize(self.initializer),
            "zero_unknown": self.zero_unknown,
        }


@contextlib.contextmanager
def static_shapes(static: bool) -> Iterator[None]:
    """Within, shapes must be known beforehand, as XLA asks, where `static` is true."""
    before = _STATIC.set(static)
    try:
        yield
    finally:
        _STATIC.reset(before)


def each_once(embed: Callable, rows):
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
