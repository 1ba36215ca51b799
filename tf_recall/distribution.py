"""What a step on several replicas (`tf.distribute`) needs: how many they are, which this one is, and everybody's rows.

Outside a replica context, and with one replica, there is one of them, number 0, and its rows are all rows.
"""

import tensorflow as tf


def num_replicas():
    """How many replicas compute this step together: an int."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def rank():
    """The number of this replica, from 0: a scalar int32 tensor."""
    context = tf.distribute.get_replica_context()
    return tf.constant(0) if context is None else tf.convert_to_tensor(context.replica_id_in_sync_group, tf.int32)


def gather(x):
    """The rows of all replicas, in replica order: `[B, ...] -> [R * B, ...]`, of any dtype.

    gradient of x = (the replicas' gradients of the gathered rows, summed), at this replica's rows

    So where each replica's loss is its part of one sum, every row learns from the whole sum. Replicas may differ in B.
    Every replica must come here equally often, and not inside `tf.cond` or `tf.while_loop`.
    """
    if num_replicas() == 1:
        return x
    own = tf.identity(x)  # of a batch's own tensor `all_gather` would not know the device
    gathered = _dense_gradient(tf.distribute.get_replica_context().all_gather(own, axis=0))
    gathered.set_shape([None, *x.shape[1:]])
    return gathered


@tf.custom_gradient
def _dense_gradient(x):
    """x itself; reading some rows of it makes sparse gradients, which `all_gather` cannot take."""
    return tf.identity(x), tf.convert_to_tensor
