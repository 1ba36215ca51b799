"""Aggregators: the messages of a node's neighbors become one vector, in whatever order."""

import keras
import tensorflow as tf

from tf_recall.data.ranges import Filled, WholeFrom1


def weighted_mean(near: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The weighted mean of each node's messages; zeros where all weights are 0.

    Args:
        near: `[n, K, M]`.
        weights: `[n, K]`, at least 0.

    Returns:
        Float32 `[n, M]`.
    """
    weights = tf.cast(weights, tf.float32)
    shares = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
    return tf.einsum("nk,nkm->nm", shares, tf.cast(near, tf.float32))  # [n, M]


class Aggregator(keras.layers.Layer):
    """One vector of a node's neighbors that does not depend on their order, in two steps.

    `messages` computes the message of each node, once; `pool` aggregates the messages of a node's
    neighbors. A weight of 0 marks padding: a node may have fewer than K neighbors, or none, and
    then its pool is zeros. The values of padding change nothing; `pool` needs them finite. Pools
    are float32 whatever the precision.

    Call: vectors `[n, D]` of the nodes, near `[n, K, D']` of their neighbors, weights `[n, K]`, at
        least 0 -> float32 `[n, pool_dim]`; D and D' may differ.

    Attributes:
        message_dim, pool_dim: lengths M and P of a message and of a pool; known once built.
        additive: whether the pool is sum(weights * messages) / sum(weights), so that partial sums
            can be added up.
    """

    additive = False

    def __init__(self, **kwargs):
        # Weights may be counts beyond half precision; the matrices cast their own inputs.
        super().__init__(autocast=False, **kwargs)

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.built = True

    def messages(self, vectors: tf.Tensor) -> tf.Tensor:
        """The messages `[m, M]` of neighbors with vectors `[m, D']`."""
        raise NotImplementedError

    def pool(self, vectors: tf.Tensor, near: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """The aggregate of each node's messages: float32 `[n, P]`.

        Args:
            vectors: `[n, D]`, of the nodes themselves.
            near: `[n, K, M]`, the messages of their neighbors.
            weights: `[n, K]`, at least 0.
        """
        raise NotImplementedError

    def call(self, vectors: tf.Tensor, near: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        # padding at 0: 0 * inf is NaN
        near = tf.where(weights[..., None] > 0, near, tf.zeros_like(near))
        return self.pool(vectors, self.messages(near), weights)


class _Transformed(Aggregator):
    """Messages by a matrix."""

    tunable = {"units": [16, 256, "log"]}

    def __init__(self, units: WholeFrom1, **kwargs) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1, got {units}")
        self.units = units

    @property
    def pool_dim(self) -> int:
        return self.units

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("tf_recall")
class Mean(Aggregator):
    """The weighted mean of the neighbors' vectors (METHODS.md M13).

    messages = h
    pool_v = sum_k weights_k h_k / sum_k weights_k

    Call: as `Aggregator`; `pool_dim` is D'.

    Example:
        >>> near, weights = tf.constant([[[2.0], [4.0], [9.0]]]), tf.constant([[1.0, 3.0, 0.0]])
        >>> Mean()(tf.zeros([1, 3]), near, weights).numpy()
        array([[3.5]], dtype=float32)

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.3.
    """

    additive = True

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.message_dim = self.pool_dim = near_shape[-1]
        self.built = True

    def messages(self, vectors):
        return vectors

    def pool(self, vectors, near, weights):
        return weighted_mean(near, weights)


@keras.saving.register_keras_serializable("tf_recall")
class MaxPool(_Transformed):
    """The maximum over the neighbors' messages, number by number (METHODS.md M13).

    messages = ReLU(Q h + q)
    pool_v = max over k with weights_k > 0 of messages_k

    It shows whether *one* of the neighbors has a property. Weights above 0 all count the same.

    Args:
        units: length of a message.

    Call: as `Aggregator`; `pool_dim` is `units`.

    Raises:
        ValueError: `units` below 1.

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.3,
        equation 3.
    """

    def __init__(self, units: WholeFrom1, **kwargs) -> None:
        super().__init__(units, **kwargs)
        self.transform = keras.layers.Dense(units, "relu", dtype=self.dtype_policy, name="Q")

    @property
    def message_dim(self) -> int:
        return self.units

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.transform.build((None, near_shape[-1]))
        self.built = True

    def messages(self, vectors):
        return self.transform(vectors)

    def pool(self, vectors, near, weights):
        # messages are at least 0, so padding may be 0
        near = near * tf.cast(weights > 0, near.dtype)[..., None]
        # the maximum over no neighbors is -inf
        return tf.nn.relu(tf.cast(tf.reduce_max(near, axis=1), tf.float32))


@keras.saving.register_keras_serializable("tf_recall")
class Attention(_Transformed):
    """A mean whose weights depend on the node and on each neighbor (METHODS.md M13).

    messages_u = [Q h_u ; a . Q h_u]
    score_vk = LeakyReLU(b . h_v + c + a . Q h_k)
    share_vk = weights_k exp(score_vk) / sum_j weights_j exp(score_vj)
    pool_v = sum_k share_vk Q h_k

    So a neighbor of weight 2 counts like one that is there twice. Several heads are a `Concat` of
    several of these.

    Args:
        units: length of Q h.

    Call: as `Aggregator`; `pool_dim` is `units`.

    Raises:
        ValueError: `units` below 1.

    Paper: Velickovic et al. 2018, "Graph Attention Networks", section 2.1.
    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.3.
    """

    def __init__(self, units: WholeFrom1, **kwargs) -> None:
        super().__init__(units, **kwargs)
        self.transform = keras.layers.Dense(
            units, use_bias=False, dtype=self.dtype_policy, name="Q"
        )
        self.of_message = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="a")
        self.of_node = keras.layers.Dense(1, dtype=self.dtype_policy, name="b")

    @property
    def message_dim(self) -> int:
        return self.units + 1

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.transform.build((None, near_shape[-1]))
        self.of_message.build((None, self.units))
        self.of_node.build((None, vectors_shape[-1]))
        self.built = True

    def messages(self, vectors):
        messages = self.transform(vectors)
        return tf.concat([messages, self.of_message(messages)], axis=-1)

    def pool(self, vectors, near, weights):
        known = weights > 0
        weights = tf.cast(weights, tf.float32)
        of_node = tf.cast(self.of_node(vectors), tf.float32)  # [n, 1]
        scores = of_node + tf.cast(near[..., -1], tf.float32)  # [n, K]
        scores = tf.nn.leaky_relu(scores) + tf.math.log(tf.where(known, weights, 1.0))
        shares = tf.nn.softmax(tf.where(known, scores, scores.dtype.min), axis=1)
        return weighted_mean(near, tf.where(known, shares, 0.0))[:, :-1]  # [n, units]


@keras.saving.register_keras_serializable("tf_recall")
class Concat(Aggregator):
    """The pools of several aggregators, concatenated (METHODS.md M13).

    messages = [messages_1 ; ... ; messages_n]
    pool_v = [pool_1 ; ... ; pool_n]

    Args:
        aggregators: one or more.

    Call: as `Aggregator`; `pool_dim` is the sum of theirs.

    Raises:
        ValueError: no aggregators, or something that is not an aggregator.

    Example:
        >>> two_heads_and_the_mean = Concat([Attention(16), Attention(16), Mean()])
    """

    def __init__(self, aggregators: Filled[Aggregator], **kwargs) -> None:
        super().__init__(**kwargs)
        self.aggregators = [checked(each) for each in aggregators]
        if not self.aggregators:
            raise ValueError("Concat needs at least one aggregator, and has none")

    @property
    def message_dim(self) -> int:
        return sum(each.message_dim for each in self.aggregators)

    @property
    def pool_dim(self) -> int:
        return sum(each.pool_dim for each in self.aggregators)

    @property
    def additive(self) -> bool:
        return all(each.additive for each in self.aggregators)

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        for each in self.aggregators:
            if not each.built:
                each.build(vectors_shape, near_shape)
        self.built = True

    def messages(self, vectors):
        return tf.concat(
            [tf.cast(each.messages(vectors), self.compute_dtype) for each in self.aggregators],
            axis=-1,
        )

    def pool(self, vectors, near, weights):
        parts = tf.split(near, [each.message_dim for each in self.aggregators], axis=-1)
        pools = [
            each.pool(vectors, part, weights)
            for each, part in zip(self.aggregators, parts, strict=True)
        ]
        return tf.concat(pools, axis=-1)  # [n, P]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "aggregators": [keras.saving.serialize_keras_object(each) for each in self.aggregators],
        }

    @classmethod
    def from_config(cls, config: dict) -> "Concat":
        aggregators = [
            keras.saving.deserialize_keras_object(each) for each in config["aggregators"]
        ]
        return cls(**{**config, "aggregators": aggregators})


def checked(aggregator: Aggregator) -> Aggregator:
    """Returns the aggregator.

    Raises:
        ValueError: it is not an aggregator.
    """
    if not isinstance(aggregator, Aggregator):
        raise ValueError(
            "aggregators are Mean(), MaxPool(units), Attention(units) and Concat([...]), got "
            f"{aggregator!r}"
        )
    return aggregator
