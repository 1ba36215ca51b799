"""Poolings: a sequence of vectors as one vector (the histories of METHODS.md M9, M10)."""

import keras
import tensorflow as tf


class Pooling(keras.layers.Layer):
    """One vector of a sequence, the oldest first; it never sees the candidate.

    Call: vectors `[B, L, D]`, valid bool `[B, L]`: which positions hold something -> `[B, dim]`
        float32, zeros where no position is valid. Where it `asks`, a query `[B, Q]` too.

    Attributes:
        asks: the features of the same tower whose vectors are its query, by their names or columns;
            empty: all that describe the user; None: it takes no query.
        of_request: whether these must be context, which comes with the request.
    """

    asks: list[str] | None = None
    of_request = False

    def dim(self, size: int) -> int:
        """The length of the pooled vector, of vectors of length `size`."""
        return size

    def build(self, vectors_shape: tuple, valid_shape: tuple | None = None) -> None:
        self.built = True

    def get_build_config(self) -> None:
        """None: what has a pooling builds it."""

    def call(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


@keras.saving.register_keras_serializable("tf_recall")
class MeanPooling(Pooling):
    """The mean of the vectors that are there (METHODS.md M9).

    pooled[b] = sum_l valid[b, l] vectors[b, l] / max(1, sum_l valid[b, l])

    Call: as `Pooling`.

    Example:
        >>> valid = tf.constant([[False, True, True]])
        >>> MeanPooling()(tf.constant([[[9.0], [2.0], [4.0]]]), valid).numpy()
        array([[3.]], dtype=float32)

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.2.
    """

    def call(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        valid = tf.cast(valid, tf.float32)
        total = tf.einsum("bl,bld->bd", valid, tf.cast(vectors, tf.float32))
        return total / tf.maximum(tf.reduce_sum(valid, axis=1, keepdims=True), 1.0)  # [B, D]


@keras.saving.register_keras_serializable("tf_recall")
class LastPooling(Pooling):
    """The latest vector alone: what the user did last.

    pooled[b] = vectors[b, the last l with valid[b, l]]

    Call: as `Pooling`.
    """

    def call(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        length = tf.shape(valid)[1]
        last = length - 1 - tf.argmax(valid[:, ::-1], axis=1, output_type=tf.int32)  # [B]
        latest = tf.gather(tf.cast(vectors, tf.float32), last, batch_dims=1)  # [B, D]
        return tf.where(tf.reduce_any(valid, axis=1, keepdims=True), latest, 0.0)
