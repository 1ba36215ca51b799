"""Explanations: which items, users or attributes brought an item to a user, and how much."""

from collections.abc import Callable

import numpy as np

from tf_recall.data.catalog import Catalog

EQUAL = 1e-6  # scores closer than this: copies of one interest, differently rounded


def largest_shares(
    kind: str, weights: np.ndarray, names: Callable[[np.ndarray], list], num: int
) -> list[dict]:
    """The largest weights above 0, as shares of all weights together.

        share(j) = weights[j] / sum over l of weights[l]

    Args:
        kind: what is weighed: "item", "user", "attribute".
        weights: `[n]`.
        names: a function of positions in `weights`, to the raw ids or names there.
        num: how many, at most.

    Returns:
        `[{"kind": "item", "id": ..., "share": ...}]`, falling.
    """
    best = np.argsort(-weights, kind="stable")[:num]
    best = best[weights[best] > 0]
    whole = weights.sum()
    return [
        {"kind": kind, "id": name, "share": float(weights[position] / whole)}
        for name, position in zip(names(best), best, strict=True)
    ]


def nearest_items(
    catalog: Catalog, embed_item: Callable, items: np.ndarray, item: int, num: int
) -> list[dict]:
    """Of the items that a user interacted with, those most similar to the item to be explained.

        share(j) = max(0, cos(item, j)) / sum over l of max(0, cos(item, l))

    Args:
        catalog: has the raw ids of item rows.
        embed_item: raw item ids `[n]` to vectors `[n, dim]`.
        items: rows of the user's items, repeats and 0 among them.
        item: row of the item to be explained, which does not speak for itself.
        num: how many, at most.

    Returns:
        As `largest_shares`; empty where none is similar.
    """
    items = np.unique(items[(items > 0) & (items != item)])
    if not len(items):
        return []
    ids = catalog.items.decode(np.append(items, item))
    vectors = embed_item(ids)
    norms = np.linalg.norm(vectors[:-1], axis=1) * np.linalg.norm(vectors[-1])
    product = vectors[:-1] @ vectors[-1]
    cosine = np.divide(product, norms, out=np.zeros(len(items)), where=norms > 0)
    names = ids.tolist()
    return largest_shares(
        "item", np.maximum(cosine, 0), lambda best: [names[at] for at in best], num
    )


def nearest_interest(
    embedding: np.ndarray,
    item_id: np.ndarray,
    weight: np.ndarray,
    vector: np.ndarray,
    item: int | str,
    num: int,
) -> list[dict]:
    """Which interest of a user an item is nearest to, and the items that weigh most in it.

        interest = argmax_k embedding[k] . vector
        share(j) = sum over l with item_id[l] = j of weight[interest, l], of the sum over all j

    Args:
        embedding: `[K, dim]`, the user's vectors.
        item_id: `[L]`, the raw ids of the history.
        weight: `[K, L]`, how much each counts in each interest; 0 where there is none.
        vector: `[dim]`, of the item to be explained.
        item: its raw id; it does not speak for itself.
        num: how many, at most.

    Returns:
        As `largest_shares`, each with `"interest"`, the number of the vector among those that
        `embed_query` gives, from 0; empty where there is no history.
    """
    score = embedding @ vector
    interest = int(np.argmax(score > score.max() - EQUAL))  # of equal ones the first
    ids, position = np.unique(item_id, return_inverse=True)
    weights = np.bincount(position, weight[interest], len(ids))
    weights[ids == item] = 0
    reasons = largest_shares("item", weights, lambda best: ids[best].tolist(), num)
    return [{**reason, "interest": interest} for reason in reasons]
