"""A user and each item interacted with, as the columns of training batches."""

from dataclasses import replace

import keras
import numpy as np

from tf_recall.data.batches import Batches
from tf_recall.data.tables import flags
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.positives.subsampling import check_alpha, keep_rates


@keras.saving.register_keras_serializable("tf_recall")
class UserItem:
    """A user and each item interacted with (METHODS.md P1), popular items less often where asked
    for (P5).

    Args:
        alpha: an item that is more than this share of the positives is kept with the chance
            sqrt(alpha / share), drawn anew each epoch (METHODS.md P5); None: every pair in every
            epoch.
        where: a column of the log that is true, or not 0, where the pair counts, such as "booked";
            None: all count.

    Raises:
        ValueError: `alpha` is not above 0; at `batches`, the log lacks the column, or it is no
            number, or true nowhere.
    """

    def __init__(self, alpha=None, where=None):
        check_alpha(alpha)
        self.alpha, self.where = alpha, where

    def counted(self, train, catalog):
        """The catalog with the counts of the positives, of which prices and what is seen depend."""
        if self.where is None and self.alpha is None:
            return catalog
        frame = train.frame if self.where is None else self._counting(train).frame
        users, items = (
            catalog.users.encode(frame["user_id"]),
            catalog.items.encode(frame["item_id"]),
        )
        keep = np.ones(len(items)) if self.alpha is None else keep_rates(items, self.alpha)[items]
        return replace(
            catalog,
            users=_recounted(catalog.users, users, keep),
            items=_recounted(catalog.items, items, keep),
        )

    def batches(self, model, train, catalog, batch_size, seed=0):
        """`Batches` of the columns of `user_item`."""
        if self.where is not None:
            train = self._counting(train)
        columns = user_item(train, catalog, model.query_tower, model.negatives.num_given)
        items = columns["item"]["item"]
        keep = None if self.alpha is None else keep_rates(items, self.alpha)[items]
        return Batches(columns, batch_size, seed, keep=keep)

    def _counting(self, train):
        counts = flags(train.frame, self.where)
        if not counts.any():
            raise ValueError(
                f"column {self.where!r} is true nowhere: there is no positive to learn from"
            )
        return train.select(counts)

    def get_config(self):
        return {"alpha": self.alpha, "where": self.where}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def user_item(interactions, catalog, query_tower, num_given=0):
    """A user and each item interacted with (METHODS.md P1).

    Everything is a number afterwards: ids are rows, context is encoded, so the training step looks
    up no strings.

    Args:
        interactions: the training `Interactions`.
        catalog: its `Catalog`.
        query_tower: an adapted tower; it says which context columns it wants.
        num_given: how many a row's own negatives are, for samplers that want them
            (`Sampler.num_given`): the first ones of the interactions' column `negatives`, lists of
            item ids or text such as "i3|i7".

    Returns:
        `{"query": {"user": [n] int32, <context feature>: [n, ...]}, "item": {"item": [n] int32}}`
        and `"weight": [n]` float32 where the interactions have weights,
        `"negatives": [n, num_given]` int32, filled up with 0, where asked for. Pairs whose item the
        catalog does not know are left out.

    Raises:
        ValueError: negatives are asked for and the interactions name none.

    Example:
        >>> columns = user_item(split.train, catalog, model.query_tower)
    """
    frame = interactions.frame
    items = catalog.items.encode(frame["item_id"])
    known = items > 0
    query = {query_tower.entity: catalog.users.encode(frame["user_id"])}
    for feature in query_tower.context():
        query[feature.name] = feature.encode_column(feature.to_raw(frame[feature.column]))
    columns = {"query": query, "item": {"item": items}}
    if "weight" in frame:
        columns["weight"] = frame["weight"].to_numpy(np.float32)
    if num_given:
        columns["negatives"] = _negatives(frame, catalog.items, num_given)
    return columns if known.all() else _select(columns, known)


def _recounted(vocabulary, rows, keep):
    """The vocabulary with how often each row is expected among `rows`, rounded up."""
    counts = np.bincount(rows, keep, minlength=vocabulary.size)
    return Vocabulary(vocabulary.ids, np.ceil(counts[1:]).astype(np.int64))


def _select(columns, rows):
    return {
        key: _select(value, rows) if isinstance(value, dict) else value[rows]
        for key, value in columns.items()
    }


def _negatives(frame, vocabulary, num):
    """The rows `[n, num]` of the items in column `negatives`; 0 where there are fewer, or unknown
    ones.
    """
    if "negatives" not in frame:
        raise ValueError(
            "the sampler asks for negatives, and the interactions have no such column: "
            f"{list(frame)}"
        )
    lists = frame["negatives"].map(
        lambda value: value.split("|") if isinstance(value, str) else value
    )
    lists = lists.map(
        lambda value: list(value)[:num] if isinstance(value, list | tuple | np.ndarray) else []
    )
    ids = lists.explode().dropna()
    ids = ids[ids != ""].astype(np.int64 if vocabulary.dtype == "int64" else str)
    rows = np.zeros((len(frame), num), np.int32)
    rows[ids.index, ids.groupby(level=0).cumcount()] = vocabulary.encode(ids)
    return rows
