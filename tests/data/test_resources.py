"""What TensorFlow keeps by name goes with its owner, wherever Python notices that it is gone."""

import uuid

import pytest
import tensorflow as tf

from tf_recall.data.resources import release_resources_with


class Owner:
    """Something that may be referred to weakly."""


@pytest.fixture
def table():
    """A named table, and its size."""
    made = tf.raw_ops.HashTableV2(
        shared_name=uuid.uuid4().hex, key_dtype=tf.int64, value_dtype=tf.int64
    )
    return made, lambda: tf.raw_ops.LookupTableSizeV2(table_handle=made)


def test_it_goes_with_its_owner_in_a_function_too(table):
    handle, size = table
    owners = [Owner()]
    release_resources_with(owners[0], [handle])
    assert size() == 0

    @tf.function
    def traced():
        owners.clear()
        return tf.constant(1)

    traced()
    with pytest.raises(tf.errors.NotFoundError):
        size()


def test_what_goes_while_a_graph_is_written_is_freed_with_the_next(table):
    handle, size = table
    owners = [Owner(), Owner()]
    release_resources_with(owners[0], [handle])
    with tf.Graph().as_default():
        del owners[0]
    assert size() == 0
    release_resources_with(owners[0], [])
    del owners[0]
    with pytest.raises(tf.errors.NotFoundError):
        size()
