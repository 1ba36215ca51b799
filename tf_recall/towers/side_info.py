"""An item as the plain or weighted mean of the vectors of its id and its attributes."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_recall.features.base import Feature
from tf_recall.features.embedding import RowEmbedding
from tf_recall.towers.features import TowerOfFeatures

# Slows the weights down: as fast as the vectors, one feature would win before these have learned.
PACE = 0.1


@keras.saving.register_keras_serializable("tf_recall")
class MeanTower(TowerOfFeatures):
    """The mean of the vectors of a row's known features (METHODS.md M4; GES in the paper).

    `vector = sum_j known_j W_j / sum_j known_j` over the features j

    A missing value, one that training has not seen, and the id of a row without interactions are
    not known. So an item unseen in training gets its vector from its attributes alone, of the same
    scale as the others'. Where an `Id` is shown as unknown while training (`unknown_rate`), the
    attributes learn to do without it. A row without any known feature gets zeros.

    Args:
        entity, features: as `TowerOfFeatures`; all features give vectors of one length.
        normalize: bring the vector to length 1, so that the dot product is the cosine.

    Call: as `Tower`.

    Raises:
        ValueError: as `TowerOfFeatures`, or features of different lengths.

    Example:
        >>> tower = MeanTower("item", [Id(32), Categorical("brand", 32), MultiValued("genres", 32)])

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", section 2.4.
    """

    def __init__(
        self, entity: str, features: Sequence[Feature], normalize: bool = True, **kwargs
    ) -> None:
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
    def dim(self) -> int:
        widths = [feature.width for feature in self.features if feature.width is not None]
        return widths[0] if widths else self.features[0].dim

    def build_from_config(self, config: dict) -> None:
        self._check({feature.name: feature.dim for feature in self.features})
        super().build_from_config(config)

    def unscaled(self, inputs, training=False):
        vectors = [tf.cast(vector, tf.float32) for vector in self.vectors(inputs, training)]
        known = [feature.known(self.codes(feature, inputs), training) for feature in self.features]
        shares = self.shares(inputs[self.entity], tf.stack(known, axis=1))  # [B, F]
        return tf.reduce_sum(tf.stack(vectors, axis=1) * shares[..., None], axis=1)  # [B, dim]

    def shares(self, rows: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """Each feature's share of the vector: float32 `[B, F]`.

        Args:
            rows: `[B]`.
            known: bool `[B, F]`.
        """
        known = tf.cast(known, tf.float32)
        return tf.math.divide_no_nan(known, tf.reduce_sum(known, axis=1, keepdims=True))

    def get_config(self) -> dict:
        return {**super().get_config(), "normalize": self.normalize}


@keras.saving.register_keras_serializable("tf_recall")
class WeightedTower(MeanTower):
    """The mean of a row's known features by weights of its own (METHODS.md M4; EGES).

    `vector = sum_j known_j exp(a_rj) W_j / sum_j known_j exp(a_rj)` over the features j, for row r,
    a = PACE * weights

    Which attribute matters differs by item: the brand of a phone, the shop of a dress. The weights
    `a` start at 0, so that the vector begins as the mean; a row without interactions keeps the
    mean.

    Args:
        entity, features, normalize: as `MeanTower`.

    Call: as `Tower`.

    Raises:
        ValueError: as `MeanTower`.

    Example:
        >>> features = [Id(32), Categorical("brand", 32), MultiValued("genres", 32)]
        >>> tower = WeightedTower("item", features)

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", section 2.5.
    """

    def _adapt(self, train, catalog):
        super()._adapt(train, catalog)
        self.weigh.come_from(catalog.side(self.entity).origin)
        counts = catalog.side(self.entity).vocabulary.counts
        self.seen.assign(np.r_[False, counts[1:] > 0])

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        self.weigh = RowEmbedding(
            self.num_rows, len(self.features), initializer="zeros", name="weights"
        )
        self.weigh.build()
        self.seen = self.add_weight(
            shape=(self.num_rows,), dtype="bool", trainable=False, initializer="zeros", name="seen"
        )

    def shares(self, rows, known):
        # Rows that occur only as negatives must not learn weights: no user liked them.
        seen = tf.gather(self.seen.value, rows)[:, None]  # [B, 1]
        weights = tf.where(seen, PACE * tf.cast(self.weigh(rows), tf.float32), 0.0)  # [B, F]
        share = tf.nn.softmax(tf.where(known, weights, weights.dtype.min), axis=1)
        return tf.where(known, share, 0.0)
