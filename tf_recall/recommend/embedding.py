"""What a service and its loaded export share: vectors, similar items, explanations."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.ids import raw_ids
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.explanations import nearest_interest, nearest_items


class EmbeddingRecommender(Recommender):
    """Recommends items whose vectors have the largest product with the query's.

        score(query, item) = query . item_vector

    Where a user has several vectors, one for each interest, the highest of their products counts.

    It gives the vectors themselves too, and explains an item by the user's items nearest to it, or
    by the interest that answered and the items that make it. A subclass writes
    `_vectors(endpoint, arrays)`; and, where a user has several vectors, `_interests(arrays)`.

    Attributes:
        interests: how many vectors a user has.
        predictions: the endpoints of the model's heads.
    """

    interests = 1
    predictions: tuple[str, ...] = ()

    answers_items = True
    explains = True

    @property
    def inputs(self) -> dict[str, dict[str, tf.TensorSpec]]:
        """What each endpoint of the export takes, by name: batch first, every size free."""
        queries, items = self.inputs_of("user_id"), self.inputs_of("item_id")
        filters = set(self.filters)
        query = {name: queries[name] for name in queries if name not in filters}
        item = {name: items[name] for name in items if name not in filters}
        if self.predictions and (both := sorted(set(query) & set(item))):
            raise ValueError(
                f"users and items both have a column {both[0]!r}, and {self.predictions[0]} is "
                "asked for both: rename one"
            )
        return {
            "serving_default": queries,
            "similar_items": items,
            "embed_query": query,
            "embed_item": item,
            **{name: {**query, **item} for name in self.predictions},
        }

    def embed_query(self, user_id: Any, history: Any = None, **context) -> np.ndarray:
        """The query vectors of users.

        Args:
            user_id, history, **context: as for `recommend`.

        Returns:
            `[B, dim]` float32; of several interests `[B, interests, dim]`.
        """
        given = {"user_id": user_id, "history": history, **context}
        return self._embed("embed_query", "user_id", given)

    def embed_item(self, item_id: Any, **context) -> np.ndarray:
        """The vectors of items; an unknown item is embedded from the features given.

        Args:
            item_id, **context: as for `similar`.

        Returns:
            `[B, dim]` float32.
        """
        return self._embed("embed_item", "item_id", {"item_id": item_id, **context})

    def predict(
        self, endpoint: str, user_id: Any, item_id: Any, history: Any = None, **context
    ) -> dict[str, np.ndarray]:
        """What a head of the model tells of users and items, row by row.

        Args:
            endpoint: one of `predictions`, such as "watch_time".
            user_id, item_id: raw ids `[B]` each.
            history, **context: as for `recommend` and `similar`.

        Returns:
            `[B]` float32 by name, such as `{"watch_time": ...}`.

        Raises:
            ValueError: the model has no such head; or as `recommend`.
        """
        if endpoint not in self.predictions:
            known = ", ".join(self.predictions) or "none: train it with predicts"
            raise ValueError(f"this model has no head {endpoint!r}; it has: {known}")
        given = {"user_id": user_id, "item_id": item_id, "history": history, **context}
        return self._predicted(
            endpoint, batch(self.inputs[endpoint], "user_id", given, type(self).__name__)
        )

    def _embed(self, endpoint, key, given):
        return self._vectors(
            endpoint, batch(self.inputs[endpoint], key, given, type(self).__name__)
        )

    def _predicted(self, endpoint: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def _vectors(self, endpoint: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def _interests(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What a user's vectors are made of: `embedding` `[B, K, dim]`, `item_id` `[B, L]` and
        `weight` `[B, K, L]`, 0 where there is no item.
        """
        raise NotImplementedError

    def _explain(self, request, item, num):
        if self.interests > 1:
            return self._nearest_interest(request, item, num)
        items = request.history[0]
        if not items.any():
            items = self.catalog.seen.of(int(request.rows[0]))
        return nearest_items(self.catalog, self.embed_item, items, item, num)

    def _nearest_interest(self, request, item, num):
        arrays = {name: request.arrays[name] for name in self.inputs["embed_query"]}
        found = {name: values[0] for name, values in self._interests(arrays).items()}
        found["item_id"] = raw_ids(found["item_id"])
        (item_id,) = self.catalog.items.decode([item]).tolist()
        return nearest_interest(
            **found, vector=self.embed_item([item_id])[0], item=item_id, num=num
        )
