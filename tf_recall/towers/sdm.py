"""A user as the session of now and the history of long, mixed by a gate (METHODS.md M10)."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.attention import Attention
from tf_recall.features.base import Feature
from tf_recall.features.history import History
from tf_recall.towers.dropout import RowDropout
from tf_recall.towers.features import TowerOfFeatures


@keras.saving.register_keras_serializable("tf_recall")
class SDMTower(TowerOfFeatures):
    """The latest items and all of a history, each weighed by the profile, and a gate between them.

    h = x + MultiHeadAttention(x),  x = the last `session` item vectors + their places' vectors
    short = attention(h; profile)
    long = tanh(W [attention(vectors of attribute a; profile) for each attribute a of the items])
    gate = sigmoid(W1 profile + W2 short + W3 long + b)
    vector = normalize((1 - gate) * long + gate * short)

    The profile is 1 and the vectors of the features beside the history: without any, and for a
    user of whom nothing is known, all attend as the mean user does. The attributes are the features
    of the items' tower, read from the tables that it has. Where there are no items the vector is a
    learned one.

    Args:
        entity: "user".
        features: a `History` of items of a tower, and what describes the user.
        session: how many items, the latest, are the session.
        num_heads: of the self-attention.
        dropout: the share of the vector's numbers that training leaves out at random.
        seed: of the dropout's draws.

    Call: as `Tower`.

    Raises:
        ValueError: no `History` of a tower with features first, or `num_heads` that do not divide
            the length of its vectors.

    Example:
        >>> items = FeatureTower("item", [Id(32)])
        >>> tower = SDMTower("user", [History(items=items), Categorical("country")])

    Paper: Lv et al. 2019, "SDM: Sequential Deep Matching Model for Online Large-scale Recommender
        System", section 3.
    """

    normalize = True

    def __init__(
        self,
        entity: str,
        features: Sequence[Feature],
        session: WholeFrom1 = 10,
        num_heads: WholeFrom1 = 2,
        dropout: Share = 0.0,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(entity, features, **kwargs)
        first = self.features[0]
        if not (isinstance(first, History) and isinstance(first.items, TowerOfFeatures)):
            raise ValueError(
                "the first feature of an SDMTower is a History of items=a tower of features, not "
                f"{type(first).__name__}"
            )
        if self.dim % num_heads:
            raise ValueError(f"num_heads must divide the length {self.dim}, and is {num_heads}")
        self.session = session
        self.num_heads = num_heads
        self.dropout = dropout
        self.seed = seed
        self.drop = RowDropout(dropout, seed, entity)
        size = self.dim // num_heads
        self.attend = keras.layers.MultiHeadAttention(num_heads, size, use_bias=False)
        self.of_session = Attention(name="of_session")
        self.of_attributes = [
            Attention(name=f"of_{feature.name}") for feature in first.items.features
        ]
        self.join = keras.layers.Dense(self.dim, "tanh", name="join")
        self.gate = keras.layers.Dense(self.dim, "sigmoid", name="gate")

    @property
    def dim(self) -> int:
        return self.features[0].size

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        history, *others = self.features
        profile = (None, 1 + sum(feature.dim for feature in others))
        sizes = [feature.dim for feature in history.items.features]
        session = (None, self.session, self.dim)
        self.places = self.add_weight(
            name="places", shape=(self.session, self.dim), initializer="zeros"
        )
        self.attend.build(session, session)
        self.of_session.build(session, None, profile)
        for size, attention in zip(sizes, self.of_attributes, strict=True):
            attention.build((None, None, size), None, profile)
        self.join.build((None, sum(sizes)))
        self.gate.build((None, profile[1] + 2 * self.dim))

    def unscaled(self, inputs, training=False):
        history, *others = self.features
        codes = self.codes(history, inputs)
        items = history.rows(codes)  # [B, L]
        profile = self._profile(others, inputs, training)
        short = self._short(codes[:, -self.session :], profile, training)
        long = self._long(codes, profile, training)
        gate = tf.cast(self.gate(tf.concat([profile, short, long], axis=1)), tf.float32)
        vector = (1 - gate) * long + gate * short
        some = tf.reduce_any(items > 0, axis=1, keepdims=True)
        vector = tf.where(some, vector, tf.cast(history.empty, tf.float32))
        return self.drop(vector, inputs[self.entity], training=training)  # [B, dim]

    def _profile(self, features, inputs, training):
        """Who the user is, after a 1: float32 `[B, 1 + Q]`."""
        vectors = [feature(self.codes(feature, inputs), training=training) for feature in features]
        one = tf.ones([tf.shape(inputs[self.entity])[0], 1])
        return tf.concat([one, *(tf.cast(vector, tf.float32) for vector in vectors)], axis=1)

    def _short(self, codes, profile, training):
        """What the session comes to, `[B, dim]`."""
        there = self.features[0].rows(codes) > 0  # [B, S]
        vectors = tf.cast(self.features[0].embedded(codes, training), tf.float32)
        vectors += tf.cast(self.places, tf.float32)[-tf.shape(there)[1] :]
        mask = there[:, None]  # which positions are looked at, of each: [B, 1, S]
        around = self.attend(vectors, vectors, attention_mask=mask, training=training)
        return self.of_session(vectors + tf.cast(around, tf.float32), there, profile)

    def _long(self, codes, profile, training):
        """What the whole history comes to, `[B, dim]`."""
        there = self.features[0].rows(codes) > 0  # [B, L]
        attributes = self.features[0].attributes(codes, training)
        pairs = zip(self.of_attributes, attributes, strict=True)
        pooled = [attention(vectors, there, profile) for attention, vectors in pairs]
        return tf.cast(self.join(tf.concat(pooled, axis=1)), tf.float32)

    def end_step(self) -> None:
        super().end_step()
        self.drop.end_step()

    def get_config(self) -> dict:
        own = ("session", "num_heads", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
