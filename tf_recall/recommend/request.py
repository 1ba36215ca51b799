"""Requests: arguments, parsed and checked once, and what recommenders ask of them."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import MISSING
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.forms import shown


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
    def described(self) -> np.ndarray:
        """`[B]` bool, whether the request brings a feature of the user, or item."""
        of_users = self.key == "user_id"
        columns = self._recommender.query_columns if of_users else self._recommender.item_columns
        described = np.zeros(len(self), bool)
        for name in columns:
            array = self.arrays[name]
            given = array != "" if array.dtype == object else ~np.isnan(array)
            described |= given if given.ndim == 1 else given.all(axis=1)
        return described

    def unknown(self) -> dict[str, list]:
        """The ids that the recommender does not know: by argument, each once, without padding.

        Arguments of known ids alone are not in it, nor those of which it cannot tell.
        """
        found = {}
        for name in (self.key, "exclude", "allow", "history"):
            key = self.key if name == self.key else "item_id"
            ids = pd.unique(self.arrays.get(name, np.empty(0, object)).ravel())
            ids = ids[ids != MISSING[self._recommender.id_types[key]]]
            known = self._recommender.knows(key, ids) if len(ids) else None
            if known is not None and not known.all():
                found[name] = ids[~known].tolist()
        return found

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
    if not _whole(k) or not 1 <= k <= k_max:
        raise ValueError(
            f"k must be a whole number from 1 to {k_max}, the most items in one answer; got "
            f"{shown(k)}"
        )


def check_num(num: int) -> None:
    """Refuses a number of reasons that is none.

    Raises:
        ValueError: num is no whole number from 1 on.
    """
    if not _whole(num) or num < 1:
        raise ValueError(f"num must be a whole number of at least 1; got {shown(num)}")


def _whole(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))
