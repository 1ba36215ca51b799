"""MovieLens through tensorflow-datasets: ratings, movies, and users where they are known."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.ids import raw_ids
from tf_recall.data.interactions import Interactions

VARIANTS = ("100k", "latest-small", "1m", "20m", "25m")
BLOCK = 65_536  # records parsed at once; one at a time is fifty times slower

RATING_COLUMNS = {
    "user_id": "string",
    "movie_id": "string",
    "user_rating": "float32",
    "timestamp": "int64",
}
USER_COLUMNS = {
    "raw_user_age": "float32",  # 100k only; 1m has the lower end of an age group
    "bucketized_user_age": "float32",
    "user_gender": "int64",
    "user_occupation_text": "string",
    "user_zip_code": "string",
}


def movielens(
    variant: str = "100k",
    manual_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Interactions:
    """MovieLens ratings as interactions; every rating is a positive, for the user chose the movie.

    Ids are strings. `frame` has the timestamp in seconds and the context column `user_rating`.
    `items` has `title` and `genres` ("Action|Comedy") of every movie, also of movies without a
    rating. `users`, in 100k and 1m, has `age` (in 1m the lower end of an age group), `gender`
    ("male", "female"), `occupation` and `zip_code`.

    The first call prepares the data set under `data_dir`, and downloads it unless `manual_dir` has
    it. Later calls read it there.

    Args:
        variant: "100k", "latest-small", "1m", "20m" or "25m".
        manual_dir: folder with GroupLens' own file, such as `ml-latest-small.zip`; then nothing is
            downloaded.
        data_dir: where tensorflow-datasets keeps what it prepared, by default
            `~/tensorflow_datasets`.

    Raises:
        ValueError: an unknown variant.
        FileNotFoundError: `manual_dir` does not have the file.
        ImportError: tensorflow-datasets is not installed.

    Example:
        >>> ratings = movielens("latest-small", manual_dir="downloads")

    Paper: Harper and Konstan 2015, "The MovieLens Datasets: History and Context".
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}.")
    if manual_dir is not None and not (Path(manual_dir) / f"ml-{variant}.zip").is_file():
        raise FileNotFoundError(
            f"{manual_dir} does not hold ml-{variant}.zip, the name of the file at grouplens.org."
        )
    with contextlib.redirect_stdout(sys.stderr):  # tensorflow-datasets prints what it does
        ratings, features = _prepared(f"{variant}-ratings", manual_dir, data_dir)
        movies, movie_features = _prepared(f"{variant}-movies", manual_dir, data_dir)
    known = {name: dtype for name, dtype in USER_COLUMNS.items() if name in features}
    columns = _columns(ratings, RATING_COLUMNS | known)
    items = _movies(movies, movie_features["movie_genres"].feature.names)
    return Interactions.from_columns(
        user_id=columns["user_id"],
        item_id=columns["movie_id"],
        timestamp=columns["timestamp"],
        user_rating=columns["user_rating"],
        items=items,
        users=_users(columns) if known else None,
    )


def _prepared(config: str, manual_dir, data_dir):
    """Prepares a data set if need be; gives its record files and its features."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"MovieLens comes through tensorflow-datasets ({error}): pip install 'tf-recall[tfds]'."
        ) from error
    builder = tfds.builder(f"movielens/{config}", data_dir=data_dir, file_format="tfrecord")
    manual_dir = manual_dir and str(Path(manual_dir).resolve())
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return [str(path) for path in builder.info.splits["train"].filepaths], builder.info.features


def _blocks(paths: list[str], spec: dict):
    import tensorflow as tf

    records = tf.data.TFRecordDataset(paths).batch(BLOCK)
    return records.map(lambda block: tf.io.parse_example(block, spec)).prefetch(2)


def _columns(paths: list[str], dtypes: dict) -> dict:
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature((), dtype) for name, dtype in dtypes.items()}
    blocks = list(_blocks(paths, spec).as_numpy_iterator())
    columns = {name: _joined(blocks, name) for name in dtypes}
    text = {name: _text(column) for name, column in columns.items() if column.dtype == object}
    return columns | text


def _joined(blocks: list[dict], name: str) -> np.ndarray:
    return np.concatenate([block[name] for block in blocks])


def _text(column: np.ndarray) -> np.ndarray:
    """Bytes as strings, with one string object for each distinct value."""
    codes, known = pd.factorize(column)
    return raw_ids(known)[codes]


def _movies(paths: list[str], genres: list[str]) -> pd.DataFrame:
    import tensorflow as tf

    text = tf.io.FixedLenFeature((), tf.string)
    spec = {"movie_id": text, "movie_title": text, "movie_genres": tf.io.RaggedFeature(tf.int64)}
    blocks = list(_blocks(paths, spec))
    labels = tf.concat([block["movie_genres"] for block in blocks], axis=0)
    names = tf.gather(tf.constant(genres), labels)
    return pd.DataFrame(
        {
            "item_id": raw_ids(_joined(blocks, "movie_id")),
            "title": raw_ids(_joined(blocks, "movie_title")),
            "genres": raw_ids(tf.strings.reduce_join(names, axis=1, separator="|").numpy()),
        }
    )


def _users(columns: dict) -> pd.DataFrame:
    users = pd.DataFrame(
        {
            "user_id": columns["user_id"],
            "age": columns.get("raw_user_age", columns["bucketized_user_age"]),
            "gender": np.where(columns["user_gender"] == 1, "male", "female"),
            "occupation": columns["user_occupation_text"],
            "zip_code": columns["user_zip_code"],
        }
    )
    return users.drop_duplicates("user_id", ignore_index=True)
