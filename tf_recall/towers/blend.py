"""A user as a blend of an id and a history (METHODS.md M20)."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_recall.data.ranges import Seed, Share
from tf_recall.features.base import Feature
from tf_recall.features.history import History
from tf_recall.features.words import Id
from tf_recall.towers.dropout import RowDropout
from tf_recall.towers.features import TowerOfFeatures


@keras.saving.register_keras_serializable("tf_recall")
class BlendTower(TowerOfFeatures):
    """A user's own vector and what their history comes to, blended (METHODS.md M20).

    `vector = normalize(share * id + (1 - share) * W pooling(history))`

    A user without a vector of their own, one whom training has not seen, is their history alone.
    W begins as the identity: a history is near its own items before anything is learned.

    Args:
        entity: "user".
        features: an `Id` and a `History`, which end in vectors of one length.
        share: how much the user's own vector counts, from 0 to below 1.
        dropout: the share of the blend's numbers that training leaves out at random.
        seed: of the dropout's draws.

    Call: as `Tower`.

    Raises:
        ValueError: other features, vectors of two lengths, or a share out of its range.

    Example:
        >>> items = FeatureTower("item", [Id(32)])
        >>> tower = BlendTower("user", [Id(32), History(items=items)], share=0.3)

    Paper: Mao et al. 2021, "SimpleX: A Simple and Strong Baseline for Collaborative Filtering",
        section 3.3.
    """

    normalize = True

    def __init__(
        self,
        entity: str,
        features: Sequence[Feature],
        share: Share = 0.35,
        dropout: Share = 0.0,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(entity, features, **kwargs)
        if [type(feature) for feature in features] != [Id, History]:
            kinds = ", ".join(type(feature).__name__ for feature in features)
            raise ValueError(f"a BlendTower blends [Id, History], not [{kinds}]")
        if len(dims := {feature.dim for feature in features}) > 1:
            raise ValueError(f"a BlendTower needs vectors of one length, not of {sorted(dims)}")
        if not 0 <= share < 1:
            raise ValueError(f"share must be from 0 to below 1, not {share!r}")
        self.share = share
        self.dropout = dropout
        self.seed = seed
        self.drop = RowDropout(dropout, seed, entity)
        self.dense = keras.layers.Dense(self.dim, use_bias=False, kernel_initializer="identity")

    @property
    def dim(self) -> int:
        return self.features[0].dim

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        self.dense.build((None, self.dim))

    def unscaled(self, inputs, training=False):
        own, history = self.vectors(inputs, training)  # [B, dim] each
        identity = self.features[0]
        known = identity.known(self.codes(identity, inputs), training)[:, None]
        own = tf.where(known, own, 0)
        blend = self.share * own + (1 - self.share) * self.dense(history)
        return self.drop(blend, inputs[self.entity], training=training)  # [B, dim]

    def end_step(self) -> None:
        super().end_step()
        self.drop.end_step()

    def get_config(self) -> dict:
        own = ("share", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
