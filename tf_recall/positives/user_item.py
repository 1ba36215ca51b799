"""A user and each item interacted with, as the columns of training batches."""

import keras
import numpy as np

from tf_recall.data.batches import Batches
from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column, NumberAbove0
from tf_recall.data.stepwise import StepBatches
from tf_recall.data.tables import column, flags
from tf_recall.data.values import numbers_of
from tf_recall.features.needs import Needs
from tf_recall.positives.base import Positives
from tf_recall.positives.subsampling import check_alpha, keep_rates

SHUFFLED = 2**28  # rows whose order, 1 GiB, is shuffled one by one
NEIGHBORS = 1024  # of more rows, how many are read together


@keras.saving.register_keras_serializable("tf_recall")
class UserItem(Positives):
    """A user and each item interacted with (METHODS.md P1), popular ones less often (P5).

    Where the query tower has a `History`, each row brings the items before its event (P6). In a log
    without timestamps nobody knows which were before: each row brings the user's other items.

    Args:
        alpha: an item that is more than this share of the positives is kept with the probability
            sqrt(alpha / share), drawn anew each epoch (METHODS.md P5); None: every pair in every
            epoch.
        where: a column of the log that is true, or not 0, where the pair counts, such as
            "purchased"; None: all count.

    Raises:
        ValueError: `alpha` is not above 0; at `batches`, the log lacks the column, or it is no
            number, or true nowhere; or nothing can be learned: the catalog knows none of the users
            or items, all weights are 0, all histories are empty, or no negative that the log names
            is another item.

    Example:
        >>> model = TwoTower(query_tower, item_tower, positives=UserItem(alpha=1e-3))
    """

    gives_history = True
    gives_labels = True
    weighs = True

    def __init__(self, alpha: NumberAbove0 | None = None, where: Column | None = None):
        check_alpha(alpha)
        self.alpha = alpha
        self.where = where

    def counts(self, train: Interactions, catalog: Catalog) -> dict[str, np.ndarray]:
        lines, keep = self._chosen(train, catalog)
        if lines is None and keep is None:
            return super().counts(train, catalog)
        users, items = train.rows("user", catalog.users), train.rows("item", catalog.items)
        if lines is not None:
            users, items = users[lines], items[lines]
        return {
            "user": _expected(users, keep, catalog.users.size),
            "item": _expected(items, keep, catalog.items.size),
        }

    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> Batches | StepBatches:
        columns, keep, histories = self._learnable(train, catalog, needs)
        if not needs.history:
            runs = keep is None and len(columns["item"]["item"]) > SHUFFLED
            return Batches(columns, batch_size, seed, NEIGHBORS if runs else 1, keep)

        def finish(batch, rng):
            past = batch.pop("past")
            items = batch["item"]["item"]
            at = histories.positions(past["begin"], past["cut"], needs.history, items)
            query = {**batch["query"], "history": histories.at(at)}
            if needs.gaps:
                query["history_gaps"] = histories.gaps(at)
            return {**batch, "query": query}

        return StepBatches(columns, finish, batch_size, seed, keep)

    def _learnable(self, train, catalog, needs):
        """The columns of the positives, with which probability each counts, None for 1, and the
        histories in which each one's `past` lies.
        """
        lines, keep = self._chosen(train, catalog)
        columns = _columns(train, catalog, needs)
        histories = None
        if needs.history:
            histories, columns["past"] = self._pasts(train, catalog)
        if lines is not None:
            columns = select(columns, lines)
        known = columns["item"]["item"] > 0
        _check_known(columns, known)
        if not known.all():
            columns = select(columns, known)
            keep = None if keep is None else keep[known]
        check_learnable(columns)
        return columns, keep, histories

    def _pasts(self, train, catalog):
        """The histories, and where each line's begins and ends, its own item to be left out."""
        histories, past = pasts(train, catalog)
        if train.times is None:
            users = train.rows("user", catalog.users)
            there = (users > 0) & (train.rows("item", catalog.items) > 0)
            past["cut"] = np.where(there, histories.offsets[users + 1], 0)
        return histories, past

    def _chosen(self, train, catalog):
        """The lines that count, None for all, and with which probability, None for 1."""
        lines = None if train.learned is None else np.flatnonzero(train.learned)
        if self.where is not None:
            at = np.arange(len(train)) if lines is None else lines
            lines = at[flags(train.frame.iloc[at], self.where)]
            if not len(lines):
                raise ValueError(
                    f"column {self.where!r} is true nowhere: there is no positive to learn from"
                )
        if self.alpha is None:
            return lines, None
        items = train.rows("item", catalog.items)
        items = items if lines is None else items[lines]
        return lines, keep_rates(items, self.alpha)[items]

    def get_config(self) -> dict:
        return {"alpha": self.alpha, "where": self.where}


def user_item(interactions: Interactions, catalog: Catalog, needs: Needs) -> dict:
    """The pairs of a user and each item interacted with, as columns of numbers (METHODS.md P1).

    Ids become rows and context becomes codes, so that the training step looks up no strings.

    Args:
        interactions: the training `Interactions`.
        catalog: its `Catalog`.
        needs: which context and how many negatives of its own each row brings, `model.needs()`. The
            negatives are the first ones of the interactions' column `negatives`, lists of item ids
            or text such as "i3|i7".

    Returns:
        `{"query": {"user": [n] int32, <context feature>: [n, ...]}, "item": {"item": [n] int32}}`,
        and `"weight": [n]` float32 where the interactions have weights, and where needed
        `"negatives": [n, H]` int32, padded with 0, and `"labels": {<column>: [n] float32}`. Pairs
        whose item the catalog does not know are left out.

    Raises:
        ValueError: negatives are needed and the interactions name none.

    Example:
        >>> columns = user_item(split.train, catalog, model.needs())
    """
    columns = _columns(interactions, catalog, needs)
    return select(columns, columns["item"]["item"] > 0)


def check_learnable(columns: dict) -> None:
    """Checks that the columns of training batches hold something to learn from.

    Args:
        columns: as `user_item` returns them, with `"past"` where rows have histories.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0; all histories are empty; or no
            row names a negative other than its positive.
    """
    weight = columns.get("weight")
    if weight is not None:
        bad = weight[~(np.isfinite(weight) & (weight >= 0))]
        if len(bad):
            raise ValueError(
                f"column 'weight' must hold finite numbers, 0 or more; {len(bad)} are not, such as "
                f"{bad[0]}"
            )
        if not weight.any():
            raise ValueError("there is nothing to learn: all weights of the positives are 0")
    past = columns.get("past")
    if past is not None and (past["cut"] == past["begin"]).all():
        raise ValueError(
            "there is nothing to learn from histories: no positive has an earlier event of its "
            "user. Look at the timestamps, or take a query tower without histories"
        )
    negatives = columns.get("negatives")
    if negatives is not None:
        others = (negatives > 0) & (negatives != columns["item"]["item"][:, None])
        if not others.any():
            raise ValueError(
                "there is nothing to learn from column 'negatives': no row names an item of the "
                "catalog other than its positive"
            )


def _check_known(columns, known):
    if not known.any():
        raise ValueError(
            f"there is no positive to learn from: the catalog knows none of the {len(known)} "
            "interactions' items; take Catalog.fit(train) of the same train"
        )
    if not columns["query"]["user"].any():
        raise ValueError(
            f"there is no positive to learn from: the catalog knows none of the {len(known)} "
            "interactions' users; take Catalog.fit(train) of the same train"
        )


def pasts(train: Interactions, catalog: Catalog) -> tuple[Histories, dict[str, np.ndarray]]:
    """The histories of the training part, and where each line's past begins and ends in them.

    Returns:
        `(histories, {"begin": [n] int64, "cut": [n] int64})`; both 0 for a line whose user or item
        the catalog does not know.
    """
    users, items = train.rows("user", catalog.users), train.rows("item", catalog.items)
    histories, lines = Histories.with_lines(users, items, train.times, catalog.users.size)
    begin = np.zeros(len(train), np.int64)
    cut = np.zeros(len(train), np.int64)
    begin[lines] = histories.offsets[histories.users]
    cut[lines] = histories.cuts()
    return histories, {"begin": begin, "cut": cut}


def _columns(interactions, catalog, needs):
    """As `user_item`; an item that the catalog does not know has row 0."""
    frame = interactions.frame
    query = {"user": interactions.rows("user", catalog.users)}
    for feature in needs.context:
        query[feature.name] = feature.encode_column(feature.to_raw(frame[feature.column]))
    columns = {"query": query, "item": {"item": interactions.rows("item", catalog.items)}}
    if "weight" in frame:
        columns["weight"] = frame["weight"].to_numpy(np.float32)
    if needs.labels:
        columns["labels"] = {name: _label(frame, name) for name in needs.labels}
    if needs.negatives:
        columns["negatives"] = _negatives(frame, catalog.items, needs.negatives)
    return columns


def _label(frame, name):
    """A column of the log as numbers, NaN where one is missing."""
    return numbers_of(column(frame, name), f"column {name!r}").astype(np.float32)


def _expected(rows, keep, size):
    """How often each row is expected, rounded up; a rounding error of the rates adds nothing."""
    return np.ceil(np.round(np.bincount(rows, keep, minlength=size), 3)).astype(np.int64)


def select(columns: dict, rows: np.ndarray) -> dict:
    """Rows of columns `[n, ...]`, nested by name."""
    return {
        key: select(value, rows) if isinstance(value, dict) else value[rows]
        for key, value in columns.items()
    }


def _listed(value):
    """A list of ids, or text such as "i3|i7", as a list; anything else is an empty one."""
    if isinstance(value, str):
        return value.split("|")
    return list(value) if isinstance(value, list | tuple | np.ndarray) else []


def _negatives(frame, vocabulary, num):
    """The rows `[n, num]` of the items in column `negatives`, padded with 0; unknown ones are 0."""
    if "negatives" not in frame:
        raise ValueError(
            "the sampler needs negatives of each row's own, and the interactions have no column "
            f"'negatives': {list(frame)}"
        )
    ids = frame["negatives"].map(lambda value: _listed(value)[:num]).explode().dropna()
    ids = ids[ids != ""].astype(np.int64 if vocabulary.dtype == "int64" else str)
    rows = np.zeros((len(frame), num), np.int32)
    rows[ids.index, ids.groupby(level=0).cumcount()] = vocabulary.encode(ids)
    return rows
