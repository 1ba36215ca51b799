import gzip

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.interactions import Interactions
from tf_recall.data.sources import tfrecord as module
from tf_recall.data.sources.tfrecord import tfrecord, write_tfrecord


def of_text(*values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))


def of_whole(*values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def of_numbers(*values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def write(path, *examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for features in examples:
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return path


@pytest.mark.parametrize("name", ["log.tfrecord", "log.tfrecord.gz"])
def test_what_is_written_is_read_again(name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    number = np.arange(10)
    log = Interactions.from_columns(
        user_id=[f"ü{n % 3}" for n in number],
        item_id=number * 2**40,
        timestamp=1_700_000_000 + number / 8,
        weight=number / 4,
        device=np.array(["web", None] * 5, object),
        size=np.where(number % 2, number, np.nan),
        bought=number % 2,
    )
    write_tfrecord(log, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.endswith("gz")
    pd.testing.assert_frame_equal(
        tfrecord(tmp_path / name).frame, log.frame, check_dtype=False, check_like=True
    )
    write_tfrecord(log.select(number < 5), tmp_path / "in" / "1.tfrecord")
    write_tfrecord(log.select(number >= 5), tmp_path / "in" / "2.tfrecord")
    (tmp_path / "in" / "_half").write_bytes(b"?")
    both = tfrecord(tmp_path / "in", context=["bought"]).frame
    pd.testing.assert_frame_equal(
        both, log.frame[["user_id", "item_id", "timestamp", "weight", "bought"]]
    )


def test_examples_of_others_are_read_under_our_names(tmp_path):
    ann = {"who": of_text("ann"), "item_id": of_text("tea"), "time": of_whole(1_700_000_000_000)}
    path = write(tmp_path / "a", {**ann, "hour": of_numbers(0.5)}, ann)
    columns = {"user_id": "who", "timestamp": "time"}
    frame = tfrecord(path, columns, time_unit="ms").frame
    assert frame["user_id"].tolist() == ["ann", "ann"]
    assert frame["timestamp"].tolist() == [1_700_000_000] * 2
    assert frame["hour"].isna().tolist() == [False, True]


PAIR = {"user_id": of_text("ann"), "item_id": of_whole(7)}


@pytest.mark.parametrize(
    "examples, says",
    [
        ([{"user_id": of_text("ann")}], "lack the feature item_id; they have user_id"),
        ([PAIR, PAIR, {"user_id": of_text("bob")}], "example 2 lacks the feature 'item_id'"),
        ([PAIR, {**PAIR, "item_id": of_text("8")}], "of another kind than its first"),
        ([PAIR, {**PAIR, "item_id": of_whole(7, 8)}], "'item_id' has 2 values in example 1"),
        ([{**PAIR, "tags": of_text("a", "b")}], "'tags' has 2 values.*leave it out"),
        ([], "has no examples"),
    ],
)
def test_examples_that_are_off_are_refused_by_name(examples, says, tmp_path):
    path = write(tmp_path / "events.tfrecord", *examples)
    with pytest.raises(ValueError, match=f"events.tfrecord.*{says}"):
        tfrecord(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file_is_refused(packed, tmp_path):
    path = write(tmp_path / "a.tfrecord", *[PAIR] * 50)
    content = path.read_bytes()[:-5]
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=r"a\.tfrecord is truncated"):
        tfrecord(path)
    if packed:
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ValueError, match="a.tfrecord is truncated"):
            tfrecord(path)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        tfrecord(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="without a file"):
        tfrecord(tmp_path / "empty")
    (tmp_path / "text").write_text("user_id,item_id\nann,7\n" * 10)
    with pytest.raises(ValueError, match="truncated, or no TFRecord"):
        tfrecord(tmp_path / "text")
    with tf.io.TFRecordWriter(str(tmp_path / "other")) as writer:
        writer.write(b"\xffno example")
    with pytest.raises(ValueError, match="no tf.train.Example"):
        tfrecord(tmp_path / "other")
    log = Interactions.from_columns(["a"], [1], tags=np.array([["x"]], object)[:, 0:1].tolist())
    with pytest.raises(ValueError, match="column 'tags' holds"):
        write_tfrecord(log, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()
