"""Interactions as TFRecord files of `tf.train.Example`: one example an event."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tf_recall.data import tables
from tf_recall.data.atomic import atomic_file
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column
from tf_recall.data.tables import OURS

if TYPE_CHECKING:
    import tensorflow as tf

BATCH = 8192  # examples that are parsed at once


def tfrecord(
    path: str | Path,
    columns: dict[str, Column] | None = None,
    context: Sequence[Column] | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
    missing: Sequence[str] = (),
    time_unit: str | None = None,
) -> Interactions:
    """Reads interactions from TFRecord files of `tf.train.Example`, compressed by gzip or not.

    An example has the features `user_id` and `item_id`, and where known `timestamp` and `weight`,
    of one value each: text (bytes) or whole numbers as ids. Which there are, and of what kind, the
    first 8,192 examples of a file say. Further features of one value are context; an example may
    lack those.

    Args:
        path: a file, or a folder of them, read in the order of their names; those that begin with
            `.` or `_` are left out.
        columns: `{our name: the feature's}` where they differ.
        context: the further features to read; None: all that there are.
        items, users: files with `item_id` or `user_id` and further columns.
        missing: texts that stand for a missing value in side tables that are CSV files.
        time_unit: what numbers in `timestamp` count, as for `Interactions.from_frame`.

    Raises:
        OSError: no such file.
        ValueError: a file that is truncated or no TFRecord; an example that lacks a feature, or has
            one of another kind or of several values; what `Interactions` refuses.

    Example (YAML):
        data: {name: tfrecord, path: events/, columns: {timestamp: time}}
    """
    columns = tables.checked_names(columns)
    frames = [_read(file, columns, context) for file in _files(Path(path))]
    frame = pd.concat(frames, ignore_index=True)
    try:
        return Interactions.from_frame(frame, columns, items, users, missing, time_unit)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def write_tfrecord(log: Interactions, path: str | Path) -> None:
    """Writes interactions as a TFRecord file of `tf.train.Example`, which `tfrecord` reads.

    Ids and text become bytes, whole numbers and booleans int64, other numbers float32: a timestamp
    with fractions would lose days, and is written as text. A missing value is left out.

    Args:
        log: the interactions; side tables are not written.
        path: the file; it is compressed where its name ends in `.gz`.

    Raises:
        ValueError: a column holds something else, such as lists.
        OSError: the file cannot be written.

    Example:
        >>> write_tfrecord(interactions, "events.tfrecord.gz")
    """
    import tensorflow as tf

    path = Path(path)
    features = {name: _features(log.frame[name], name) for name in log.frame}
    options = tf.io.TFRecordOptions("GZIP" if path.suffix == ".gz" else "")
    with atomic_file(path) as aside, tf.io.TFRecordWriter(str(aside), options) as writer:
        for values in zip(*features.values(), strict=True):  # Protocol Buffers come one by one
            given = zip(features, values, strict=True)
            feature = {name: value for name, value in given if value is not None}
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def _features(column, name) -> Iterator[Any]:
    """A column's values as features; None where one is missing."""
    import tensorflow as tf

    values, there = column.to_numpy(), column.notna().to_numpy()
    if values.dtype.kind == "f" and name == "timestamp":
        values = values.astype(str).astype(object)
    if values.dtype.kind in "biu":
        of_kind = [tf.train.Int64List(value=[value]) for value in values.tolist()]
        key = "int64_list"
    elif values.dtype.kind == "f":
        of_kind = [tf.train.FloatList(value=[value]) for value in values.tolist()]
        key = "float_list"
    elif all(isinstance(value, str) for value in values[there]):
        of_kind = [tf.train.BytesList(value=[str(value).encode()]) for value in values.tolist()]
        key = "bytes_list"
    else:
        raise ValueError(
            f"column {name!r} holds {values[there][0]!r}: an example has text and numbers of one "
            "value each. Leave the column out"
        )
    return (
        tf.train.Feature(**{key: value}) if known else None
        for value, known in zip(of_kind, there, strict=True)
    )


def _files(path):
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}.")
        return [path]
    files = sorted(each for each in path.iterdir() if each.is_file() and each.name[0] not in "._")
    if not files:
        raise FileNotFoundError(f"{path} is a folder without a file in it.")
    return files


def _read(path, columns, context) -> pd.DataFrame:
    """The events of a file, under the names of its features."""
    import tensorflow as tf

    with open(path, "rb") as file:
        compression = "GZIP" if file.read(2) == b"\x1f\x8b" else ""
    records = tf.data.TFRecordDataset(str(path), compression)
    try:
        kinds = _kinds(records.take(BATCH).as_numpy_iterator(), columns, context)
        spec = {name: tf.io.VarLenFeature(dtype) for name, dtype in kinds.items()}
        parsed = records.batch(BATCH).map(lambda batch: tf.io.parse_example(batch, spec))
        needed = {columns.get(name, name) for name in OURS}
        parts, row = [], 0
        for batch in parsed:
            values = {name: _column(name, batch[name], name in needed, row) for name in kinds}
            parts.append(tables.of_columns(values))
            row += len(parts[-1])
        return pd.concat(parts, ignore_index=True)
    except tf.errors.DataLossError as error:
        raise ValueError(f"{path} is truncated, or no TFRecord file: {error.message}") from error
    except tf.errors.InvalidArgumentError as error:
        what = error.message.partition("Key: ")[2] or error.message
        raise ValueError(
            f"{path} holds an example of another kind than its first one, or none of "
            f"tf.train.Example: {what}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _kinds(examples: Iterator[bytes], columns: dict, context) -> "dict[str, tf.DType]":
    """The features to read, and what each is, as a file's first examples have them."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    dtypes = {"bytes_list": tf.string, "int64_list": tf.int64, "float_list": tf.float32}
    there = {}
    try:
        for example in examples:
            features = tf.train.Example.FromString(example).features.feature
            for name, feature in features.items():
                if name not in there and (kind := feature.WhichOneof("kind")) is not None:
                    there[name] = dtypes[kind]
    except DecodeError as error:
        raise ValueError(f"its records are no tf.train.Example: {error}") from error
    if not there:
        raise ValueError("it has no examples")
    ours = {name: columns.get(name, name) for name in OURS}
    wanted = [ours["user_id"], ours["item_id"], *columns.values()]
    wanted += [name for name in (ours["timestamp"], ours["weight"]) if name in there]
    further = sorted(there) if context is None else [columns.get(each, each) for each in context]
    if lacking := sorted({*wanted, *further} - {*there}):
        raise ValueError(
            f"its examples lack the feature {', '.join(lacking)}; they have "
            f"{', '.join(sorted(there))}"
        )
    return {name: there[name] for name in dict.fromkeys([*wanted, *further])}


def _column(name, values, needed, row):
    """A feature of a batch as a column; None or NaN where an example lacks one that it may."""
    size = int(values.dense_shape[0])
    lines = values.indices.numpy()[:, 0]
    counts = np.bincount(lines, minlength=size)
    if (wrong := np.flatnonzero(counts > 1)).size:
        raise ValueError(
            f"feature {name!r} has {counts[wrong[0]]} values in example {row + wrong[0]}, and a "
            "column holds one: leave it out by naming the others in `context`"
        )
    if needed and (wrong := np.flatnonzero(counts == 0)).size:
        raise ValueError(f"example {row + wrong[0]} lacks the feature {name!r}")
    given = values.values.numpy()
    if given.dtype == object:
        column = np.full(size, None, object)
        column[lines] = [value.decode("utf-8") for value in given]
    elif len(lines) == size:
        column = given
    else:
        column = np.full(size, np.nan)
        column[lines] = given
    return column
