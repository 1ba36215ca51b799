"""Graph convolutions: a node's next vector from its own vector and its neighbors' messages."""

import keras
import tensorflow as tf

from tf_recall.towers.aggregators import Aggregator, checked, weighted_mean

SHORT = 1e-12  # squared lengths up to here count as 0


def unit_length(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors `[..., D]` at length 1, float32; zeros stay zeros, with a finite gradient."""
    vectors = tf.cast(vectors, tf.float32)
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.math.rsqrt(tf.where(squares > SHORT, squares, 1.0))


class Convolution(keras.layers.Layer):
    """One layer of a graph network in three steps: messages, pool, update.

    h_v = update(h_v, pool(h_v, messages(h_u of the neighbors u), weights))

    `call` does all three for neighbors that come as vectors. A model, or an inference over a whole
    graph, calls `messages` once for each node, not for each edge, looks them up for the neighbors,
    then calls `pool` and `update`. A weight of 0 marks padding, whose values change nothing; `pool`
    needs them finite.

    Args:
        dim: length of the new vector.

    Call: vectors `[n, D]` of the nodes, near `[n, K, D']` of their neighbors, weights `[n, K]`, at
        least 0 -> `[n, dim]`; D and D' may differ, as users' and items' do.

    Attributes:
        message_dim, pool_dim: lengths M and P of a message and of a pool; known once built.
        additive: whether the pool is sum(weights * messages) / sum(weights), so that partial sums
            can be added up.

    Raises:
        ValueError: `dim` below 1.
    """

    def __init__(self, dim: int, **kwargs) -> None:
        # Weights may be counts beyond half precision; the matrices cast their own inputs.
        super().__init__(autocast=False, **kwargs)
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        self.dim = dim

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

    def update(self, vectors: tf.Tensor, pooled: tf.Tensor) -> tf.Tensor:
        """The new vectors `[n, dim]` from the old `[n, D]` and the pools `[n, P]`."""
        raise NotImplementedError

    def call(self, vectors: tf.Tensor, near: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        # padding at 0: 0 * inf is NaN
        near = tf.where(weights[..., None] > 0, near, tf.zeros_like(near))
        return self.update(vectors, self.pool(vectors, self.messages(near), weights))

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim}


@keras.saving.register_keras_serializable("tf_recall")
class SAGEConvolution(Convolution):
    """A layer of GraphSAGE (METHODS.md M13).

    h_v = activation(W pool_v + B h_v), the pool by an aggregator

    It learns how to compute a vector from features and neighbors, not the vectors themselves: nodes
    that training has not seen get vectors too.

    Args:
        dim: length of the new vector.
        aggregator: `Mean()`, `MaxPool(units)`, `Attention(units)` or a `Concat` of some.
        activation: name of a Keras activation, or None.
        normalize: bring the new vector to length 1.

    Call: as `Convolution`.

    Raises:
        ValueError: `dim` below 1, or no such aggregator or activation.

    Example:
        >>> layer = SAGEConvolution(64, MaxPool(64))
        >>> layer(tf.ones([5, 32]), tf.ones([5, 10, 16]), tf.ones([5, 10])).shape
        TensorShape([5, 64])

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", sections 3.1
        and 3.3.
    """

    def __init__(
        self,
        dim: int,
        aggregator: Aggregator,
        activation: str | None = "relu",
        normalize: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(dim, **kwargs)
        self.aggregator = checked(aggregator)
        self.normalize = normalize
        self.activation = keras.activations.get(activation)
        self.of_pool = keras.layers.Dense(dim, use_bias=False, dtype=self.dtype_policy, name="W")
        self.of_own = keras.layers.Dense(dim, use_bias=False, dtype=self.dtype_policy, name="B")

    @property
    def message_dim(self) -> int:
        return self.aggregator.message_dim

    @property
    def pool_dim(self) -> int:
        return self.aggregator.pool_dim

    @property
    def additive(self) -> bool:
        return self.aggregator.additive

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        if not self.aggregator.built:
            self.aggregator.build(vectors_shape, near_shape)
        self.of_pool.build((None, self.pool_dim))
        self.of_own.build((None, vectors_shape[-1]))
        self.built = True

    def messages(self, vectors):
        return self.aggregator.messages(vectors)

    def pool(self, vectors, near, weights):
        return self.aggregator.pool(vectors, near, weights)

    def update(self, vectors, pooled):
        new = self.activation(self.of_pool(pooled) + self.of_own(vectors))
        return tf.cast(unit_length(new), new.dtype) if self.normalize else new  # [n, dim]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "aggregator": keras.saving.serialize_keras_object(self.aggregator),
            "activation": keras.activations.serialize(self.activation),
            "normalize": self.normalize,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SAGEConvolution":
        return cls(
            **{**config, "aggregator": keras.saving.deserialize_keras_object(config["aggregator"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class PinSageConvolution(Convolution):
    """A layer of PinSage (METHODS.md M14).

    messages_u = ReLU(Q h_u + q)
    pool_v = sum_k weights_k messages_k / sum_k weights_k
    h_v = ReLU(W [pool_v ; h_v] + w), brought to length 1

    The weights are counts of visits by random walks from v.

    Args:
        dim: length of the new vector.
        units: length of a message.

    Call: as `Convolution`.

    Raises:
        ValueError: `dim` or `units` below 1.

    Example:
        >>> layer = PinSageConvolution(64, units=128)
        >>> layer(tf.ones([5, 32]), tf.ones([5, 10, 32]), tf.ones([5, 10])).shape
        TensorShape([5, 64])

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", sections 3.1 and 3.2.
    """

    additive = True

    def __init__(self, dim: int, units: int, **kwargs) -> None:
        super().__init__(dim, **kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1, got {units}")
        self.units = units
        self.transform = keras.layers.Dense(units, "relu", dtype=self.dtype_policy, name="Q")
        self.join = keras.layers.Dense(dim, "relu", dtype=self.dtype_policy, name="W")

    @property
    def message_dim(self) -> int:
        return self.units

    @property
    def pool_dim(self) -> int:
        return self.units

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.transform.build((None, near_shape[-1]))
        self.join.build((None, self.units + vectors_shape[-1]))
        self.built = True

    def messages(self, vectors):
        return self.transform(vectors)

    def pool(self, vectors, near, weights):
        return weighted_mean(near, weights)

    def update(self, vectors, pooled):
        new = self.join(tf.concat([pooled, tf.cast(vectors, pooled.dtype)], axis=1))
        return tf.cast(unit_length(new), new.dtype)  # [n, dim]

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


class Wrapped(Convolution):
    """A convolution around another, whose messages and pools it has.

    Args:
        convolution: the other one.
    """

    def __init__(self, convolution: Convolution, **kwargs) -> None:
        super().__init__(convolution.dim, **kwargs)
        self.convolution = convolution

    @property
    def message_dim(self) -> int:
        return self.convolution.message_dim

    @property
    def pool_dim(self) -> int:
        return self.convolution.pool_dim

    @property
    def additive(self) -> bool:
        return self.convolution.additive

    def messages(self, vectors):
        return self.convolution.messages(vectors)

    def pool(self, vectors, near, weights):
        return self.convolution.pool(vectors, near, weights)

    def get_config(self) -> dict:
        config = super().get_config()
        del config["dim"]
        return {**config, "convolution": keras.saving.serialize_keras_object(self.convolution)}

    @classmethod
    def from_config(cls, config: dict) -> "Wrapped":
        convolution = keras.saving.deserialize_keras_object(config["convolution"])
        return cls(**{**config, "convolution": convolution})


@keras.saving.register_keras_serializable("tf_recall")
class Gated(Wrapped):
    """A convolution behind a gate that starts at 0.

    h_v = g * convolution(h_v, neighbors of v)

    g has a number for each of `dim`. Where a node type has several relations, one adds to the
    node's own vector, `Residual`, and the others are so: the own vector counts once.

    Args:
        convolution: what is behind the gate.

    Call: as `Convolution`.

    Paper: Bachlechner et al. 2021, "ReZero is All You Need: Fast Convergence at Large Depth",
        section 3.
    """

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        if not self.convolution.built:
            self.convolution.build(vectors_shape, near_shape)
        self.gate = self.add_weight(name="gate", shape=(self.dim,), initializer="zeros")
        self.built = True

    def update(self, vectors: tf.Tensor, pooled: tf.Tensor) -> tf.Tensor:
        new = self.convolution.update(vectors, pooled)  # [n, dim]
        return tf.cast(self.gate, new.dtype) * new


@keras.saving.register_keras_serializable("tf_recall")
class Residual(Gated):
    """A convolution that adds to a node's own vector, by a gate that starts at 0.

    h_v = S h_v + g * convolution(h_v, neighbors of v)

    S is the identity, or a matrix where the lengths differ; g has a number for each of `dim`. So a
    graph model starts as the model of the features alone, and learns what the neighbors add: a node
    that has few, or none, is no worse for them.

    Args:
        convolution: what is added.

    Call: as `Convolution`.

    Example:
        >>> layer = Residual(SAGEConvolution(2, Mean()))
        >>> layer(tf.constant([[3.0, 4.0]]), tf.ones([1, 10, 16]), tf.ones([1, 10])).numpy()
        array([[3., 4.]], dtype=float32)

    Paper: Bachlechner et al. 2021, "ReZero is All You Need: Fast Convergence at Large Depth",
        section 3.
    """

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.own = None
        if vectors_shape[-1] != self.dim:
            self.own = keras.layers.Dense(
                self.dim, use_bias=False, dtype=self.dtype_policy, name="S"
            )
            self.own.build((None, vectors_shape[-1]))
        super().build(vectors_shape, near_shape)

    def update(self, vectors: tf.Tensor, pooled: tf.Tensor) -> tf.Tensor:
        new = super().update(vectors, pooled)
        own = vectors if self.own is None else self.own(vectors)
        return tf.cast(own, new.dtype) + new  # [n, dim]
