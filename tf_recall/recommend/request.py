"""Requests: arguments, parsed and checked once, and what recommenders ask of them."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import MISSING
from tf_recall.recommend.arrays import batch


class Request:
    """A batch of requests for users, or for items, as arrays and as rows of a catalog.

    `batch` makes the arrays, which a TensorFlow graph takes as they are. The rows are looked up
    when they are first asked for.

    Args:
        recommender: the `Recommender` that the request is for.
        key: "user_id" or "item_id", the input that sets the size of the batch.
        arrays: one for each of `recommender.inputs_of(key)`.

    Attributes:
        rows: `[B]` rows of the users, or items; 0 for unknown ones.
        exclude, allow, history: `[B, L]` item rows, 0 for padding and unknown ids; L is 0 where
            none are given.
        restricted: `[B]` bool, whether `allow` holds anything, be it unknown ids alone.
        exclude_seen: `[B]` bool.
    """

    def __init__(self, recommender: Any, key: str, arrays: dict[str, np.ndarray]):
        self.key, self.arrays = key, arrays
        self._recommender = recommender

    @classmethod
    def parse(cls, recommender: Any, key: str, ids: Any, given: dict) -> "Request":
        """Checks the arguments of `recommend` or `similar`; arguments and errors as of `batch`."""
        inputs, name = recommender.inputs_of(key), type(recommender).__name__
        return cls(recommender, key, batch(inputs, key, {key: ids, **given}, name))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> np.ndarray:
        """The raw ids `[B]` of the users, or items."""
        return self.arrays[self.key]

    @property
    def catalog(self) -> Catalog | None:
        """The recommender's catalog."""
        return self._recommender.catalog

    @functools.cached_property
    def rows(self) -> np.ndarray:
        side = self.catalog.users if self.key == "user_id" else self.catalog.items
        return side.encode(self.ids)

    @functools.cached_property
    def exclude(self) -> np.ndarray:
        return self._item_rows("exclude")

    @functools.cached_property
    def allow(self) -> np.ndarray:
        return self._item_rows("allow")

    @functools.cached_property
    def history(self) -> np.ndarray:
        return self._item_rows("history")

    @property
    def restricted(self) -> np.ndarray:
        if "allow" not in self.arrays:
            return np.zeros(len(self), bool)
        return (self.arrays["allow"] != self._missing).any(axis=1)

    @property
    def exclude_seen(self) -> np.ndarray:
        return self.arrays.get("exclude_seen", np.zeros(len(self), bool))

    def blocks(self, size: int) -> Iterator["Request"]:
        """The request in blocks of so many rows; of an empty one, one empty block."""
        for start in range(0, max(1, len(self)), size):
            at = slice(start, start + size)
            arrays = {name: array[at] for name, array in self.arrays.items()}
            yield Request(self._recommender, self.key, arrays)

    def to(self, other: Any) -> "Request":
        """The same request, as far as another recommender takes it.

        What it does not take is left out. A history that it does not take is still excluded where
        `exclude_seen` asks for it.
        """
        inputs = other.inputs_of(self.key)
        arrays = {name: self.arrays[name] for name in inputs}
        if "history" in self.arrays and "history" not in inputs and "exclude" in inputs:
            history = np.where(self.exclude_seen[:, None], self.arrays["history"], self._missing)
            arrays["exclude"] = np.concatenate([arrays["exclude"], history], axis=1)
        return Request(other, self.key, arrays)

    @property
    def _missing(self):
        """What lists of items are padded with."""
        return MISSING[self._recommender.id_types["item_id"]]

    def _item_rows(self, name):
        if name not in self.arrays:
            return np.zeros((len(self), 0), np.int32)
        ids = self.arrays[name]
        return self.catalog.items.encode(ids.ravel()).reshape(ids.shape)


def check_k(k: int, k_max: int) -> None:
    """Refuses a k that a recommender does not answer.

    Raises:
        ValueError: k is no whole number from 1 to k_max.
    """
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= k_max:
        raise ValueError(
            f"k must be a whole number from 1 to {k_max}, the most items in one answer; got {k!r}"
        )
