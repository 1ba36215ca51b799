"""Graphs of methods: each instance traces its own, and no warning counts them together."""

import tensorflow as tf

from tf_recall.data.tracing import traced


class Adds:
    def __init__(self, number):
        self.number = number
        self.answer = traced(self.plus, [tf.TensorSpec([], tf.int32)])

    def plus(self, value):
        return value + self.number


def test_many_of_a_kind_are_traced_without_a_warning(caplog):
    assert [int(Adds(number).answer(tf.constant(1))) for number in range(9)] == [*range(1, 10)]
    assert "retracing" not in caplog.text
