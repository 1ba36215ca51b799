"""What TensorFlow keeps by name goes with its handle, wherever Python notices that it is gone."""

import uuid

import pytest
import tensorflow as tf

from tf_recall.data.resources import release_unused


def table():
    """A named table, that is released, and its size by another handle."""
    made = tf.raw_ops.HashTableV2(
        shared_name=uuid.uuid4().hex, key_dtype=tf.int64, value_dtype=tf.int64
    )
    other = tf.identity(made)
    release_unused([made])
    return [made], lambda: tf.raw_ops.LookupTableSizeV2(table_handle=other)


def test_it_goes_with_its_handle_in_a_function_too():
    held, size = table()
    assert size() == 0

    @tf.function
    def traced():
        held.clear()
        return tf.constant(1)

    traced()
    with pytest.raises(tf.errors.NotFoundError):
        size()


def test_what_goes_while_a_graph_is_written_is_freed_with_the_next():
    held, size = table()
    with tf.Graph().as_default():
        held.clear()
    assert size() == 0
    table()[0].clear()
    with pytest.raises(tf.errors.NotFoundError):
        size()
