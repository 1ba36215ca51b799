"""What TensorFlow keeps by name until the process ends, let go with what used it."""

import collections
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

_UNUSED: "collections.deque[tf.Tensor]" = collections.deque()


def release_resources_with(owner: Any, handles: "Iterable[tf.Tensor]") -> None:
    """Frees resources, such as lookup tables, once `owner` is gone.

    Args:
        owner: whose graphs use them, and nobody else's.
        handles: of the resources.
    """
    weakref.finalize(owner, _release, list(handles)).atexit = False


def _release(handles):
    import tensorflow as tf

    _UNUSED.extend(handles)
    with tf.init_scope():  # it may be called while a function is traced
        # and while a graph is written, which leaves them to the next one
        while _UNUSED and tf.executing_eagerly():
            tf.raw_ops.DestroyResourceOp(resource=_UNUSED.popleft(), ignore_lookup_error=True)
