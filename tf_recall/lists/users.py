"""The users that lists are written for, from a file."""

from pathlib import Path

import numpy as np

from tf_recall.data.ids import is_missing, kind_of, raw_ids
from tf_recall.data.tables import read
from tf_recall.recommend.base import Recommender


def users_of(recommender: Recommender, path: str | Path) -> np.ndarray:
    """The users of a file, each once, in the type of the model's ids.

    Args:
        recommender: whom to ask.
        path: a CSV or Parquet file with a column `user_id`.

    Raises:
        OSError: no such file.
        ValueError: no such column, or ids of another type.
    """
    table = read(path, {"user_id"})
    if "user_id" not in table:
        raise ValueError(f"{path} has no column user_id; it has {', '.join(map(str, table))}")
    try:
        ids = raw_ids(table["user_id"].drop_duplicates(), "user_id")
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    ids = ids[~is_missing(ids)]
    if recommender.id_types["user_id"] == kind_of(ids):
        return ids
    if kind_of(ids) == "string":
        raise ValueError(f"this model's user_id are whole numbers, and those of {path} are text")
    return ids.astype(str).astype(object)
