"""Users like a user, and what they did: U2U2I over the vectors of users."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import MISSING
from tf_recall.data.tracing import traced
from tf_recall.index.base import Index
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.embedding import EmbeddingRecommender
from tf_recall.recommend.explanations import largest_shares
from tf_recall.recommend.request import check_k
from tf_recall.recommend.service import Service

USERS = "similar_users"  # the endpoint


class NeighborRecommender(EmbeddingRecommender):
    """What a service over users and its loaded export share: similar users, and explanations.

    Attributes:
        last: how many of their latest items users recommend.
    """

    last: int

    @property
    def inputs(self) -> dict[str, dict[str, tf.TensorSpec]]:
        inputs = super().inputs
        return {**inputs, USERS: inputs["embed_query"]}

    def similar_users(
        self, user_id: Any, k: int = 10, *, history: Any = None, **context
    ) -> tuple[np.ndarray, np.ndarray]:
        """The users most similar to each user, as raw ids: never the user themselves.

        Args:
            user_id, history, **context: as for `recommend`; with a history, it stands for the user,
                and who is asked for may be among the answers.
            k: how many, up to the neighbors that the service asks.

        Returns:
            user_id `[B, k]` and score `[B, k]` float32, falling. Where there are fewer users, the
            row ends in `""` (or -1) with score -inf.

        Raises:
            ValueError, TypeError: as `recommend`.
        """
        given = {"user_id": user_id, "history": history, **context}
        users, score = self._users(batch(self.inputs[USERS], "user_id", given, type(self).__name__))
        check_k(k, users.shape[1])
        return users[:, :k], score[:, :k]

    def _users(self, arrays):
        """Raw ids and scores of the users nearest to each, `[B, top]`."""
        raise NotImplementedError

    def _explain(self, request, item, num):
        arrays = {name: request.arrays[name] for name in self.inputs[USERS]}
        (users,), (score,) = self._users(arrays)
        rows = self.catalog.users.encode(users)
        likes = [(self.catalog.histories.of(row)[-self.last :] == item).sum() for row in rows]
        weights = np.maximum(score, 0) * np.array(likes)
        return largest_shares("user", weights, lambda best: users[best].tolist(), num)


class NeighborService(NeighborRecommender, Service):
    """Recommends what the users nearest to a user did last (METHODS.md M11, C4: U2U2I).

        near(u) = the `top` users v of largest product vector[u] . vector[v], without u
        score(u, i) = sum over v in near(u) of max(0, vector[u] . vector[v]) * like(v, i),
            like(v, i) = how often i is among the `last` items of v

    The index is over users. With a history in the request, that history is the user. Similar to an
    item is what users recommend who are near to somebody with that item and no other. Reasons are
    users: "users like you". All of it is one graph, and is exported as such.

    Args:
        query_tower, item_tower: the tower of users, twice.
        index: built over the vectors of user rows 1, 2, ...
        catalog: the vocabularies and histories.
        k_max: as `Service`.
        top, last: as in the formula.

    Raises:
        ValueError: as `Service`.

    Example:
        >>> model = Siamese(dim=32).adapt(split.train, catalog)    # and trained
        >>> service = Service.build(model, catalog)
        >>> user_id, score = service.similar_users(["u17"], k=10)
        >>> item_id, score = service.recommend(["u17"], k=10, exclude_seen=True)
    """

    candidates = "user"
    counts_ranks = False

    def __init__(
        self,
        query_tower: Any,
        item_tower: Any,
        index: Index,
        catalog: Catalog,
        k_max: int = 200,
        top: int = 100,
        last: int = 50,
    ):
        self.top = min(top, catalog.users.size - 1)
        self.last = last
        self.user_ids = tf.Variable(
            catalog.users.decode(np.arange(catalog.users.size)), trainable=False
        )
        histories = catalog.histories
        self.offsets = tf.Variable(histories.offsets, trainable=False)
        self.items = tf.Variable(histories.items, trainable=False, shape=[None])
        super().__init__(query_tower, item_tower, index, catalog, k_max)
        self.nearest_users = traced(self._nearest_users, [self.inputs[USERS]])

    def _users(self, arrays):
        rows, score = self.nearest_users(arrays)
        return self.catalog.users.decode(rows.numpy()), score.numpy()

    def _item_vectors(self, inputs):
        rows = self.catalog.items.lookup(inputs["item_id"])
        nobody = tf.zeros_like(rows)
        return self.item_tower(self.item_tower.inputs_from_raw(nobody, {}, rows[:, None]))

    def _nearest_users(self, inputs):
        """User rows and scores `[B, top]`, for the inputs of embed_query."""
        return self._near(self._query_vectors(inputs), inputs)

    def _near(self, query, inputs):
        exclude = tf.zeros([tf.shape(query)[0], 0], tf.int32)
        if "user_id" in inputs:
            given = tf.reduce_any(self._history(inputs) > 0, axis=1)
            own = self.catalog.users.lookup(inputs["user_id"])
            exclude = tf.where(given, 0, own)[:, None] - 1
        score, position = self.index.search(query, self.top, exclude)
        return position + 1, score

    def _nearest(self, query, own, inputs, k):
        rows, score = self._scored(*self._near(query, inputs))
        items = self.catalog.items
        out = tf.concat([items.lookup(inputs["exclude"]), own], axis=1)
        restricted = tf.reduce_any(inputs["allow"] != MISSING[items.dtype], axis=1, keepdims=True)
        allowed = _among(rows, items.lookup(inputs["allow"])) | ~restricted
        score = tf.where(allowed & ~_among(rows, out), score, -np.inf)  # [B, M]
        short = [[0, 0], [0, tf.maximum(k - tf.shape(score)[1], 0)]]
        score, order = tf.math.top_k(tf.pad(score, short, constant_values=-np.inf), k)
        rows = tf.gather(tf.pad(rows, short), order, batch_dims=1)
        return tf.where(tf.math.is_inf(score), 0, rows), score  # [B, k]

    def _scored(self, users, score):
        """The items of neighbors by row, and at the last of each its score, -inf elsewhere."""
        end = tf.gather(self.offsets, users + 1)[..., None]
        at = end + tf.range(-self.last, 0, dtype=end.dtype)  # [B, top, last]
        there = at >= tf.gather(self.offsets, users)[..., None]
        rows = tf.where(there, tf.gather(self.items, tf.where(there, at, 0)), 0)
        weight = tf.where(there, tf.maximum(score, 0)[..., None], 0)
        shape = [tf.shape(users)[0], self.top * self.last]
        rows, weight = tf.reshape(rows, shape), tf.reshape(weight, shape)  # [B, M]
        order = tf.argsort(rows, axis=1, stable=True)
        rows = tf.gather(rows, order, batch_dims=1)
        weight = tf.gather(weight, order, batch_dims=1)
        more = rows[:, 1:] != rows[:, :-1]
        last = tf.pad(more, [[0, 0], [0, 1]], constant_values=True)
        first = tf.pad(more, [[0, 0], [1, 0]], constant_values=True)
        run = tf.reshape(tf.cumsum(tf.cast(tf.reshape(first, [-1]), tf.int32)) - 1, shape)
        total = tf.math.segment_sum(tf.reshape(weight, [-1]), tf.reshape(run, [-1]))
        total = tf.gather(total, run)
        return rows, tf.where(last & (rows > 0) & (total > 0), total, -np.inf)


def _among(values, some):
    """Which values `[B, M]` are among some `[B, E]`, row by row: bool `[B, M]`."""
    some = tf.pad(tf.sort(some, axis=1), [[0, 0], [0, 1]], constant_values=tf.int32.max)
    at = tf.searchsorted(some, values)
    return tf.gather(some, at, batch_dims=1) == values
