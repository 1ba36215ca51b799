"""A transformer over a few vectors that have weights instead of an order, such as neighbors."""

import keras
import numpy as np
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
    like one that is there twice. More neighbors than `group` are read in groups of about equal
    sizes, up to that one, and the pool is the mean over the groups: so a node with all of its
    neighbors is read as training reads it with the few that it draws, and the work grows with the
    neighbors, not with their square. Groups are made by the messages' first numbers, dealt like
    cards: the order of the neighbors makes no difference. Of more than `most` neighbors, that many
    are read, spread evenly over all.

    Args:
        units: length of a message, and of the pool.
        heads: of the attention; they divide `units`.
        hidden: size of the block's hidden layer; None: twice `units`.
        group: how many neighbors are read beside one another, at most; best what training draws.
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
        group: WholeFrom1 = 10,
        most: WholeFrom1 = 100,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if min(units, heads, hidden or 1, group, most) < 1:
            raise ValueError(
                f"units, heads, hidden, group and most must be at least 1, got {units}, {heads}, "
                f"{hidden}, {group}, {most}"
            )
        self.units = units
        self.heads = heads
        self.hidden = hidden
        self.group = group
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
        own = self.of_node(vectors)  # [n, units]
        if near.shape[1] is not None and near.shape[1] <= self.group:
            return self._read(own, near, weights)
        near, weights = groups(near, weights, self.group, self.most)
        num, size = weights.shape[1] or tf.shape(weights)[1], self.group
        beside = tf.reshape(near, [-1, size, self.units])  # [n * G, size, units]
        pooled = self._read(tf.repeat(own, num, axis=0), beside, tf.reshape(weights, [-1, size]))
        pooled = tf.reshape(pooled, [-1, num, self.units])
        return weighted_mean(pooled, tf.reduce_sum(weights, axis=2))

    def _read(self, own, near, weights):
        weights = tf.cast(weights, tf.float32)
        counted = tf.concat([tf.ones([tf.shape(weights)[0], 1]), weights], axis=1)  # [n, 1 + K]
        tokens = tf.concat([tf.cast(own, near.dtype)[:, None], near], axis=1)
        pooled = weighted_mean(self.block(tokens, counted), counted)
        return tf.where(tf.reduce_any(weights > 0, axis=1, keepdims=True), pooled, 0.0)

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("units", "heads", "hidden", "group", "most")}
        return {**super().get_config(), **own}


def groups(
    near: tf.Tensor, weights: tf.Tensor, size: int, most: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Deals each node's neighbors into as few groups of up to `size` as hold them.

    Args:
        near: `[n, K, M]`.
        weights: `[n, K]`; those of weight 0 are none.
        size: of a group.
        most: how many to deal, spread evenly over all by their first numbers.

    Returns:
        float `[n, G, size, M]` and float32 `[n, G, size]`, weight 0 where a group has fewer.
    """
    num = tf.maximum(-(-tf.minimum(tf.shape(weights)[1], most) // size), 1)
    near = tf.pad(near, [[0, 0], [0, 1], [0, 0]])  # there may be no neighbors at all
    weights = tf.pad(tf.cast(weights, tf.float32), [[0, 0], [0, 1]])
    there = weights > 0
    order = tf.argsort(tf.where(there, tf.cast(near[..., 0], tf.float32), np.inf), axis=1)
    count = tf.reduce_sum(tf.cast(there, tf.int32), axis=1)[:, None, None]
    kept = tf.minimum(count, most)
    own = tf.maximum(-(-kept // size), 1)  # how many groups a node has, [n, 1, 1]
    group, place = tf.range(num)[:, None], tf.range(size)
    card = place * own + group  # [n, G, size]
    dealt = (group < own) & (card < kept)
    rank = tf.where(dealt, card * count // tf.maximum(kept, 1), 0)
    at = tf.gather(order, rank, batch_dims=1)
    found = tf.gather(weights, at, batch_dims=1)
    return tf.gather(near, at, batch_dims=1), tf.where(dealt, found, 0.0)
