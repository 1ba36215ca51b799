"""Stacks of convolutions that do not mix: each reads its own part of the vectors."""

import keras
import tensorflow as tf

from tf_recall.towers.convolutions import Convolution, Wrapped


@keras.saving.register_keras_serializable("tf_recall")
class PartConvolution(Wrapped):
    """A convolution that sees some of the numbers of the vectors alone.

    h_v = convolution of h_v[start : start + size] and h_u[start : start + size] of the neighbors u

    After `ConcatCombination` these are the numbers of one relation.

    Args:
        convolution: what it does with them.
        start, size: which numbers.

    Call: as `Convolution`.

    Raises:
        ValueError: at `build`, vectors that are shorter.

    Example:
        >>> layer = PartConvolution(PinSageConvolution(8, units=16), start=4, size=4)
        >>> layer(tf.ones([5, 12]), tf.ones([5, 10, 12]), tf.ones([5, 10])).shape
        TensorShape([5, 8])
    """

    def __init__(self, convolution: Convolution, start: int, size: int, **kwargs) -> None:
        super().__init__(convolution, **kwargs)
        self.start = start
        self.size = size

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        shortest = min(vectors_shape[-1], near_shape[-1])
        if self.start + self.size > shortest:
            raise ValueError(
                f"vectors have {shortest} numbers, and {self.start} to {self.start + self.size} "
                "are to be read"
            )
        if not self.convolution.built:  # one that was deserialized is
            self.convolution.build((None, self.size), (None, None, self.size))
        self.built = True

    def _own(self, vectors):
        return vectors[..., self.start : self.start + self.size]

    def messages(self, vectors: tf.Tensor) -> tf.Tensor:
        return super().messages(self._own(vectors))

    def pool(self, vectors: tf.Tensor, near: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return super().pool(self._own(vectors), near, weights)

    def update(self, vectors: tf.Tensor, pooled: tf.Tensor) -> tf.Tensor:
        return self.convolution.update(self._own(vectors), pooled)

    def get_config(self) -> dict:
        return {**super().get_config(), "start": self.start, "size": self.size}
