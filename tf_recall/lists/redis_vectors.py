"""Users' vectors in Redis, computed before: what a server searches with in place of the model."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_recall.data.ids import kind_of
from tf_recall.data.names import check_name
from tf_recall.lists.redis_load import load as load_values
from tf_recall.lists.write import distinct
from tf_recall.recommend.embedding import EmbeddingRecommender

SUFFIX = ".vectors"  # of their name, after the model's


def vectors_to_redis(
    recommender: EmbeddingRecommender,
    user_ids: Any,
    url: str,
    name: str,
    ttl: float | None = None,
    batch_size: int = 1024,
) -> int:
    """Loads users' vectors into Redis, and switches readers to them once all are there.

        <name>.vectors:current         JSON: "version", "key": "user_id", "shape", "export"
        <name>.vectors:<version>:<id>  float32, little-endian: `dim` numbers, or `interests * dim`

    A server asks a model with a vector only where the vector is of the very export that it serves:
    vectors of two trainings have nothing in common.

    Args:
        recommender: an export, as `load` gives it.
        user_ids: raw ids `[U]`, each once.
        url, ttl: as for `to_redis`.
        name: the model's name on the server.
        batch_size: how many users are embedded at once.

    Returns: the number of vectors.

    Raises:
        ValueError: no users, an id that is missing or comes twice, or what is no export; else as
            `to_redis`.
        ImportError, OSError: as `to_redis`.

    Example:
        >>> served = tr.load("saved_models/films")                      # doctest: +SKIP
        >>> vectors_to_redis(served, served.catalog.users.ids,          # doctest: +SKIP
        ...                  "redis://localhost:6379/0", "films", ttl=2 * 24 * 3600)
    """
    check_name("name", name)
    if not isinstance(recommender, EmbeddingRecommender) or recommender.export is None:
        raise ValueError(
            f"vectors are those of an export of one model, as load gives it, and not of "
            f"{type(recommender).__name__}"
        )
    ids = distinct(user_ids, "user_id")
    shape = list(recommender.embed_query(ids[:1]).shape[1:])
    about = {
        "key": "user_id",
        "key_type": kind_of(ids),
        "shape": shape,
        "export": recommender.export,
    }
    return load_values(_blocks(recommender, ids, batch_size), about, url, name + SUFFIX, ttl)


def vector_of(content: bytes, shape: list[int]) -> np.ndarray:
    """A vector `[1, *shape]` of what Redis holds.

    Raises:
        ValueError: its length is another.
    """
    return np.frombuffer(content, "<f4").astype(np.float32).reshape(1, *shape)


def _blocks(recommender, ids, size) -> Iterator[Iterator[tuple[str | int, bytes]]]:
    for start in range(0, len(ids), size):
        block = ids[start : start + size]
        vectors = recommender.embed_query(block).astype("<f4")
        yield zip(block.tolist(), (each.tobytes() for each in vectors), strict=True)
