"""What a node hears from its neighbors as one vector, whatever their number and order."""

import keras
import tensorflow as tf


def weighted_mean(near, weights):
    """The mean of near `[n, K, M]` by weights `[n, K]`: float32 `[n, M]`, zeros where all weights
    are 0.
    """
    weights = tf.cast(weights, tf.float32)
    shares = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
    return tf.einsum("nk,nkm->nm", shares, tf.cast(near, tf.float32))  # [n, M]


class Aggregator(keras.layers.Layer):
    """One vector of a node's neighbors, blind to their order, in two halves.

    What each node has to say is computed once, `messages`; what a node hears is taken from those,
    `pool`. A weight of 0 marks a place without a neighbor: a node may have fewer than K, or none,
    and then hears zeros. What stands in such a place makes no difference, to `pool` as long as it
    is finite. Pools are in float32 whatever the precision.

    Call: vectors `[n, D]` of the nodes, near `[n, K, D']` of their neighbors, weights `[n, K]`, at
        least 0 -> float32 `[n, pool_dim]`; D and D' may differ.

    Attributes:
        message_dim, pool_dim: lengths M and P of a message and of what a node hears; known once
            built.
        additive: whether the pool is sum(weights * messages) / sum(weights), so that it can be
            summed up in parts.
    """

    additive = False

    def __init__(self, **kwargs):
        # Weights may be counts beyond what half precision can hold: the matrices cast what they
        # take themselves.
        super().__init__(autocast=False, **kwargs)

    def build(self, vectors_shape, near_shape):
        self.built = True

    def messages(self, vectors):
        """What neighbors of these vectors say: `[m, M]` from `[m, D']`."""
        raise NotImplementedError

    def pool(self, vectors, near, weights):
        """What nodes of vectors `[n, D]` hear of messages near `[n, K, M]` with weights `[n, K]`:
        float32 `[n, P]`.
        """
        raise NotImplementedError

    def call(self, vectors, near, weights):
        # nothing of a padded place: 0 * inf is NaN
        near = tf.where(weights[..., None] > 0, near, tf.zeros_like(near))
        return self.pool(vectors, self.messages(near), weights)


class _Transformed(Aggregator):
    """Messages by a matrix."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1, got {units}")
        self.units = units

    @property
    def pool_dim(self):
        return self.units

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("tf_recall")
class Mean(Aggregator):
    """The mean of the neighbors as they are (METHODS.md M13).

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

    def build(self, vectors_shape, near_shape):
        self.message_dim = self.pool_dim = near_shape[-1]
        self.built = True

    def messages(self, vectors):
        return vectors

    def pool(self, vectors, near, weights):
        return weighted_mean(near, weights)


@keras.saving.register_keras_serializable("tf_recall")
class MaxPool(_Transformed):
    """The largest of each number that any neighbor says: whether *one* of them has a property
    (METHODS.md M13).

    messages = ReLU(Q h + q)
    pool_v = max over k with weights_k > 0 of messages_k

    Weights other than 0 make no difference.

    Args:
        units: length of a message.

    Call: as `Aggregator`; `pool_dim` is `units`.

    Raises:
        ValueError: `units` below 1.

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.3,
        equation 3.
    """

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.transform = keras.layers.Dense(units, "relu", dtype=self.dtype_policy, name="Q")

    @property
    def message_dim(self):
        return self.units

    def build(self, vectors_shape, near_shape):
        self.transform.build((None, near_shape[-1]))
        self.built = True

    def messages(self, vectors):
        return self.transform(vectors)

    def pool(self, vectors, near, weights):
        # messages are at least 0, so none may be 0
        near = near * tf.cast(weights > 0, near.dtype)[..., None]
        # of no places the largest is -inf
        return tf.nn.relu(tf.cast(tf.reduce_max(near, axis=1), tf.float32))


@keras.saving.register_keras_serializable("tf_recall")
class Attention(_Transformed):
    """A mean in which the node chooses whom to listen to (METHODS.md M13).

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

    Papers: Velickovic et al. 2018, "Graph Attention Networks", section 2.1; as an aggregator of
        GraphSAGE: Hamilton
    et al. 2017, "Inductive Representation Learning on Large Graphs".
    """

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.transform = keras.layers.Dense(
            units, use_bias=False, dtype=self.dtype_policy, name="Q"
        )
        self.said = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="a")
        self.asked = keras.layers.Dense(1, dtype=self.dtype_policy, name="b")

    @property
    def message_dim(self):
        return self.units + 1

    def build(self, vectors_shape, near_shape):
        self.transform.build((None, near_shape[-1]))
        self.said.build((None, self.units))
        self.asked.build((None, vectors_shape[-1]))
        self.built = True

    def messages(self, vectors):
        said = self.transform(vectors)
        return tf.concat([said, self.said(said)], axis=-1)

    def pool(self, vectors, near, weights):
        weights, known = tf.cast(weights, tf.float32), weights > 0
        scores = tf.cast(self.asked(vectors), tf.float32) + tf.cast(
            near[..., -1], tf.float32
        )  # [n, K]
        scores = tf.nn.leaky_relu(scores) + tf.math.log(tf.where(known, weights, 1.0))
        shares = tf.nn.softmax(tf.where(known, scores, scores.dtype.min), axis=1)
        return weighted_mean(near, tf.where(known, shares, 0.0))[:, :-1]  # [n, units]


@keras.saving.register_keras_serializable("tf_recall")
class Concat(Aggregator):
    """What several aggregators hear, side by side (METHODS.md M13): still blind to the neighbors'
    order.

    messages = [messages_1 ; ... ; messages_n]
    pool_v = [pool_1 ; ... ; pool_n]

    Args:
        aggregators: one or more.

    Call: as `Aggregator`; `pool_dim` is the sum of theirs.

    Raises:
        ValueError: no aggregators, or something that is none.

    Example:
        >>> two_heads_and_the_mean = Concat([Attention(16), Attention(16), Mean()])
    """

    def __init__(self, aggregators, **kwargs):
        super().__init__(**kwargs)
        self.aggregators = [checked(each) for each in aggregators]
        if not self.aggregators:
            raise ValueError("Concat needs at least one aggregator, and has none")

    @property
    def message_dim(self):
        return sum(each.message_dim for each in self.aggregators)

    @property
    def pool_dim(self):
        return sum(each.pool_dim for each in self.aggregators)

    @property
    def additive(self):
        return all(each.additive for each in self.aggregators)

    def build(self, vectors_shape, near_shape):
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
        pairs = zip(self.aggregators, parts, strict=True)
        return tf.concat(
            [each.pool(vectors, part, weights) for each, part in pairs], axis=-1
        )  # [n, P]

    def get_config(self):
        return {
            **super().get_config(),
            "aggregators": [keras.saving.serialize_keras_object(each) for each in self.aggregators],
        }

    @classmethod
    def from_config(cls, config):
        aggregators = [
            keras.saving.deserialize_keras_object(each) for each in config["aggregators"]
        ]
        return cls(**{**config, "aggregators": aggregators})


def checked(aggregator):
    """The aggregator itself, or an error that says what is one."""
    if not isinstance(aggregator, Aggregator):
        raise ValueError(
            "aggregators are Mean(), MaxPool(units), Attention(units) and Concat([...]), got "
            f"{aggregator!r}"
        )
    return aggregator
