"""Functions of TensorFlow over methods of which a process has many instances."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf


def traced(function: Callable, signature: Sequence | None = None) -> Callable:
    """A graph of a function that does not branch in Python on a tensor.

    To look for such branches costs more than to trace. TensorFlow counts how often the same code is
    traced, and warns of many services as if one were traced again and again; what is partial counts
    by itself.

    Args:
        function: what to trace, such as a bound method.
        signature: a spec for each of its arguments; None: as it is called.

    Example:
        >>> import tensorflow as tf
        >>> double = traced(lambda number: 2 * number, [tf.TensorSpec([], tf.int32)])
        >>> int(double(tf.constant(4)))
        8
    """
    return tf.function(functools.partial(function), input_signature=signature, autograph=False)
