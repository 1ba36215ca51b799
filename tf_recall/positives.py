"""Question 1, which pairs are positive: functions from interactions to the columns of training batches."""

import numpy as np


def user_item(interactions, catalog, query_tower):
    """A user and each item interacted with (METHODS.md P1).

    Everything is a number afterwards: ids are rows, context is encoded, so the training step looks up no strings.

    Args:
        interactions: the training `Interactions`.
        catalog: its `Catalog`.
        query_tower: an adapted tower; it says which context columns it wants.

    Returns:
        `{"query": {"user": [n] int32, <context feature>: [n, ...]}, "item": {"item": [n] int32}}` and `"weight": [n]`
        float32 where the interactions have weights. Pairs whose item the catalog does not know are left out.

    Example:
        >>> batches = Batches(user_item(split.train, catalog, model.query_tower), batch_size=2048)
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
    return columns if known.all() else _select(columns, known)


def _select(columns, rows):
    return {key: _select(value, rows) if isinstance(value, dict) else value[rows] for key, value in columns.items()}
