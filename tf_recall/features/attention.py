"""Poolings that weigh a history by a query: who the user is, what came last, what is searched."""

import keras
import tensorflow as tf

from tf_recall.data.ranges import Column, Filled, WholeFrom1
from tf_recall.features.pooling import LastPooling, Pooling


class Attention(Pooling):
    """The base of poolings whose weights depend on a query, which is never the candidate.

    score[b, h, l] = (query[b] / |query[b]| W_h) . vectors[b, l]
    share[b, h, :] = softmax of score[b, h, :] over the valid positions
    pooled[b] = [sum_l share[b, h, l] vectors[b, l]  for each head h]

    The query goes to the space of the vectors, not the vectors to the query's: one product a row,
    whatever the length. It is of length 1, since tables start so small that scores could not tell
    positions apart; W alone sets the scale. A query of zeros, that of a missing text, stays zeros
    and gives the mean.

    Args:
        num_heads: how many weighings, each by a matrix of its own; their sums stand side by side.

    Call: as `Pooling`, and query `[B, Q]` -> `[B, num_heads D]` float32, zeros where no position is
        valid.
    """

    tunable: dict = {"num_heads": {"choices": [1, 2, 4]}}

    def __init__(self, num_heads: WholeFrom1 = 1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def dim(self, size: int) -> int:
        return self.num_heads * size

    def build(
        self,
        vectors_shape: tuple,
        valid_shape: tuple | None = None,
        query_shape: tuple | None = None,
    ) -> None:
        shape = (query_shape[-1], self.num_heads * vectors_shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.built = True

    def shares(self, vectors: tf.Tensor, valid: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """How much each position counts: `[B, num_heads, L]` float32, zeros where none is valid."""
        size = vectors.shape[-1]
        query = tf.math.l2_normalize(tf.cast(query, tf.float32), axis=1)
        query = query @ tf.cast(self.kernel, tf.float32)
        query = tf.reshape(query, [-1, self.num_heads, size])  # [B, num_heads, D]
        scores = tf.einsum("bhd,bld->bhl", query, tf.cast(vectors, tf.float32))
        there = valid[:, None]  # [B, 1, L]
        shares = tf.nn.softmax(tf.where(there, scores, scores.dtype.min), axis=2)
        return tf.where(there, shares, 0.0)

    def call(self, vectors: tf.Tensor, valid: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        shares = self.shares(vectors, valid, query)
        pooled = tf.einsum("bhl,bld->bhd", shares, tf.cast(vectors, tf.float32))
        return tf.reshape(pooled, [-1, self.dim(vectors.shape[-1])])

    def get_config(self) -> dict:
        return {**super().get_config(), "num_heads": self.num_heads}


@keras.saving.register_keras_serializable("tf_recall")
class LastAttention(Attention):
    """Weighs a history by what the user did last (METHODS.md M10).

    The weights are those of `Attention`, query[b] = vectors[b, the last valid position]. Of a long
    history those items count that go with the latest one.

    Args:
        num_heads: as `Attention`.

    Call: as `Pooling` -> `[B, num_heads D]`.

    Example:
        >>> tower = FeatureTower("user", [Id(32), History(32, pooling=LastAttention())])

    Paper: Chen et al. 2021, "Curriculum Disentangled Recommendation with Noisy Multi-feedback",
        section 3.
    """

    def build(self, vectors_shape: tuple, valid_shape: tuple | None = None) -> None:
        super().build(vectors_shape, valid_shape, vectors_shape)

    def call(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        return super().call(vectors, valid, LastPooling()(vectors, valid))


@keras.saving.register_keras_serializable("tf_recall")
class ProfileAttention(Attention):
    """Weighs a history by who the user is (METHODS.md M10).

    The weights are those of `Attention`, query[b] = the vectors of other features of the tower. Two
    users of one history differ, by which of its items matter to such a user.

    Args:
        query: the features that the query is made of, by their names or columns; None: all of the
            tower but histories and the age of examples.
        num_heads: as `Attention`.

    Call: as `Attention`.

    Example:
        >>> history = History(32, pooling=ProfileAttention(["country"]))
        >>> tower = FeatureTower("user", [history, Categorical("country")])

    Paper: Lv et al. 2019, "SDM: Sequential Deep Matching Model for Online Large-scale Recommender
        System", section 3.4.
    """

    def __init__(
        self, query: Filled[Column] | None = None, num_heads: WholeFrom1 = 1, **kwargs
    ) -> None:
        super().__init__(num_heads, **kwargs)
        self.query = query and list(query)

    @property
    def asks(self) -> list[str]:
        return self.query or []

    def get_config(self) -> dict:
        return {**super().get_config(), "query": self.query}


@keras.saving.register_keras_serializable("tf_recall")
class RequestAttention(ProfileAttention):
    """Weighs a history by what comes with the request, such as the search text (METHODS.md M10).

    The weights are those of `Attention`, query[b] = the vectors of features of context: of columns
    of the log, which a request brings anew. A request without any gets the mean.

    Args:
        query: the features that the query is made of, by their names or columns.
        num_heads: as `Attention`.

    Call: as `Attention`.

    Example:
        >>> history = History(32, pooling=RequestAttention(["search"]))
        >>> tower = FeatureTower("user", [history, Text("search")])

    Paper: Lv et al. 2019, "SDM: Sequential Deep Matching Model for Online Large-scale Recommender
        System", section 3.4, with another query.
    """

    of_request = True

    def __init__(self, query: Filled[Column], num_heads: WholeFrom1 = 1, **kwargs) -> None:
        super().__init__(query, num_heads, **kwargs)
