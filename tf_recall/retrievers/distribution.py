"""What training on several replicas (`tf.distribute`) needs: how many they are, which this one is,
everybody's rows.

Outside a replica context, and with one replica, there is one of them, number 0, and its rows are
all rows.
"""

import keras
import tensorflow as tf

from tf_recall.retrievers.keras_hooks import BuiltModel


def num_replicas():
    """How many replicas compute this step together: an int."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def rank():
    """The number of this replica, from 0: a scalar int32 tensor."""
    context = tf.distribute.get_replica_context()
    return (
        tf.constant(0)
        if context is None
        else tf.convert_to_tensor(context.replica_id_in_sync_group, tf.int32)
    )


def gather(x):
    """The rows of all replicas, in replica order: `[B, ...] -> [R * B, ...]`, of any dtype.

    gradient of x = (the replicas' gradients of the gathered rows, summed), at this replica's rows

    So where each replica's loss is its part of one sum, every row learns from the whole sum.
    Replicas may differ in B. Every replica must come here equally often, and not inside `tf.cond`
    or `tf.while_loop`. XLA cannot compile it.
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


class ReplicatedModel(BuiltModel, keras.Model):
    """A Keras model whose `fit` and `evaluate` also run across worker processes.

    There Keras 3.15 takes the mean of a batch, which fails for a dict, and of the logs along an
    axis that scalars lack. Make, build and compile the model in `strategy.scope()`; its layers must
    all be built before `fit`.
    """

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        if _across_workers(self.distribute_strategy):
            return {name: tf.expand_dims(value, 0) for name, value in logs.items()}
        return logs


def one_device():
    """TensorFlow's default strategy."""
    return tf.distribute.get_strategy()


def mirrored():
    """Every GPU of this machine, a replica each; its CPU where there is none."""
    return tf.distribute.MirroredStrategy()


def multi_worker():
    """The processes that the environment's `TF_CONFIG` names. Call it before any other use of
    TensorFlow.
    """
    return tf.distribute.MultiWorkerMirroredStrategy()


def tpu():
    """The TPU that this machine, or the environment's `TPU_NAME`, has."""
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def is_chief(strategy):
    """Whether this process is the one that writes files."""
    return strategy.extended.should_checkpoint


def wait_for_all(strategy):
    """Returns once every worker process has come here."""
    if _across_workers(strategy):
        strategy.reduce("SUM", tf.constant(1.0), axis=None)


def _across_workers(strategy):
    return strategy.num_replicas_in_sync > 1 and strategy.num_replicas_in_sync > len(
        strategy.extended.worker_devices
    )
