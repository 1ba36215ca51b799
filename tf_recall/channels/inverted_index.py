"""The inverted index: from the attributes that a user likes to the best items that have them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from tf_recall.channels.item_cf import check_counts
from tf_recall.channels.metrics import Count, Metric
from tf_recall.data.likes import Likes, binary
from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom1
from tf_recall.features.bags import WHOLE, values_of
from tf_recall.recommend.products import first, ordered
from tf_recall.recommend.sparse import SparseChannel

VALUES = "values.json"


class InvertedIndex(SparseChannel):
    """Recommends the best items of the genres, authors, tags that a user likes (METHODS.md C1).

    What counts is how much more than others the user likes a value.

        share(u, a) = (likes of u that have the value a + strength * everybody(a))
            / (likes of u + strength)
        affinity(u, a) = max(0, share(u, a) * log(share(u, a) / everybody(a)))
        score(u, i) = sum over the values a of i of affinity(u, a) * metric(i),
            where i is among the `top` of a

    with everybody(a) the share of all likes that have a. Likes count by their weights. A user of
    few likes has shares near everybody's, so that one like weighs less than ten that agree. A value
    that nobody likes has affinity 0.

    The affinities to the values of a column sum up to how far the user's likes are from everybody's
    (the positive part of their Kullback-Leibler divergence). So columns need no weights: a user who
    always reads one author, of any genre, is recommended that author. A value that all items have
    has affinity 0.

    Two indexes: user to their likes, value to the items that have it, sorted by the metric.

    Args:
        attributes: columns of the item table, each a name, or
            `{"column": "genres", "separator": "|"}` where a text holds several values. Lists hold
            several anyway. An item without a value is in no list of that column.
        metric: what the items of a value are sorted by: `Count()`, `Rate(...)`, `MeanWeight(...)`.
        top: how many items to keep of each value.
        last: how many of a user's latest items count as their likes; None: all.
        half_life: days after which a like counts half; None: all count alike.
        weight: the column of how much a user likes an item; without a column `weight` every
            interaction is 1.
        strength: how many likes everybody's shares weigh beside a user's own.

    Raises:
        ValueError: an attribute named twice, none, or badly; when fitted, a column that is absent
            or empty.

    Example:
        >>> channel = InvertedIndex([{"column": "genres", "separator": "|"}, "director"])
        >>> channel = channel.fit(split.train, catalog)
        >>> channel.explain("u17", "Fargo")
        [{'kind': 'attribute', 'id': '...', 'share': ...}]
    """

    kind = "attribute"
    arrays = ("likes", "right", "members", "everybody")

    tunable = {
        "top": [50, 1000, "log"],
        "last": {"choices": [None, 10, 20, 50, 100]},
        "strength": [1.0, 100.0, "log"],
    }

    def __init__(
        self,
        attributes: str | dict | list[str | dict],
        metric: Metric | None = None,
        top: WholeFrom1 = 500,
        last: WholeFrom1 | None = None,
        half_life: NumberAbove0 | None = None,
        weight: Column = "weight",
        strength: NumberAbove0 = 10.0,
    ):
        check_counts(top=top, last=last)
        if not strength > 0:
            raise ValueError(f"strength is a number above 0, got {strength!r}")
        self._columns = _separators(attributes)
        self.attributes, self.metric, self.top = attributes, metric or Count(), top
        self.last, self.half_life, self.weight, self.strength = last, half_life, weight, strength

    def _fit(self, train):
        self.likes = Likes.fit(train, self.catalog, self.half_life, self.weight).last(self.last)
        columns = [_members(self.catalog, *each) for each in self._columns.items()]
        self.members = sparse.hstack([members for members, _ in columns], "csr")  # [V + 1, A]
        self.values = [value for _, values in columns for value in values]
        everybody = self.likes.sum(axis=0, dtype=np.float64) @ self.members
        self.everybody = np.asarray(everybody).ravel() / self.likes.sum(dtype=np.float64)
        metric = sparse.diags_array(self.metric(train, self.catalog))
        lists = sparse.csr_matrix(self.members.T @ metric, dtype=np.float32)
        self.right = first(ordered(lists), self.top)

    def left(self, users, likes):
        likes = likes.astype(np.float64)
        had = (likes @ self.members).tocsr()
        number = np.repeat(np.asarray(likes.sum(axis=1)).ravel(), np.diff(had.indptr))
        everybody = self.everybody[had.indices]
        share = (had.data + self.strength * everybody) / (number + self.strength)
        # a value that nobody had in training has no share to compare with; sums of one order differ
        # from another's
        more = (everybody > 0) & (share > everybody * (1 + 1e-6))
        lift = np.divide(share, everybody, out=np.ones(len(share)), where=more)
        affinity = (share * np.log(lift)).astype(np.float32)
        left = sparse.csr_matrix((affinity, had.indices, had.indptr), had.shape)
        left.eliminate_zeros()
        return left

    def names(self, middle):
        return [self.values[column] for column in middle]

    def save(self, directory):
        """As `CountedChannel.save`, and what the values are called."""
        super().save(directory)
        (Path(directory) / VALUES).write_text(json.dumps(self.values), encoding="utf-8")

    def load(self, directory, catalog, mmap=False):
        """As `CountedChannel.load`."""
        path = Path(directory) / VALUES
        try:
            self.values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        return super().load(directory, catalog, mmap)


def _separators(attributes) -> dict[str, str]:
    """The separator of each column.

    Raises:
        ValueError: as `InvertedIndex`.
    """
    each = [attributes] if isinstance(attributes, (str, dict)) else attributes
    each = [{"column": one} if isinstance(one, str) else one for one in each]
    if not each or not all(_names_a_column(one) for one in each):
        raise ValueError(
            "attributes are columns of the item table, each a name or "
            "{'column': ..., 'separator': ...}; "
            f"got {attributes!r}"
        )
    columns = [one["column"] for one in each]
    if len(set(columns)) < len(columns):
        raise ValueError(f"each attribute is named once, got {', '.join(columns)}")
    return {one["column"]: one.get("separator", WHOLE) for one in each}


def _names_a_column(given):
    known = isinstance(given, dict) and {"column"} <= set(given) <= {"column", "separator"}
    return known and all(isinstance(text, str) and text for text in given.values())


def _members(catalog, column, separator) -> tuple[sparse.csr_matrix, list[str]]:
    """Which items have which value, `[item rows, A]` of 1, and what the values are called."""
    if column not in catalog.item_table:
        known = ", ".join(map(str, catalog.item_table)) or "no columns"
        raise ValueError(f"the item table has no column {column!r}; it has {known}")
    lines, values = values_of(catalog.item_table[column], separator)
    codes, values = pd.factorize(values, sort=True)
    if not len(values):
        raise ValueError(f"column {column!r} of the item table is empty")
    shape = (catalog.items.size, len(values))
    members = sparse.csr_matrix((np.ones(len(codes), np.float32), (lines + 1, codes)), shape)
    return binary(members), [f"{column}={value}" for value in values]
