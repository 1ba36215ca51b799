"""A transformer over a few vectors that have weights instead of an order, such as neighbors."""

import keras
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1
from tf_recall.towers.aggregators import Aggregator, weighted_mean


class TransformerBlock(keras.layers.Layer):
    """Self-attention among vectors, then a small MLP of each, added to what came in.

    y = x + O attention(norm(x));  attention(x)_q = sum_k share_qk V x_k
    share_qk = weights_k exp(Q x_q . K x_k / sqrt(d)) / sum_j weights_j exp(Q x_q . K x_j / sqrt(d))
    z = y + W2 ReLU(W1 norm(y))

    So a vector of weight 2 counts like one that is there twice, and one of weight 0 is not there.
    O and W2 start at 0.

    Args:
        size: length D of the vectors.
        heads: of the attention, each over d = D / heads numbers.
        units: size of the hidden layer W1.

    Call: x `[n, T, D]`, weights `[n, T]`, at least 0 and one of each line above it -> `[n, T, D]`.

    Raises:
        ValueError: heads that do not divide the size.

    Paper: Vaswani et al. 2017, "Attention Is All You Need", section 3.
    Departs from the paper: what goes in is normed, not what comes out (pre-norm); there is no
        order.
    """

    def __init__(self, size: int, heads: int, units: int, **kwargs) -> None:
        # Weights may be counts beyond half precision; the matrices cast their own inputs.
        super().__init__(autocast=False, **kwargs)
        if size % heads:
            raise ValueError(f"heads must divide the length of the vectors, {size}, not {heads}")
        self.size = size
        self.heads = heads
        layers, policy = keras.layers, {"dtype": self.dtype_policy}
        self.norms = [layers.LayerNormalization(epsilon=1e-6, **policy) for _ in range(2)]
        self.inputs = layers.Dense(3 * size, use_bias=False, name="QKV", **policy)
        # what is added starts at 0: the block begins as nothing, and learns what helps
        self.outputs = layers.Dense(
            size, use_bias=False, kernel_initializer="zeros", name="O", **policy
        )
        self.hidden = layers.Dense(units, "relu", name="W1", **policy)
        self.back = layers.Dense(size, kernel_initializer="zeros", name="W2", **policy)

    def build(self, input_shape: tuple | None = None) -> None:
        shape = (None, None, self.size)
        for layer in (*self.norms, self.inputs, self.outputs, self.hidden):
            layer.build(shape)
        self.back.build((None, None, self.hidden.units))
        self.built = True

    def call(self, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        x += self.outputs(self._attended(self.norms[0](x), weights))
        return x + self.back(self.hidden(self.norms[1](x)))

    def _attended(self, x, weights):
        shape = tf.shape(x)
        split = [shape[0], shape[1], 3, self.heads, self.size // self.heads]
        query, key, value = tf.unstack(tf.reshape(self.inputs(x), split), axis=2)  # [n, T, h, d]
        scores = tf.cast(tf.einsum("nqhd,nkhd->nhqk", query, key), tf.float32)
        scores /= (self.size // self.heads) ** 0.5
        weights = tf.cast(weights, tf.float32)
        there = weights > 0
        log = tf.where(there, tf.math.log(tf.where(there, weights, 1.0)), tf.float32.min)
        shares = tf.nn.softmax(tf.maximum(scores + log[:, None, None], tf.float32.min))
        found = tf.einsum("nhqk,nkhd->nqhd", tf.cast(shares, value.dtype), value)
        return tf.reshape(found, [shape[0], shape[1], self.size])


@keras.saving.register_keras_serializable("tf_recall")
class TransformerMean(Aggregator):
    """A node and its neighbors as a sequence through a transformer, then the mean (METHODS.md M16).

    messages_u = Q h_u
    pool_v = mean of TransformerBlock([P h_v ; messages of the neighbors]), by weight, of v 1

    Each neighbor is read beside the node and the other neighbors. A neighbor of weight 2 counts
    like one that is there twice. The work grows with the square of the neighbors: of more than
    `most`, that many are read, spread evenly over all as they come, which is by falling weight in
    graphs of visits, else by row.

    Args:
        units: length of a message, and of the pool.
        heads: of the attention; they divide `units`.
        hidden: size of the block's hidden layer; None: twice `units`.
        most: how many neighbors are read, at most.

    Call: as `Aggregator`; `pool_dim` is `units`.

    Raises:
        ValueError: a number below 1, or heads that do not divide `units`.

    Paper: Liu et al. 2020, "Graph Neural Network for Tag Ranking in Tag-enhanced Video
        Recommendation", section 4.
    """

    tunable = {"units": [16, 256, "log"], "heads": {"choices": [1, 2, 4]}}

    def __init__(
        self,
        units: WholeFrom1,
        heads: WholeFrom1 = 2,
        hidden: WholeFrom1 | None = None,
        most: WholeFrom1 = 50,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if min(units, heads, hidden or 1, most) < 1:
            raise ValueError(
                f"units, heads, hidden and most must be at least 1, got {units}, {heads}, "
                f"{hidden}, {most}"
            )
        self.units = units
        self.heads = heads
        self.hidden = hidden
        self.most = most
        policy = {"use_bias": False, "dtype": self.dtype_policy}
        self.transform = keras.layers.Dense(units, name="Q", **policy)
        self.of_node = keras.layers.Dense(units, name="P", **policy)
        self.block = TransformerBlock(units, heads, hidden or 2 * units, dtype=self.dtype_policy)

    @property
    def message_dim(self) -> int:
        return self.units

    @property
    def pool_dim(self) -> int:
        return self.units

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.transform.build((None, near_shape[-1]))
        self.of_node.build((None, vectors_shape[-1]))
        self.block.build()
        self.built = True

    def messages(self, vectors):
        return self.transform(vectors)

    def pool(self, vectors, near, weights):
        near, weights = spread(near, weights, self.most)
        weights = tf.cast(weights, tf.float32)
        own = tf.cast(self.of_node(vectors), near.dtype)[:, None]  # [n, 1, units]
        counted = tf.concat([tf.ones([tf.shape(weights)[0], 1]), weights], axis=1)  # [n, 1 + K]
        pooled = weighted_mean(self.block(tf.concat([own, near], axis=1), counted), counted)
        return tf.where(tf.reduce_any(weights > 0, axis=1, keepdims=True), pooled, 0.0)

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("units", "heads", "hidden", "most")}
        return {**super().get_config(), **own}


def spread(near: tf.Tensor, weights: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Up to `most` of each node's neighbors, evenly spread over those of a weight above 0.

    Args:
        near: `[n, K, M]`.
        weights: `[n, K]`.
        most: how many to keep.

    Returns:
        `[n, min(K, most), M]` and `[n, min(K, most)]`.
    """
    if near.shape[1] is not None and near.shape[1] <= most:
        return tf.convert_to_tensor(near), weights
    there = tf.cast(weights > 0, tf.int32)
    order = tf.argsort(there, axis=1, direction="DESCENDING", stable=True)
    num = tf.shape(there)[1]
    count = tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), most)  # [n, 1]
    step = tf.range(tf.minimum(num, most))[None]
    chosen = tf.gather(order, tf.minimum(step * count // most, num - 1), batch_dims=1)
    return tf.gather(near, chosen, batch_dims=1), tf.gather(weights, chosen, batch_dims=1)
