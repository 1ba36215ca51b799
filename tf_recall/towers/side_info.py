"""An item as the mean of its id's and its attributes' vectors, plain or weighted: what is known of
it suffices.
"""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.features.embedding import RowEmbedding
from tf_recall.towers.features import TowerOfFeatures

# of the weights: at the vectors' own, one feature would have won before they have learned anything
PACE = 0.1


@keras.saving.register_keras_serializable("tf_recall")
class MeanTower(TowerOfFeatures):
    """The mean of the vectors of what is known of a row (METHODS.md M4; GES in the paper).

    `vector = sum_j known_j W_j / sum_j known_j` over the features j

    A missing value, one that training has not seen, and the id of a row without interactions take
    no part. So an item unseen in training gets its vector from its attributes alone, of the same
    scale as the others'. Where an `Id` is shown as unknown while training (`unknown_rate`), the
    attributes learn to stand without it. A row of which nothing is known gets zeros: it prefers
    nothing.

    Args:
        entity, features: as `Tower`; all features give vectors of one length.
        normalize: bring the vector to length 1, so that the dot product is the cosine.

    Call: as `Tower`.

    Raises:
        ValueError: as `Tower`, or features of different lengths.

    Example:
        >>> tower = MeanTower("item", [Id(32), Categorical("brand", 32), MultiValued("genres", 32)])

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", section 3.3.
    """

    def __init__(self, entity, features, normalize=True, **kwargs):
        super().__init__(entity, features, **kwargs)
        self.normalize = normalize
        self._check(
            {feature.name: feature.width for feature in features if feature.width is not None}
        )

    def _check(self, dims):
        if len(set(dims.values())) > 1:
            raise ValueError(
                f"the {self.entity} tower takes a mean, so its features must have one dim, and "
                f"have {dims}"
            )

    @property
    def dim(self):
        widths = [feature.width for feature in self.features if feature.width is not None]
        return widths[0] if widths else self.features[0].dim

    def build_from_config(self, config):
        self._check({feature.name: feature.dim for feature in self.features})
        super().build_from_config(config)

    def unscaled(self, inputs, training=False):
        vectors = [tf.cast(vector, tf.float32) for vector in self.vectors(inputs, training)]
        known = [feature.known(self.codes(feature, inputs), training) for feature in self.features]
        shares = self.shares(inputs[self.entity], tf.stack(known, axis=1))  # [B, F]
        return tf.reduce_sum(tf.stack(vectors, axis=1) * shares[..., None], axis=1)  # [B, dim]

    def shares(self, rows, known):
        """What share of the vector each feature has: float32 `[B, F]`, from rows `[B]` and known
        `[B, F]`.
        """
        known = tf.cast(known, tf.float32)
        return tf.math.divide_no_nan(known, tf.reduce_sum(known, axis=1, keepdims=True))

    def get_config(self):
        return {**super().get_config(), "normalize": self.normalize}


@keras.saving.register_keras_serializable("tf_recall")
class WeightedTower(MeanTower):
    """The mean of what is known of a row, each row weighing its features its own way
    (METHODS.md M4, EGES).

    `vector = sum_j known_j exp(a_rj) W_j / sum_j known_j exp(a_rj)` over the features j, for row r,
    a = PACE * weights

    What tells about an item differs: the brand of a phone, the shop of a dress. The weights `a`
    start at 0, so that the vector begins as the mean; a row without interactions keeps the mean.

    Args:
        entity, features, normalize: as `MeanTower`.

    Call: as `Tower`.

    Raises:
        ValueError: as `MeanTower`.

    Example:
        >>> features = [Id(32), Categorical("brand", 32), MultiValued("genres", 32)]
        >>> tower = WeightedTower("item", features)

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", section 3.4.
    """

    def _adapt(self, train, catalog):
        super()._adapt(train, catalog)
        counts = catalog.side(self.entity).vocabulary.counts
        self.seen.assign(np.r_[False, counts[1:] > 0])

    def build_from_config(self, config):
        super().build_from_config(config)
        self.weigh = RowEmbedding(
            self.num_rows, len(self.features), initializer="zeros", name="weights"
        )
        self.weigh.build()
        self.seen = self.add_weight(
            shape=(self.num_rows,), dtype="bool", trainable=False, initializer="zeros", name="seen"
        )

    def shares(self, rows, known):
        # Rows that are drawn as negatives only must not learn weights: nobody was ever seen to like
        # them.
        seen = tf.gather(self.seen.value, rows)[:, None]  # [B, 1]
        weights = tf.where(seen, PACE * tf.cast(self.weigh(rows), tf.float32), 0.0)  # [B, F]
        share = tf.nn.softmax(tf.where(known, weights, weights.dtype.min), axis=1)
        return tf.where(known, share, 0.0)
