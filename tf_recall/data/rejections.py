"""Each interaction's own negatives, drawn from the items that its user rejected."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions


def with_negatives(
    interactions: Interactions, rejections: Interactions, num: int = 4, seed: int = 0
) -> Interactions:
    """Adds a column `negatives` to interactions: for each row, items that its user rejected.

    The items are drawn anew for each row. Impressions without a click may be given as rejections
    too, but see METHODS.md N6: they are negatives among the items worth showing, not among all.

    Args:
        interactions: the positives.
        rejections: `Interactions` of users with items that they did not want.
        num: the most negatives of a row; a row has none where its user rejected nothing.
        seed: same seed, same negatives.

    Raises:
        ValueError: no user of the interactions rejected anything.

    Example:
        >>> ids = {"user_id": ["ann", "bob"], "item_id": ["tea", "rum"]}
        >>> rejections = Interactions.from_columns(user_id=["ann"], item_id=["gin"])
        >>> with_negatives(Interactions.from_columns(**ids), rejections).frame["negatives"].tolist()
        [['gin'], []]
    """
    items = rejections.frame["item_id"].to_numpy()
    kinds, by_user = pd.factorize(rejections.frame["user_id"])
    order = np.argsort(kinds, kind="stable")
    size = np.bincount(kinds)
    first = np.cumsum(size) - size
    # -1 where a user rejected nothing
    user = pd.Index(by_user).get_indexer(interactions.frame["user_id"])
    if (user < 0).all():
        raise ValueError(
            "no user of the interactions rejected anything: do both name users in the same way?"
        )
    draws = np.random.default_rng(seed).random((len(user), num)) * size[user][:, None]
    chosen = items[order[first[user][:, None] + draws.astype(np.int64)]]  # [n, num]
    negatives = [
        list(dict.fromkeys(row)) if known else []
        for row, known in zip(chosen, user >= 0, strict=True)
    ]
    return replace(
        interactions, frame=interactions.frame.assign(negatives=pd.Series(negatives, dtype=object))
    )
