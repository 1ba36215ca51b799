"""The two halves of a factorization machine, whose score is the dot product of their vectors."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1
from tf_recall.features.base import Feature
from tf_recall.towers.features import TowerOfFeatures


class FMTower(TowerOfFeatures):
    """The base of both halves: each feature of an entity contributes one vector of `size` numbers.

    Features with a table of their own get one of that width, whatever their `dim`; numbers and
    ready-made vectors pass through a linear map without bias, x -> x M. A feature of several values
    contributes their mean. Tables and maps start uniform in +-0.05: scores start near 0, and each
    factor starts different from the others.

    Args:
        entity, features: as `TowerOfFeatures`.
        num_factors: length of the vectors `v`, the same on both sides.

    Call: as `Tower`; `dim` is `num_factors + 1`.

    Raises:
        ValueError: as `TowerOfFeatures`, or `num_factors` below 1.
    """

    tunable = {"num_factors": [16, 256, "log"]}

    def __init__(
        self, entity: str, features: Sequence[Feature], num_factors: WholeFrom1 = 32, **kwargs
    ) -> None:
        super().__init__(entity, features, **kwargs)
        if num_factors < 1:
            raise ValueError(f"num_factors must be at least 1, not {num_factors}")
        self.num_factors = num_factors
        self.maps = {}
        for feature in self.features:
            if feature.width is None:
                self.maps[feature.name] = keras.layers.Dense(
                    self.size, use_bias=False, kernel_initializer="uniform"
                )
            else:
                feature.width = self.size

    @property
    def size(self) -> int:
        """How many numbers a feature contributes."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        return self.num_factors + 1

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        for feature in self.features:
            if feature.name in self.maps:
                self.maps[feature.name].build((None, feature.dim))

    def contributions(self, inputs: dict, training: bool) -> tf.Tensor:
        """What each feature contributes: float32 `[B, F, size]`."""
        parts = []
        for feature, vector in zip(self.features, self.vectors(inputs, training), strict=True):
            if feature.name in self.maps:
                vector = self.maps[feature.name](vector)
            parts.append(tf.cast(vector, tf.float32))
        return tf.stack(parts, axis=1)  # [B, F, size]

    def get_config(self) -> dict:
        return {**super().get_config(), "num_factors": self.num_factors}


@keras.saving.register_keras_serializable("tf_recall")
class FMQueryTower(FMTower):
    """The user's half of a factorization machine (METHODS.md M5).

    `vector = [1, sum of v]` over the user's features

    The full score `b + sum w_i + sum_{i<j} v_i . v_j` runs over the user's and the item's features
    together. Its terms among the user's own features are the same for every item, so they cannot
    change an order: they are not computed, and the user's features have no weights `w`.

    Args:
        entity, features: as `TowerOfFeatures`.
        num_factors: length of the vectors `v`, the item tower's too.

    Call: as `Tower`; `dim` is `num_factors + 1`.

    Raises:
        ValueError: as `TowerOfFeatures`, or `num_factors` below 1.

    Example:
        >>> features = [Id(), Categorical("country"), Buckets("age")]
        >>> tower = FMQueryTower("user", features, num_factors=32)

    Paper: Rendle 2010, "Factorization Machines", section III.
    """

    @property
    def size(self) -> int:
        return self.num_factors

    def unscaled(self, inputs, training=False):
        total = tf.reduce_sum(self.contributions(inputs, training), axis=1)  # [B, num_factors]
        return tf.concat([tf.ones_like(total[:, :1]), total], axis=1)  # [B, dim]


@keras.saving.register_keras_serializable("tf_recall")
class FMItemTower(FMTower):
    """The item's half of a factorization machine (METHODS.md M5).

    `vector = [W + V, sum of v]`, `W = sum of w`, `V = 1/2 reduce_sum((sum of v)^2 - sum of v^2)`
    over its features

    W + V is how popular the item is with all users; the rest depends on the user. The dot product
    with an `FMQueryTower` is the score of the whole machine up to a constant per user. Each
    feature's `w` is the first number of its vector.

    Args:
        entity, features: as `TowerOfFeatures`.
        num_factors: length of the vectors `v`, the query tower's too.

    Call: as `Tower`; `dim` is `num_factors + 1`.

    Raises:
        ValueError: as `TowerOfFeatures`, or `num_factors` below 1.

    Example:
        >>> tower = FMItemTower("item", [Id(), MultiValued("genres")], num_factors=32)

    Paper: Rendle 2010, "Factorization Machines", section III, and its lemma 3.1 for V.
    """

    @property
    def size(self) -> int:
        return self.num_factors + 1

    def unscaled(self, inputs, training=False):
        parts = self.contributions(inputs, training)
        v = parts[:, :, 1:]  # [B, F, num_factors]
        total = tf.reduce_sum(v, axis=1)  # [B, num_factors]
        linear = tf.reduce_sum(parts[:, :, 0], axis=1)[:, None]  # [B, 1]
        squares = tf.reduce_sum(tf.square(v), axis=1)  # [B, num_factors]
        pairs = tf.reduce_sum(tf.square(total) - squares, axis=1, keepdims=True) / 2  # [B, 1]
        return tf.concat([linear + pairs, total], axis=1)  # [B, dim]

    def as_query(self, vectors):
        """`[0, sum of v]`: finds items that the same users like.

        The first number is the item's popularity with all users. Training compares it with users'
        vectors, not with items'; kept, it would put the same popular items first in every list.
        """
        return tf.concat([tf.zeros_like(vectors[:, :1]), vectors[:, 1:]], axis=1)
