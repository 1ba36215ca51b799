"""The two halves of a foretold rating: vectors, biases and the mean of all ratings."""

import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1
from tf_recall.features.words import Id
from tf_recall.towers.features import TowerOfFeatures


class RatingTower(TowerOfFeatures):
    """One half of `mean + b_u + b_i + p_u . q_i` (METHODS.md M6).

        user  [p_u, mean + b_u, 1]
        item  [q_i, 1, b_i]

    Of an unknown row the vector and the bias are 0: it is rated as the others are in the mean.

    Args:
        entity: "user" or "item".
        num_factors: length of the vectors p and q.

    Call: as `Tower`; `dim` is `num_factors + 2`.
    """

    def __init__(self, entity: str, num_factors: WholeFrom1, **kwargs) -> None:
        rare = {"unknown_rate": 0.0}
        super().__init__(entity, [Id(num_factors, **rare), Id(1, name="bias", **rare)], **kwargs)
        self.num_factors = num_factors

    @property
    def dim(self) -> int:
        return self.num_factors + 2

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        self.mean = self.add_weight(
            name="mean", shape=(), dtype="float32", initializer="zeros", trainable=False
        )

    def unscaled(self, inputs, training=False):
        known = tf.cast(inputs[self.entity] > 0, tf.float32)[:, None]
        vector, bias = (tf.cast(each, tf.float32) * known for each in self.vectors(inputs))
        pair = [bias + self.mean.value, tf.ones_like(bias)]
        return tf.concat([vector, *(pair if self.entity == "user" else reversed(pair))], axis=1)

    def as_query(self, vectors: tf.Tensor) -> tf.Tensor:
        """Without biases: similar are items whose vectors point the same way and are long."""
        return vectors * tf.concat([tf.ones([self.num_factors]), tf.zeros([2])], axis=0)
