"""What TensorFlow keeps by name until the process ends, let go with what used it."""

import collections
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_UNUSED: "collections.deque[tf.Tensor]" = collections.deque()


def release_unused(handles: "Iterable[tf.Tensor]") -> None:
    """Frees resources, such as lookup tables, once nothing holds their handles any more.

    Args:
        handles: of the resources, which graphs that use them hold.
    """
    import tensorflow as tf

    for handle in handles:
        weakref.finalize(handle, _release, tf.identity(handle)).atexit = False


def _release(handle):
    import tensorflow as tf

    _UNUSED.append(handle)
    with tf.init_scope():  # it may be called while a function is traced
        # and while a graph is written, which leaves them to the next one
        while _UNUSED and tf.executing_eagerly():
            tf.raw_ops.DestroyResourceOp(resource=_UNUSED.popleft(), ignore_lookup_error=True)
