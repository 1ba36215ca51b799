"""Why an embedding model recommends an item: the liked items nearest to it."""

import numpy as np

from tf_recall.data.catalog import Catalog


def explained(catalog: Catalog, embed_item, user_id, item_id, num: int, history=None) -> list[dict]:
    """`nearest_liked` of what a user had in training, or of the history given.

    Args:
        catalog: the catalog of the training part.
        embed_item: raw item ids `[n]` to vectors `[n, dim]`.
        user_id, item_id, num, history: as for `Service.explain`.
    """
    row = catalog.known_item(item_id)
    if history is None:
        liked = catalog.seen.of(int(catalog.users.encode([user_id])[0]))
    else:
        liked = np.unique(catalog.items.encode(history))
    liked = catalog.items.decode(liked[(liked > 0) & (liked != row)])
    if not len(liked):
        return []
    vectors = embed_item([*liked, item_id])
    return nearest_liked(liked.tolist(), vectors[:-1], vectors[-1], num)


def nearest_liked(liked: list, vectors: np.ndarray, item: np.ndarray, num: int) -> list[dict]:
    """The liked items most like an item, as reasons for it.

        share(j) = max(0, cos(item, j)) / sum over the liked items l of max(0, cos(item, l))

    Args:
        liked: raw ids `[n]`.
        vectors: theirs, `[n, dim]`.
        item: the item's own, `[dim]`.
        num: how many, at most.

    Returns:
        `[{"kind": "item", "id": ..., "share": ...}]`, falling; empty where no liked item is like
        it.
    """
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(item)
    like = np.maximum(
        np.divide(vectors @ item, norms, out=np.zeros(len(vectors)), where=norms > 0), 0
    )
    best = [place for place in np.argsort(-like, kind="stable")[:num] if like[place] > 0]
    return [
        {"kind": "item", "id": liked[place], "share": float(like[place] / like.sum())}
        for place in best
    ]
