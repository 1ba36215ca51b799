"""A trained model that answers requests: lookups, towers, search and filters in one graph."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.ids import MISSING
from tf_recall.data.tracing import traced
from tf_recall.index import Exact, default_index
from tf_recall.index.base import Index
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.embedding import EmbeddingRecommender
from tf_recall.recommend.filters import left_out
from tf_recall.recommend.interests import merged
from tf_recall.recommend.vector_ranks import ranks_of_products

if TYPE_CHECKING:
    import keras

BY_VECTOR = "items_by_vector"  # the endpoint


class Service(EmbeddingRecommender):
    """Answers "what for this user?" and "what is similar to this item?" with a trained model.

        recommend:  query = query_tower(inputs_from_raw(row(user_id), features))
        similar:    query = as_query(item_tower(inputs_from_raw(row(item_id), features)))
        score[item] = query . item_vector[item],  over the items let through;  the k largest

    Where the query tower gives several vectors, one for each interest, each of them is searched
    for, and the answers are merged by their highest score:
    score[item] = max over k of query[k] . item_vector[item].

    Filtered out: the request's `exclude` and, with `exclude_seen`, the user's past items and the
    history given; of similar items the item itself. Items of an `allow` list are scored exactly.
    `recommend`, `recommend_rows` (which evaluation asks) and the export run one and the same
    function, so a figure measured here is a figure of what is served; `similar` searches and
    filters with it as well. The item vectors are computed once, when the service is built.

    Args:
        query_tower: has `raw_columns` and `inputs_from_raw(rows, raw)`, and gives `[B, dim]`, or
            `[B, interests, dim]` and `shares(inputs)` beside it. Where it `takes_history`, a
            request may bring the items that a user interacted with, and the tower finds their rows
            beside its other inputs as `inputs["history"]`: `[B, L]` int32, L 0 or more, 0 where
            there is none or an unknown one. Of a row without any it uses what it has stored of the
            user.
        item_tower: the same without history, for items. Where an item's vector does not serve as a
            query as it is, `as_query` makes one of it: `[B, dim] -> [B, dim]`.
        index: built over the vectors of item rows 1, 2, ...; its position p is row p + 1.
        catalog: the vocabularies and the seen pairs.
        k_max: the most items in one answer; the catalog's size where that is less. An export
            answers with k_max.
        heads: what else is told of a user and an item, each by its endpoint.

    Raises:
        ValueError: k_max below 1, an index of another size than the catalog, or towers or an index
        of another catalog.

    Example:
        >>> service = Service.build(model, catalog)
        >>> filters = {"exclude": [["tea"], []], "exclude_seen": True}
        >>> item_id, score = service.recommend(["u17", "u4"], k=10, **filters)
        >>> item_id, score = service.similar(["tea"], k=10)
    """

    candidates = "item"  # whose vectors the index holds

    def __init__(
        self,
        query_tower: "keras.layers.Layer",
        item_tower: "keras.layers.Layer",
        index: Index,
        catalog: Catalog,
        k_max: int = 200,
        heads: "Sequence[keras.layers.Layer]" = (),
    ):
        if k_max < 1:
            raise ValueError(f"k_max must be 1 or more, got {k_max}")
        size = catalog.side(self.candidates).vocabulary.size - 1
        if index.num_items != size:
            raise ValueError(
                f"the index holds {index.num_items} vectors, the catalog {size} {self.candidates}s"
            )
        for name, tower in (("query", query_tower), ("item", item_tower)):
            check_same(f"the {name} tower", tower.identity, catalog.identity)
        check_same("the index", index.identity, catalog.identity)
        self.query_tower, self.item_tower = query_tower, item_tower
        self.index, self.catalog = index, catalog
        self._k_max = min(k_max, catalog.num_items)
        self.predictions = tuple(head.endpoint for head in heads)
        self.item_ids = tf.Variable(
            catalog.items.decode(np.arange(catalog.items.size)), trainable=False
        )
        self.seen_offsets = tf.Variable(catalog.seen.offsets, trainable=False)
        self.seen_rows = tf.Variable(catalog.seen.rows, trainable=False, shape=[None])
        inputs = self.inputs
        k = tf.TensorSpec([], tf.int32)
        self.answer = traced(self._answer, [inputs["serving_default"], k])
        self.similar_items = traced(self._similar_items, [inputs["similar_items"], k])
        self.query_vectors = traced(self._query_vectors, [inputs["embed_query"]])
        self.query_interests = traced(self._query_interests, [inputs["embed_query"]])
        self.item_vectors = traced(self._item_vectors, [inputs["embed_item"]])
        if BY_VECTOR in inputs:
            self.items_by_vector = traced(self._items_by_vector, [inputs[BY_VECTOR], k])
        self.predicted = {
            head.endpoint: traced(functools.partial(self._of_head, head), [inputs[head.endpoint]])
            for head in heads
        }

    @classmethod
    def build(
        cls, model: "keras.Model", catalog: Catalog, index: Index | None = None, k_max: int = 200
    ) -> "Service":
        """The service of a trained model: encodes the catalog and builds the index over it.

        The index's recall is measured for users of the catalog.

        Args:
            model: a trained `Retriever`.
            catalog: the catalog that it was trained on.
            index: an empty index; by default what suits the catalog's size.
            k_max: the most items in one answer.

        Raises:
            ValueError: the model was trained on another catalog.
        """
        check_same(f"this {type(model).__name__}", model.item_tower.identity, catalog.identity)
        kind = getattr(model, "service", None) or cls
        vectors = model.embed_catalog()
        index = default_index(len(vectors)) if index is None else index
        some = np.unique(np.linspace(1, catalog.users.size - 1, 256).astype(np.int32))
        raw = batch(
            {"row": tf.TensorSpec([None], tf.int64), **model.query_tower.raw_columns},
            "row",
            {"row": some},
        )
        history = np.zeros([len(some), 0], np.int32)
        queries = model.query_tower(model.query_tower.inputs_from_raw(some, raw, history))
        queries = tf.reshape(queries, [-1, vectors.shape[1]])  # of several interests each one
        digest = catalog.side(kind.candidates).vocabulary.digest
        index.build(vectors, queries).identity = {f"{kind.candidates}s": digest}
        further = getattr(model, "serving", {})
        return kind(model.query_tower, model.item_tower, index, catalog, k_max, **further)

    @property
    def k_max(self) -> int:
        return self._k_max

    @property
    def inputs(self) -> dict[str, dict[str, tf.TensorSpec]]:
        inputs = super().inputs
        if self.candidates != "item":
            return inputs
        dim = self.index.dim
        shape = [None, dim] if self.interests == 1 else [None, self.interests, dim]
        queries = inputs["serving_default"]
        given = {name: queries[name] for name in ("user_id", *self.filters)}
        return {**inputs, BY_VECTOR: {"embedding": tf.TensorSpec(shape, tf.float32), **given}}

    @property
    def query_columns(self) -> dict[str, tf.TensorSpec]:
        return self.query_tower.raw_columns

    @property
    def item_columns(self) -> dict[str, tf.TensorSpec]:
        return self.item_tower.raw_columns

    @property
    def takes_history(self) -> bool:
        return self.query_tower.takes_history

    @property
    def history_length(self) -> int | None:
        return self.query_tower.history_length

    @property
    def interests(self) -> int:
        return self.query_tower.interests

    @property
    def counts_ranks(self) -> bool:
        return isinstance(self.index, Exact)

    def _recommend(self, request, k):
        rows, score = self.answer(request.arrays, tf.constant(k, tf.int32))
        return rows.numpy(), score.numpy()

    def _once(self, request, k):
        rows, score = self._answer(request.arrays, tf.constant(k, tf.int32))  # no graph is traced
        return rows.numpy(), score.numpy()

    def _similar(self, request, k):
        rows, score = self.similar_items(request.arrays, tf.constant(k, tf.int32))
        return rows.numpy(), score.numpy()

    def _ranks(self, request, line, item, most):
        inputs = {name: request.arrays[name] for name in self.inputs["embed_query"]}
        queries = self.query_vectors(inputs).numpy()
        batch, rows = left_out(request)
        asked, absent = (line, item - 1), (batch, rows - 1)
        return ranks_of_products(queries, self.index.vectors.value(), asked, absent, most)

    def _vectors(self, endpoint, arrays):
        vectors = {"embed_query": self.query_vectors, "embed_item": self.item_vectors}
        return vectors[endpoint](arrays).numpy()

    def _predicted(self, endpoint, arrays):
        found = self.predicted[endpoint](arrays)
        return {name: each.numpy() for name, each in found.items()}

    def _of_head(self, head, inputs):
        rows = self.catalog.items.lookup(inputs["item_id"])
        return head.answer(self._query_vectors(inputs), self._item_vectors(inputs), rows)

    def _interests(self, arrays):
        return {name: each.numpy() for name, each in self.query_interests(arrays).items()}

    def _query_vectors(self, inputs):
        return self.query_tower(self._query_inputs(inputs))

    def _query_interests(self, inputs):
        """The vectors of each user's interests, and what they are made of."""
        given = self._query_inputs(inputs)
        rows, weight = self.query_tower.shares(given)
        item_id = tf.gather(self.item_ids, rows)
        return {"embedding": self.query_tower(given), "item_id": item_id, "weight": weight}

    def _query_inputs(self, inputs):
        rows = self.catalog.users.lookup(inputs["user_id"])
        raw = {name: inputs[name] for name in self.query_tower.raw_columns}
        history = self._history(inputs) if self.takes_history else None
        return self.query_tower.inputs_from_raw(rows, raw, history)

    def _history(self, inputs):
        """The item rows of the history given, `[B, L]`; L is 0 where the query tower takes none."""
        if self.takes_history:
            return self.catalog.items.lookup(inputs["history"])
        return tf.zeros([tf.size(inputs["user_id"]), 0], tf.int32)

    def _item_vectors(self, inputs):
        rows = self.catalog.items.lookup(inputs["item_id"])
        raw = {name: inputs[name] for name in self.item_tower.raw_columns}
        return self.item_tower(self.item_tower.inputs_from_raw(rows, raw))

    def _answer(self, inputs, k):
        """Item rows and scores, `[B, k]` each, for the inputs of serving_default."""
        wanted = inputs["exclude_seen"]
        seen = self._seen(self.catalog.users.lookup(inputs["user_id"]), wanted)
        history = tf.where(wanted[:, None], self._history(inputs), 0)
        own = tf.concat([seen, history], axis=1)  # [B, S + L]
        return self._nearest(self._query_vectors(inputs), own, inputs, k)

    def _items_by_vector(self, inputs, k):
        """Item rows and scores, `[B, k]` each, for the inputs of items_by_vector."""
        seen = self._seen(self.catalog.users.lookup(inputs["user_id"]), inputs["exclude_seen"])
        return self._nearest(inputs["embedding"], seen, inputs, k)

    def _similar_items(self, inputs, k):
        """Item rows and scores, `[B, k]` each, for the inputs of similar_items.

        An item of which nothing is known has none: neither a row nor a feature in the request.
        """
        vectors = self._item_vectors(inputs)
        query = self.item_tower.as_query(vectors)
        own = self.catalog.items.lookup(inputs["item_id"])  # [B]
        rows, score = self._nearest(query, own[:, None], inputs, k)
        something = ((own > 0) | self._described(inputs))[:, None]
        return tf.where(something, rows, 0), tf.where(something, score, -np.inf)

    def _described(self, inputs):
        """`[B]` bool, as `Request.described`, of the inputs of similar_items."""
        described = tf.zeros_like(inputs["item_id"], tf.bool)
        for name, spec in self.item_tower.raw_columns.items():
            value = inputs[name]
            if spec.dtype == tf.string:
                given = value != ""
            else:
                given = tf.math.is_finite(tf.cast(value, tf.float32))
            described |= given if spec.shape.rank == 1 else tf.reduce_all(given, axis=1)
        return described

    def _nearest(self, query, own, inputs, k):
        """The best k rows and their scores, within the request's lists and without the rows `own`
        [B, S].
        """
        items = self.catalog.items
        exclude = tf.concat([items.lookup(inputs["exclude"]), own], axis=1) - 1  # [B, E + S]
        allow = items.lookup(inputs["allow"]) - 1  # [B, A] positions
        restricted = tf.reduce_any(inputs["allow"] != MISSING[items.dtype], axis=1)  # [B]
        shape = [tf.size(restricted), k]
        nothing = tf.fill(shape, -np.inf), tf.fill(shape, -1)
        score, position = tf.cond(
            tf.reduce_all(restricted), lambda: nothing, lambda: self._searched(query, k, exclude)
        )
        chosen_score, chosen = tf.cond(
            tf.reduce_any(restricted),
            lambda: self._among(query, allow, exclude, k),
            lambda: nothing,
        )
        restricted = restricted[:, None]
        return tf.where(restricted, chosen, position) + 1, tf.where(restricted, chosen_score, score)

    def _searched(self, query, k, exclude):
        """The index's best k, `[B, k]`; of several queries a row those of any of them."""
        if query.shape.rank == 2:
            return self.index.search(query, k, exclude)
        count, dim = query.shape[1:]
        of_each = tf.repeat(exclude, count, axis=0)  # [B * K, E]
        score, position = self.index.search(tf.reshape(query, [-1, dim]), k, of_each)
        return merged(*(tf.reshape(found, [-1, count * k]) for found in (score, position)), k)

    def _seen(self, users, wanted):
        """The item rows that each user has seen, `[B, S]` padded with 0; S is 0 when no row wants
        them.
        """
        start = tf.gather(self.seen_offsets, users)
        length = tf.where(wanted, tf.gather(self.seen_offsets, users + 1) - start, 0)
        column = tf.range(tf.reduce_max(tf.concat([length, [0]], axis=0)))
        inside = column < length[:, None]  # [B, S]
        offset = tf.where(inside, start[:, None] + column, 0)
        return tf.where(inside, tf.gather(self.seen_rows, offset), 0)

    def _among(self, query, allow, exclude, k):
        """The best k of the positions `allow` [B, A], scored exactly, each at most once."""
        allow = tf.sort(allow, axis=1)
        repeated = tf.pad(allow[:, 1:] == allow[:, :-1], [[0, 0], [1, 0]])
        exclude = tf.pad(tf.sort(exclude, axis=1), [[0, 0], [0, 1]], constant_values=tf.int32.max)
        excluded = tf.gather(exclude, tf.searchsorted(exclude, allow), batch_dims=1) == allow
        query = tf.reshape(query, [tf.shape(query)[0], -1, query.shape[-1]])  # [B, K, D]
        score = tf.matmul(self.index.vectors_at(allow), query, transpose_b=True)  # [B, A, K]
        score = tf.reduce_max(score, axis=2)
        score = tf.where(repeated | excluded | (allow < 0), -np.inf, score)
        short = tf.maximum(k - tf.shape(score)[1], 0)
        score, order = tf.math.top_k(
            tf.pad(score, [[0, 0], [0, short]], constant_values=-np.inf), k
        )
        position = tf.gather(tf.pad(allow, [[0, 0], [0, short]]), order, batch_dims=1)
        return score, tf.where(tf.math.is_inf(score), -1, position)  # [B, k]
