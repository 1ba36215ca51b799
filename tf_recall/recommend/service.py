"""Raw ids of users or items in, raw item ids out. What is evaluated is what is exported is what is
served.
"""

import numpy as np
import tensorflow as tf

from tf_recall.data.ids import MISSING
from tf_recall.index import default_index
from tf_recall.recommend.explanations import explained
from tf_recall.recommend.request import batch, check_k


class Service:
    """The whole answer to "what for this user?" and "what is like this item?": lookups, towers,
    search, filters, ids.

        recommend:  query = query_tower(inputs_from_raw(row(user_id), features))
        similar:    query = as_query(item_tower(inputs_from_raw(row(item_id), features)))
        score[item] = query . item_vector[item],  over the items allowed and not left out;  the k
        largest

    Left out is what the request excludes, and besides what a user has seen where that is asked for,
    and the item itself among those like it. `recommend`, `recommend_rows` (which evaluation asks)
    and the export run one and the same function, so a figure measured here is a figure of what is
    served; `similar` searches and filters with it as well. The item vectors are computed once, when
    the service is built.

    Args:
        query_tower: has `raw_columns` and `inputs_from_raw(rows, raw)`, and gives `[B, dim]`. With
            a true attribute `takes_history` a request may bring the items that a user took, and the
            tower finds their rows beside its other inputs as `inputs["history"]`: `[B, L]` int32, L
            0 or more, 0 where there is none or an unknown one. Of a row without any it uses what it
            has stored of the user.
        item_tower: the same without history, for items. Where an item's vector does not serve as a
            query as it is, `as_query` makes one of it: `[B, dim] -> [B, dim]`.
        index: built over the vectors of item rows 1, 2, ...; its position p is row p + 1.
        catalog: the vocabularies and the seen pairs.
        k_max: the most items in one answer; the catalog's size where that is less. An export
            answers with k_max.

    Raises:
        ValueError: k_max below 1, an index of another size than the catalog.

    Example:
        >>> service = Service.build(model, catalog)
        >>> filters = {"exclude": [["tea"], []], "exclude_seen": True}
        >>> item_id, score = service.recommend(["u17", "u4"], k=10, **filters)
        >>> item_id, score = service.similar(["tea"], k=10)
    """

    def __init__(self, query_tower, item_tower, index, catalog, k_max=200):
        if k_max < 1:
            raise ValueError(f"k_max must be 1 or more, got {k_max}")
        if index.num_items != catalog.num_items:
            raise ValueError(
                f"the index holds {index.num_items} vectors, the catalog {catalog.num_items} items"
            )
        self.query_tower, self.item_tower, self.index, self.catalog = (
            query_tower,
            item_tower,
            index,
            catalog,
        )
        self.k_max = min(k_max, catalog.num_items)
        self.takes_history = query_tower.takes_history
        self.item_ids = tf.Variable(
            catalog.items.decode(np.arange(catalog.items.size)), trainable=False
        )
        self.seen_offsets = tf.Variable(catalog.seen.offsets, trainable=False)
        self.seen_rows = tf.Variable(catalog.seen.rows, trainable=False, shape=[None])
        inputs = self.inputs
        k = tf.TensorSpec([], tf.int32)
        self.answer = tf.function(self._answer, [inputs["serving_default"], k])
        self.similar_items = tf.function(self._similar_items, [inputs["similar_items"], k])
        self.query_vectors = tf.function(self._query_vectors, [inputs["embed_query"]])
        self.item_vectors = tf.function(self._item_vectors, [inputs["embed_item"]])

    @classmethod
    def build(cls, model, catalog, index=None, k_max=200) -> "Service":
        """Encodes the catalog once and builds the index over it; its recall is measured for users
        of the catalog.

        Args:
            model: a trained `Retriever`.
            catalog: the catalog that it was trained on.
            index: an empty index; by default what suits the catalog's size.
            k_max: the most items in one answer.
        """
        index = default_index(catalog.num_items) if index is None else index
        vectors = model.embed_catalog()
        some = np.unique(np.linspace(1, catalog.users.size - 1, 256).astype(np.int32))
        raw = batch(
            {"row": tf.TensorSpec([None], tf.int64), **model.query_tower.raw_columns},
            "row",
            {"row": some},
        )
        history = np.zeros([len(some), 0], np.int32)
        queries = model.query_tower(model.query_tower.inputs_from_raw(some, raw, history))
        return cls(
            model.query_tower, model.item_tower, index.build(vectors, queries), catalog, k_max
        )

    @property
    def query_columns(self) -> dict[str, tf.TensorSpec]:
        """The features that a request may bring along, by column."""
        return self.query_tower.raw_columns

    @property
    def inputs(self) -> dict[str, dict[str, tf.TensorSpec]]:
        """What each endpoint takes, by name: batch first, every size free."""
        user_dtype, item_dtype = (
            tf.as_dtype(self.catalog.users.dtype),
            tf.as_dtype(self.catalog.items.dtype),
        )
        items = tf.TensorSpec([None, None], item_dtype)
        query = {"user_id": tf.TensorSpec([None], user_dtype), **self.query_columns}
        if self.takes_history:
            query["history"] = items
        item = {"item_id": tf.TensorSpec([None], item_dtype), **self.item_tower.raw_columns}
        filters = {"exclude": items, "allow": items}
        return {
            "serving_default": {**query, **filters, "exclude_seen": tf.TensorSpec([None], tf.bool)},
            "similar_items": {**item, **filters},
            "embed_query": query,
            "embed_item": item,
        }

    @property
    def history_length(self):
        """How many items of a history it looks at."""
        return self.query_tower.history_length

    @property
    def id_types(self):
        return {"user_id": self.catalog.users.dtype, "item_id": self.catalog.items.dtype}

    def recommend_rows(
        self, user_id, k=10, exclude_seen=False, exclude=None, allow=None, history=None, **features
    ):
        """As `recommend`, in item rows."""
        given = {
            "user_id": user_id,
            "exclude_seen": exclude_seen,
            "exclude": exclude,
            "allow": allow,
            "history": history,
            **features,
        }
        return self._ask(self.answer, "serving_default", "user_id", given, k)

    def recommend(
        self, user_id, k=10, exclude=None, allow=None, exclude_seen=False, history=None, **features
    ):
        """The k best items for each user, as raw ids.

        Args:
            user_id: raw ids `[B]`, or one. An unknown user is answered from the features given.
            k: how many, up to `k_max`.
            exclude: items to leave out: a list per user, or one list for all. Unknown ids are
                ignored.
            allow: the only items to choose among, in the same form; they are scored exactly. An
                empty list restricts nothing; a list of unknown ids alone leaves nothing.
            exclude_seen: leave out what the user had in training, and the history given; one bool,
                or one per user.
            history: the items that a user took, in the same form, where the query tower takes them:
                they stand for what is stored of the user. Unknown ids are ignored.
            **features: raw values `[B]` by column, or one for all. They override what is stored of
                a known user.

        Returns:
            item_id `[B, k]` and score `[B, k]` float32, falling. Where fewer than k items remain,
            the row ends in `""` (or -1) with score -inf.

        Raises:
            ValueError: k beyond `k_max`, an unknown feature, lengths that differ.
            TypeError: integer ids where strings were trained on, or the reverse.
        """
        given = {
            "exclude": exclude,
            "allow": allow,
            "exclude_seen": exclude_seen,
            "history": history,
        }
        rows, score = self._ask(
            self.answer, "serving_default", "user_id", {"user_id": user_id, **given, **features}, k
        )
        return self.catalog.items.decode(rows), score

    def similar(self, item_id, k=10, exclude=None, allow=None, **features):
        """The k items most like each item, as raw ids: never the item itself.

        Args:
            item_id: raw ids `[B]`, or one. An unknown item is answered from the features given.
            k, exclude, allow: as for `recommend`.
            **features: raw values `[B]` by column of the item tower, or one for all. They override
                what is stored of a known item.

        Returns and raises as `recommend`.
        """
        given = {"item_id": item_id, "exclude": exclude, "allow": allow, **features}
        rows, score = self._ask(self.similar_items, "similar_items", "item_id", given, k)
        return self.catalog.items.decode(rows), score

    def explain(self, user_id, item_id, num=3, history=None) -> list[dict]:
        """What speaks for an item: of what the user had in training, or the history given, the
        items most like it.

        Args:
            user_id, item_id: a raw id each.
            num: how many items, at most.
            history: a list of item ids that stands for what the user had.

        Returns:
            As `tf_recall.recommend.explanations.nearest_liked`; empty for a user of whom nothing is
            known.

        Raises:
            ValueError: an unknown item.
        """
        return explained(self.catalog, self.embed_item, user_id, item_id, num, history)

    def embed_query(self, user_id, history=None, **features) -> np.ndarray:
        """Query vectors `[B, dim]`; arguments as for `recommend`."""
        given = {"user_id": user_id, "history": history, **features}
        return self.query_vectors(batch(self.inputs["embed_query"], "user_id", given)).numpy()

    def embed_item(self, item_id, **features) -> np.ndarray:
        """Item vectors `[B, dim]`; an unknown item is embedded from the features given."""
        given = {"item_id": item_id, **features}
        return self.item_vectors(batch(self.inputs["embed_item"], "item_id", given)).numpy()

    def _ask(self, function, endpoint, key, given, k):
        check_k(k, self.k_max)
        rows, score = function(batch(self.inputs[endpoint], key, given), tf.constant(k, tf.int32))
        return rows.numpy(), score.numpy()

    def _query_vectors(self, inputs):
        rows = self.catalog.users.lookup(inputs["user_id"])
        raw = {name: inputs[name] for name in self.query_tower.raw_columns}
        history = self._history(inputs) if self.takes_history else None
        return self.query_tower(self.query_tower.inputs_from_raw(rows, raw, history))

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
        taken = tf.where(wanted[:, None], self._history(inputs), 0)
        return self._nearest(
            self._query_vectors(inputs), tf.concat([seen, taken], axis=1), inputs, k
        )

    def _similar_items(self, inputs, k):
        """Item rows and scores, `[B, k]` each, for the inputs of similar_items."""
        vectors = self._item_vectors(inputs)
        query = self.item_tower.as_query(vectors)
        return self._nearest(
            query, self.catalog.items.lookup(inputs["item_id"])[:, None], inputs, k
        )

    def _nearest(self, query, own, inputs, k):
        """The best k rows and their scores, within the request's lists and without the rows `own`
        [B, S].
        """
        exclude = (
            tf.concat([self.catalog.items.lookup(inputs["exclude"]), own], axis=1) - 1
        )  # [B, E + S] positions
        allow = self.catalog.items.lookup(inputs["allow"]) - 1  # [B, A] positions
        restricted = tf.reduce_any(
            inputs["allow"] != MISSING[self.catalog.items.dtype], axis=1
        )  # [B]
        nothing = tf.fill([tf.size(restricted), k], -np.inf), tf.fill([tf.size(restricted), k], -1)
        score, position = tf.cond(
            tf.reduce_all(restricted), lambda: nothing, lambda: self.index.search(query, k, exclude)
        )
        chosen_score, chosen = tf.cond(
            tf.reduce_any(restricted),
            lambda: self._among(query, allow, exclude, k),
            lambda: nothing,
        )
        restricted = restricted[:, None]
        return tf.where(restricted, chosen, position) + 1, tf.where(restricted, chosen_score, score)

    def _seen(self, users, wanted):
        """The item rows that each user has seen, `[B, S]` padded with 0; S is 0 when no row wants
        them.
        """
        start = tf.gather(self.seen_offsets, users)
        length = tf.where(wanted, tf.gather(self.seen_offsets, users + 1) - start, 0)
        column = tf.range(tf.reduce_max(tf.concat([length, [0]], axis=0)))
        inside = column < length[:, None]  # [B, S]
        return tf.where(
            inside, tf.gather(self.seen_rows, tf.where(inside, start[:, None] + column, 0)), 0
        )

    def _among(self, query, allow, exclude, k):
        """The best k of the positions `allow` [B, A], scored exactly, each at most once."""
        allow = tf.sort(allow, axis=1)
        repeated = tf.pad(allow[:, 1:] == allow[:, :-1], [[0, 0], [1, 0]])
        exclude = tf.pad(tf.sort(exclude, axis=1), [[0, 0], [0, 1]], constant_values=tf.int32.max)
        excluded = tf.gather(exclude, tf.searchsorted(exclude, allow), batch_dims=1) == allow
        score = tf.linalg.matvec(self.index.vectors_at(allow), query)  # [B, A]
        score = tf.where(repeated | excluded | (allow < 0), -np.inf, score)
        short = tf.maximum(k - tf.shape(score)[1], 0)
        score, order = tf.math.top_k(
            tf.pad(score, [[0, 0], [0, short]], constant_values=-np.inf), k
        )
        position = tf.gather(tf.pad(allow, [[0, 0], [0, short]]), order, batch_dims=1)
        return score, tf.where(tf.math.is_inf(score), -1, position)  # [B, k]
