"""What a service and its loaded export share: vectors, similar items, explanations."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.recommend.arrays import batch
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.explanations import nearest_items


class EmbeddingRecommender(Recommender):
    """Recommends items whose vectors have the largest product with the query's.

        score(query, item) = query . item_vector

    It gives the vectors themselves too, and explains an item by the user's items nearest to it. A
    subclass writes `_vectors(endpoint, arrays)`.
    """

    answers_items = True
    explains = True

    @property
    def inputs(self) -> dict[str, dict[str, tf.TensorSpec]]:
        """What each endpoint of the export takes, by name: batch first, every size free."""
        queries, items = self.inputs_of("user_id"), self.inputs_of("item_id")
        filters = set(self.filters)
        return {
            "serving_default": queries,
            "similar_items": items,
            "embed_query": {name: queries[name] for name in queries if name not in filters},
            "embed_item": {name: items[name] for name in items if name not in filters},
        }

    def embed_query(self, user_id: Any, history: Any = None, **context) -> np.ndarray:
        """The query vectors of users.

        Args:
            user_id, history, **context: as for `recommend`.

        Returns:
            `[B, dim]` float32.
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

    def _embed(self, endpoint, key, given):
        return self._vectors(
            endpoint, batch(self.inputs[endpoint], key, given, type(self).__name__)
        )

    def _vectors(self, endpoint: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def _explain(self, request, item, num):
        items = request.history[0]
        if not items.any():
            items = self.catalog.seen.of(int(request.rows[0]))
        return nearest_items(self.catalog, self.embed_item, items, item, num)
