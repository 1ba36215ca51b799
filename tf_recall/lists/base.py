"""What all precomputed lists share: their form, and the contract of a recommender over it."""

from dataclasses import dataclass

import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.ids import MISSING, dtype_of
from tf_recall.recommend.base import Recommender


@dataclass(frozen=True)
class Form:
    """What lists are of, as it is written in their file and in Redis.

    Args:
        key: whom a list is for: "user_id", or "item_id" for lists of similar items.
        key_type: "string" or "int64".
        column: what the list holds: "item_id", or "similar".
        column_type: "string" or "int64".
        k: the most items in a list.
        items: the digest of the catalog's items that they were written with, where it is known.
        export: the digest of the export that answered, where one did.
        exclude_seen: whether what users had seen was left out; None for lists of similar items.
    """

    key: str
    key_type: str
    column: str
    column_type: str
    k: int
    items: str | None = None
    export: str | None = None
    exclude_seen: bool | None = None


class PrecomputedLists(Recommender):
    """Answers with lists that were computed before, by raw id.

    What is not stored cannot be filtered, so it takes no filters, no history and no features.
    `recommend_rows` needs a catalog, which gives the items' rows; an item that the catalog does not
    know is row 0.

    A subclass has the `key` and writes `_best(ids, k)`: for raw ids `[B]`, items `[B, k]` and
    scores `[B, k]`.

    Attributes:
        form: what the lists are of.
    """

    key = ""
    filters = ()
    form: Form

    def __init__(self, catalog: Catalog | None = None):
        self.catalog = catalog

    @property
    def k_max(self) -> int:
        return self.form.k

    @property
    def id_types(self) -> dict[str, str]:
        return {self.key: self.form.key_type, "item_id": self.form.column_type}

    @property
    def answers_users(self) -> bool:
        return self.key == "user_id"

    @property
    def answers_items(self) -> bool:
        return self.key == "item_id"

    def _recommend(self, request, k):
        return self._best(request.ids, k)

    def _similar(self, request, k):
        return self._best(request.ids, k)

    def _best(self, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def _as_ids(self, items):
        return items

    def _as_rows(self, items):
        if self.catalog is None:
            raise ValueError(
                f"{type(self).__name__} knows raw ids alone: ask recommend(), or give it the "
                "catalog of the items' rows"
            )
        return self.catalog.items.encode(items.ravel()).reshape(items.shape)

    @classmethod
    def _check(cls, form: Form, where, catalog: Catalog | None) -> None:
        """Refuses lists of the other kind, and those of other items than the catalog's."""
        if form.key != cls.key:
            raise ValueError(
                f"{where} holds lists by {form.key}, of {form.column}, and not by {cls.key}"
            )
        if catalog is not None and form.items is not None:
            check_same(f"what wrote the lists of {where}", {"items": form.items}, catalog.identity)


def empty_lists(form: Form, count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores `[count, k]` of padding alone."""
    kind = form.column_type
    items = np.full((count, k), MISSING[kind], dtype_of(kind))
    return items, np.full((count, k), -np.inf, np.float32)
