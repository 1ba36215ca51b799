"""A program of the tests: trains a small model on one device, on two replicas, or on one of two workers.

    python two_replicas.py one|mirrored|workers FOLDER

writes the tables to FOLDER/weights.npz; of two workers, who find each other by TF_CONFIG, the chief writes.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.distribution import gather, num_replicas
from tf_recall.optimizers import RowwiseAdagrad
from tf_recall.towers.embedding import RowEmbedding

USERS, ITEMS, DIM, BATCH, EPOCHS = 50, 40, 8, 32, 2


class Toy(keras.Model):
    """In-batch softmax over the items of all replicas, equal ids left out."""

    def __init__(self):
        super().__init__()
        self.users = RowEmbedding(USERS, DIM, keras.initializers.RandomUniform(seed=1))
        self.items = RowEmbedding(ITEMS, DIM, keras.initializers.RandomUniform(seed=2))

    def build(self, input_shape=None):
        self.users.build()
        self.items.build()
        self.built = True

    def call(self, batch, training=False):
        own = batch["item"]
        tf.print("STEP", self.optimizer.iterations.value, tf.shape(own), own[:4], output_stream=sys.stderr)
        every = gather(own)
        item = self.items(own)
        scores = tf.matmul(self.users(batch["user"]), gather(item), transpose_b=True)
        scores -= 1e9 * tf.cast(own[:, None] == every[None, :], tf.float32)
        positive = tf.reduce_sum(self.users(batch["user"]) * item, axis=1)
        return tf.reduce_mean(tf.reduce_logsumexp(tf.concat([positive[:, None], scores], axis=1), axis=1) - positive)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        super()._maybe_symbolic_build()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        s = tf.distribute.get_strategy()
        if s.num_replicas_in_sync > len(s.extended.worker_devices):
            return {k: v[None] for k, v in logs.items()}
        return logs

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tf.add_n([y_pred, *self.losses]) / num_replicas()


def batches():
    random = np.random.default_rng(0)
    columns = {"user": random.integers(1, USERS, 300).astype(np.int32),
               "item": random.integers(1, ITEMS, 300).astype(np.int32)}
    return Batches(columns, BATCH, seed=3)


def main(kind, folder):
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    elif kind == "workers":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    with strategy.scope():
        model = Toy()
        model.build()
        model.compile(RowwiseAdagrad(0.1), jit_compile=False)
    data = batches()
    h = model.fit(data.dataset(), steps_per_epoch=data.steps_per_epoch, epochs=EPOCHS, shuffle=False, verbose=2)
    print(h.history, int(model.optimizer.iterations.numpy()))
    np.savez(Path(folder) / f"weights{sys.argv[3] if len(sys.argv)>3 else ''}.npz", *[weight.numpy() for weight in model.weights])


if __name__ == "__main__":
    main(*sys.argv[1:3])
