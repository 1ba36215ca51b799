"""Users as several vectors, one for each of their interests (METHODS.md M18)."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.base import Feature
from tf_recall.features.history import History
from tf_recall.features.interests import InterestPooling
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class InterestTower(FeatureTower):
    """A user as several vectors: each interest and the profile, through one MLP (METHODS.md M18).

    `vector[k] = normalize(MLP([interest_k of the history ; other features of the user]))`

    A user is recommended what is near to any of the vectors; in training a positive teaches the
    nearest one. Where there is no history each interest has a learned vector.

    Args:
        entity: "user".
        features: a `History` with an `InterestPooling`, and further features, the profile.
        units, normalize, dropout, seed: as `FeatureTower`.

    Call: as `Tower` -> `[B, interests, dim]` float32; of one interest `[B, dim]`.

    Raises:
        ValueError: as `FeatureTower`, or the first feature is no such history.

    Example:
        >>> history = History(pooling=InterestAttention(interests=4), items=items)
        >>> tower = InterestTower("user", [history, Categorical("country")], units=[32])

    Paper: Li et al. 2019, "Multi-Interest Network with Dynamic Routing for Recommendation at
        Tmall", section 3.
    """

    def __init__(
        self,
        entity: str,
        features: Sequence[Feature],
        units: Sequence[WholeFrom1] = (),
        normalize: bool = True,
        dropout: Share = 0.0,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(entity, features, units, normalize, dropout, seed, **kwargs)
        first = self.features[0]
        if not isinstance(first, History) or not isinstance(first.pooling, InterestPooling):
            raise ValueError(
                "an InterestTower begins with a History whose pooling makes several vectors: "
                "pooling=InterestAttention(interests=4) or CapsuleRouting(interests=4), not "
                f"{type(getattr(first, 'pooling', first)).__name__}"
            )

    @property
    def interests(self) -> int:
        return self.features[0].pooling.interests

    @property
    def width(self) -> int:
        history, *profile = self.features
        return history.size + sum(feature.dim for feature in profile)

    def unscaled(self, inputs, training=False):
        history, *profile = self.vectors(inputs, training)
        count = self.interests
        of_each = [tf.reshape(history, [-1, self.features[0].size])]  # [B * K, D]
        of_each += [tf.repeat(vector, count, axis=0) for vector in profile]
        rows = inputs[self.entity][:, None] * count + tf.range(count)  # no two draw the same
        vectors = self.through(tf.concat(of_each, axis=1), tf.reshape(rows, [-1]), training)
        return tf.reshape(vectors, [-1, count, self.dim]) if count > 1 else vectors  # [B, K, dim]

    def shares(self, inputs: dict) -> tuple[tf.Tensor, tf.Tensor]:
        """Which items make each interest: item rows `[B, L]`, and weights `[B, K, L]`.

        Args:
            inputs: those of a call.
        """
        history = self.features[0]
        codes = self.codes(history, inputs)
        rows = history.rows(codes)
        return rows, history.pooling.coefficients(history.embedded(codes), rows > 0)
