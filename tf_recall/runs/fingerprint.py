"""A fingerprint of the data that a run learns from: other data, another run."""

import hashlib

import numpy as np
import pandas as pd

from tf_recall.data.split import Split
from tf_recall.data.stored import StoredInteractions


def fingerprint(split: Split) -> str:
    """A digest of the training and validation parts with their side tables, in order of lines.

    A checkpoint's rows are those of the data it was trained on: with other data of the same size
    its weights would be those of other users and items.

    Args:
        split: the data; its test part changes no weight and is left out.

    Example:
        >>> fingerprint(split) == fingerprint(split)
        True
    """
    contents = [_of_log(split.train), _of_table(split.train.items), _of_table(split.train.users)]
    if split.validation is not None:
        contents.append(_of_log(split.validation))
    return hashlib.sha256(b"".join(contents)).hexdigest()[:32]


def _of_log(log):
    if isinstance(log, StoredInteractions):
        return log.digest.encode()
    return _of_table(log.frame)


def _of_table(table):
    if table is None:
        return b"|"
    digest = hashlib.sha256()
    for name, column in table.items():
        digest.update(f"{name}:{len(column)}".encode())
        digest.update(_hashes(column).tobytes())
    return digest.digest()


def _hashes(column: pd.Series) -> np.ndarray:
    """A hash of each value, `[n]`; those that have none, such as lists, by how they are written."""
    try:
        return pd.util.hash_pandas_object(column, index=False).to_numpy()
    except TypeError:
        return pd.util.hash_pandas_object(column.map(_written), index=False).to_numpy()


def _written(value):
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)
