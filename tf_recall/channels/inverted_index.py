"""The inverted index: from the attributes that a user likes to the best items that have them."""

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import sparse

from tf_recall.channels.base import Channel
from tf_recall.channels.item_cf import check_counts
from tf_recall.channels.likes import Likes, binary
from tf_recall.channels.metrics import Count, Metric
from tf_recall.channels.products import first, ordered
from tf_recall.features.words import MultiValued, as_words

WHOLE = "\x1f"  # a separator that stands in no text


class InvertedIndex(Channel):
    """Recommends the best items of the genres, authors, tags that a user likes more than others do (METHODS.md C1).

        share(u, a) = (likes of u that have the value a + strength * everybody(a)) / (likes of u + strength)
        affinity(u, a) = max(0, share(u, a) * log(share(u, a) / everybody(a)))
        score(u, i) = sum over the values a of i of affinity(u, a) * metric(i),  where i is among the `top` of a

    with everybody(a) the share of all likes that have a. Likes count by their weights. The shares of somebody of few
    likes are near everybody's, so that one like of a rare value is no taste.

    The affinities to the values of a column sum up to how far the user's likes are from everybody's (the positive part
    of their Kullback-Leibler divergence). So columns need no weights: who always reads one author, of any genre, is led
    by the author. What all items have leads nowhere.

    Two indexes: user to his likes, value to the items that have it, sorted by the metric.

    Args:
        attributes: columns of the item table, each a name, or `{"column": "genres", "separator": "|"}` where a text
            holds several values. Lists hold several anyway. An item without a value is in no list of that column.
        metric: what the items of a value are sorted by: `Count()`, `Rate(...)`, `MeanWeight(...)`.
        top: how many items to keep of each value.
        last: how many of a user's latest items tell his taste; None: all.
        half_life: days after which a like counts half; None: all count alike.
        weight: the column that says how much a user likes an item; without a column `weight` every interaction is 1.
        strength: how many likes everybody's shares weigh beside a user's own.

    Raises:
        ValueError: an attribute named twice, none, or badly; when fitted, a column that is absent or empty.

    Example:
        >>> channel = InvertedIndex([{"column": "genres", "separator": "|"}, "director"]).fit(split.train, catalog)
        >>> channel.explain("u17", "Fargo")
        [{'kind': 'attribute', 'id': 'director=Coen', 'share': 0.8}, ...]
    """

    kind = "attribute"
    arrays = ("likes", "right", "members", "everybody", "values")

    def __init__(
        self,
        attributes: list[str | dict],
        metric: Metric | None = None,
        top: int = 500,
        last: int | None = None,
        half_life: float | None = None,
        weight: str = "weight",
        strength: float = 10.0,
    ):
        check_counts(top=top, last=last)
        if not strength > 0:
            raise ValueError(f"strength is a number above 0, got {strength!r}")
        self.attributes, self.metric, self.top = _separators(attributes), metric or Count(), top
        self.last, self.half_life, self.weight, self.strength = last, half_life, weight, strength

    def _fit(self, train):
        self.likes = Likes.fit(train, self.catalog, self.half_life, self.weight).last(self.last)
        columns = [_members(self.catalog, *each) for each in self.attributes.items()]
        self.members = sparse.hstack([members for members, _ in columns], "csr")  # [V + 1, A]
        self.values = np.concatenate([values for _, values in columns]).astype(str)
        everybody = self.likes.sum(axis=0, dtype=np.float64) @ self.members
        self.everybody = np.asarray(everybody).ravel() / self.likes.sum(dtype=np.float64)
        metric = sparse.diags_array(self.metric(train, self.catalog))
        lists = sparse.csr_matrix(self.members.T @ metric, dtype=np.float32)
        lists.eliminate_zeros()
        self.right = first(ordered(lists), self.top)

    def left(self, users, likes):
        had = (likes @ self.members).tocsr()
        number = np.repeat(likes.sum(axis=1, dtype=np.float64).A1, np.diff(had.indptr))
        everybody = self.everybody[had.indices]
        share = (had.data + self.strength * everybody) / (number + self.strength)
        # what nobody had in training has no share to compare with, and no taste for it shows
        lift = np.divide(share, everybody, out=np.ones(len(share)), where=everybody > 0)
        affinity = np.maximum(share * np.log(lift), 0).astype(np.float32)
        return sparse.csr_matrix((affinity, had.indices, had.indptr), had.shape)

    def names(self, places):
        return self.values[places].tolist()


def _separators(attributes) -> dict[str, str]:
    """The separator of each column.

    Raises:
        ValueError: as `InvertedIndex`.
    """
    given = [{"column": each} if isinstance(each, str) else each for each in attributes]
    wrong = [
        each for each in given if not isinstance(each, dict) or not {"column"} <= set(each) <= {"column", "separator"}
    ]
    if wrong or not given or isinstance(attributes, str):
        what = repr(wrong[0]) if wrong else repr(attributes)
        raise ValueError(
            f"attributes are a list of names of columns, or of {{'column': ..., 'separator': ...}}; got {what}"
        )
    columns = [each["column"] for each in given]
    if len(set(columns)) < len(columns):
        raise ValueError(f"attributes are named once each, got {', '.join(columns)}")
    return {each["column"]: each.get("separator", WHOLE) for each in given}


def _members(catalog, column, separator) -> tuple[sparse.csr_matrix, list[str]]:
    """Which items have which value, `[item rows, A]` of 1, and what the values are called."""
    if column not in catalog.item_table:
        known = ", ".join(map(str, catalog.item_table)) or "no columns"
        raise ValueError(f"the item table has no column {column!r}; it has {known}")
    several = MultiValued(None, separator=separator)
    words = several.split(tf.constant(several.to_raw(catalog.item_table[column])))
    codes, values = pd.factorize(as_words(words.flat_values), sort=True)
    if not len(values):
        raise ValueError(f"column {column!r} of the item table is empty")
    shape = (catalog.items.size, len(values))
    members = sparse.csr_matrix((np.ones(len(codes), np.float32), (words.value_rowids().numpy() + 1, codes)), shape)
    return binary(members), [f"{column}={value}" for value in values]
