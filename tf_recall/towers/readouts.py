"""Readouts: the vectors of a node at all layers of a graph network become one."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class Readout(keras.layers.Layer):
    """One vector of a node's vectors at every layer, the features' first.

    Call: `[[n, D]]`, the vectors by layer; of the same nodes come first in each -> `[m, D]`, m as
        the last layer has.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.built = True

    def check(self, sizes: Sequence[int]) -> None:
        """Refuses layers whose vectors do not go together.

        Args:
            sizes: the length of the items' vectors by layer.
        """


@keras.saving.register_keras_serializable("tf_recall")
class LastLayer(Readout):
    """The vectors of the last layer, which depend on nodes as far away as there are layers.

    vector = h[last]
    """

    def call(self, layers: list[tf.Tensor]) -> tf.Tensor:
        return layers[-1]


@keras.saving.register_keras_serializable("tf_recall")
class MeanOfLayers(Readout):
    """The mean over all layers: a node's own features and what is near count beside what is far.

    vector = (h[0] + h[1] + ... + h[last]) / (last + 1)

    Raises:
        ValueError: at the first call, layers of different lengths.

    Example:
        >>> MeanOfLayers()([tf.constant([[2.0], [9.0]]), tf.constant([[4.0]])]).numpy()
        array([[3.]], dtype=float32)

    Paper: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for
        Recommendation", section 3.1.2.
    """

    def check(self, sizes):
        if len(set(sizes)) > 1:
            raise ValueError(
                f"MeanOfLayers needs vectors of one length at every layer, got {list(sizes)}: let "
                "the towers of features end in the model's dim, or take LastLayer()"
            )

    def call(self, layers: list[tf.Tensor]) -> tf.Tensor:
        num = tf.shape(layers[-1])[0]
        return tf.add_n([tf.cast(each[:num], tf.float32) for each in layers]) / len(layers)
