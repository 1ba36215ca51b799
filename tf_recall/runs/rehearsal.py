"""What follows training, tried before it: requests of the held-out parts, and where files go."""

import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_recall.index.base import Index
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.service import Service
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.measure import asked, user_blocks
from tf_recall.runs.prepared import Prepared

ASKED = 2  # held-out lines that are asked; all of them are parsed


def untrained(prepared: Prepared, model: Retriever) -> Service:
    """The service of a model that is not trained yet: it takes requests, and finds nothing good.

    The catalog is not encoded, which may take long.

    Args:
        prepared: what the model was made of.
        model: adapted and compiled.
    """
    kind = model.service or Service
    catalog = prepared.catalog
    size = catalog.side(kind.candidates).vocabulary.size - 1
    index = _Nothing(size, model.query_tower.dim)
    towers = model.query_tower, model.item_tower
    return kind(*towers, index, catalog, prepared.k_max, **model.serving)


class _Nothing(Index):
    """An index that finds nothing."""

    recall = 0.0

    def __init__(self, num_items, dim):
        super().__init__()
        self.num_items, self.dim = num_items, dim

    def search(self, queries, k, exclude=None):
        shape = [tf.shape(queries)[0], k]
        return tf.fill(shape, -np.inf), tf.fill(shape, -1)

    def vectors_at(self, positions):
        return tf.zeros(tf.concat([tf.shape(positions), [self.dim]], axis=0))


def rehearse(recommender: Recommender, prepared: Prepared) -> None:
    """Asks what an evaluation will ask: each held-out part's requests must be taken.

    Args:
        recommender: a service of `untrained`, or a merge with such services.
        prepared: the run.

    Raises:
        ValueError: a column of a held-out part is of another kind than the training part's.
    """
    settings, split = prepared.config.evaluate, prepared.split
    k = min(max(settings.ks) + 1, recommender.k_max)
    for name in ("validation", "test"):
        part = getattr(split, name)
        if part is None:
            continue
        for block in user_blocks(asked(settings, part)):
            given = [column for column in recommender.query_columns if column in block.frame]
            context = {column: block.frame[column].to_numpy() for column in given}
            users = block.frame["user_id"].to_numpy()
            some = {column: values[:ASKED] for column, values in context.items()}
            try:
                recommender.request_for_users(users, **context)
                asking = {"exclude_seen": settings.exclude_seen, **some}
                recommender.recommend_rows(users[:ASKED], k, **asking)
            except (ValueError, TypeError) as error:
                raise ValueError(f"the {name} part cannot be asked: {error}") from error


def check_writable(folder: str | Path) -> None:
    """Makes a folder where it is missing, and sees whether files can be written there.

    Raises:
        OSError: they cannot; the message names the folder.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"{folder} cannot be written to: {error.strerror}") from error
