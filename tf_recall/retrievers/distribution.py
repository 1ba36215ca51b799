"""Training on several replicas (`tf.distribute`): their number, this one's, the rows of all.

Outside a replica context there is one replica, number 0, and its rows are all rows.
"""

import keras
import tensorflow as tf

from tf_recall.retrievers.keras_hooks import BuiltModel


def num_replicas() -> int:
    """How many replicas compute this step together."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def own_part(batch: dict) -> dict:
    """This replica's part of a batch of `GraphBatches`: that of several has a first size more.

    Raises:
        ValueError: the batch was made for another number of replicas.
    """
    shape = batch["subgraph"]["step"].shape
    if num_replicas() == 1 and shape.rank == 0:
        return batch
    if shape != [1]:
        raise ValueError(
            f"these batches are of {shape[0] if shape.rank else 1} replicas, not of "
            f"{num_replicas()}: give fit the dataset() of this model's batches()"
        )
    return tf.nest.map_structure(lambda array: tf.squeeze(array, 0), batch)


def rank() -> tf.Tensor:
    """The number of this replica, from 0: a scalar int32."""
    context = tf.distribute.get_replica_context()
    if context is None:
        return tf.constant(0)
    return tf.convert_to_tensor(context.replica_id_in_sync_group, tf.int32)


def gather(x: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, in replica order: `[B, ...] -> [R * B, ...]`, of any dtype.

    gradient of x = (the replicas' gradients of the gathered rows, summed), at this replica's rows

    So where each replica's loss is its part of one sum, every row learns from the whole sum.
    Replicas may differ in B. Every replica must call this equally often, and not inside `tf.cond`
    or `tf.while_loop`. XLA cannot compile it.
    """
    if num_replicas() == 1:
        return x
    own = tf.identity(x)  # `all_gather` does not know the device of a batch's own tensor
    gathered = _dense_gradient(tf.distribute.get_replica_context().all_gather(own, axis=0))
    gathered.set_shape([None, *x.shape[1:]])
    return gathered


@tf.custom_gradient
def _dense_gradient(x):
    """x itself, with dense gradients: `all_gather` cannot take the sparse ones of a row lookup."""
    return tf.identity(x), tf.convert_to_tensor


class ReplicatedModel(BuiltModel, keras.Model):
    """A Keras model whose `fit` and `evaluate` also run on several replicas and worker processes.

    Across processes Keras 3.15 computes the mean of a batch, which fails for a dict, and of the
    logs along an axis that scalars lack. Make, build and compile the model in `strategy.scope()`;
    all its layers must be built before `fit`.
    """

    @property
    def needs_static_shapes(self) -> bool:
        """Whether shapes must be known before the step runs: for XLA, and so for TPUs."""
        strategy = tf.distribute.get_strategy()
        return self.jit_compile or isinstance(strategy, tf.distribute.TPUStrategy)

    def check_replicas(self, rows: tf.Tensor) -> None:
        """Checks that several replicas can compute a step together; `rows` are `[B, ...]`.

        Raises:
            ValueError: the batch size is not a multiple of their number, or XLA compiles the step.
        """
        if num_replicas() > 1 and self.jit_compile:
            raise ValueError(
                "jit_compile=True does not work on several replicas: compile with jit_compile=False"
            )
        if num_replicas() > 1 and rows.shape[0] is None:
            raise ValueError(
                f"the batch size must be a multiple of the number of replicas, {num_replicas()}"
            )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # the replicas' gradients are summed
        return tf.add_n([y_pred, *self.losses]) / num_replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        if _across_workers(self.distribute_strategy):
            return {name: tf.expand_dims(value, 0) for name, value in logs.items()}
        return logs


def one_device() -> tf.distribute.Strategy:
    """Trains on one device: TensorFlow's default strategy."""
    return tf.distribute.get_strategy()


def mirrored() -> tf.distribute.MirroredStrategy:
    """Trains on every GPU of this machine, a replica each; on its CPU where there is none."""
    return tf.distribute.MirroredStrategy()


def multi_worker() -> tf.distribute.MultiWorkerMirroredStrategy:
    """Trains in the processes that the environment variable `TF_CONFIG` names.

    Call it before any other use of TensorFlow.
    """
    return tf.distribute.MultiWorkerMirroredStrategy()


def tpu() -> tf.distribute.TPUStrategy:
    """Trains on this machine's TPU, or on that of the environment variable `TPU_NAME`."""
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files."""
    return strategy.extended.should_checkpoint


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker process has called this."""
    if _across_workers(strategy):
        strategy.reduce("SUM", tf.constant(1.0), axis=None)


def _across_workers(strategy):
    return strategy.num_replicas_in_sync > 1 and strategy.num_replicas_in_sync > len(
        strategy.extended.worker_devices
    )
