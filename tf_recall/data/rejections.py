"""Each interaction's own negatives, from what its user rejected."""

from dataclasses import replace

import numpy as np
import pandas as pd


def with_negatives(interactions, rejections, num=4, seed=0):
    """The interactions with a column `negatives`: for each row, items that its user rejected, drawn
    anew for each row.

    Impressions without a click may be given as rejections too, with the caution of METHODS.md N6:
    they are negatives among what was worth showing, not among all items.

    Args:
        interactions: the positives.
        rejections: `Interactions` of users with items they did not want.
        num: how many negatives a row gets; none where its user rejected nothing.
        seed: same seed, same negatives.

    Raises:
        ValueError: no user rejected anything.
    """
    users, items = rejections.frame["user_id"], rejections.frame["item_id"].to_numpy()
    kinds, by_user = pd.factorize(users)
    order = np.argsort(kinds, kind="stable")
    size = np.bincount(kinds)
    first = np.cumsum(size) - size
    user = pd.Index(by_user).get_indexer(interactions.frame["user_id"])  # -1: rejected nothing
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
