"""A program that the tests run: what two replicas gather, and the weights that they train.

python two_replicas.py local FOLDER     one device, then two replicas: one.npz and mirrored.npz
python two_replicas.py worker FOLDER    one of the two workers in TF_CONFIG: worker0.npz or worker1.npz
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.distribution import ReplicatedModel, gather, num_replicas, rank
from tf_recall.optimizers import RowwiseAdagrad
from tf_recall.towers.embedding import RowEmbedding

ROWS, USERS, ITEMS, DIM, BATCH, EPOCHS = 300, 50, 40, 8, 32, 2


class Toy(ReplicatedModel):
    """In-batch softmax; the rivals of a row are the items of all replicas but those of its own id."""

    def __init__(self):
        super().__init__()
        self.users = RowEmbedding(USERS, DIM, keras.initializers.RandomUniform(seed=1))
        self.items = RowEmbedding(ITEMS, DIM, keras.initializers.RandomUniform(seed=2))

    def build(self, input_shape=None):
        self.users.build()
        self.items.build()
        self.built = True

    def call(self, batch, training=False):
        query, item, rows = self.users(batch["query"]["user"]), self.items(batch["item"]), batch["item"]
        positive = tf.reduce_sum(query * item, axis=1)
        rivals = tf.matmul(query, gather(item), transpose_b=True)
        rivals = tf.where(rows[:, None] == gather(rows), -np.inf, rivals)
        return tf.reduce_mean(tf.reduce_logsumexp(tf.concat([positive[:, None], rivals], 1), 1) - positive)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return y_pred / num_replicas()


def make():
    """The compiled model, and its batches."""
    model = Toy()
    model.build()
    model.compile(RowwiseAdagrad(0.1), jit_compile=False)
    random = np.random.default_rng(0)
    users, items = (random.integers(1, size, ROWS).astype(np.int32) for size in (USERS, ITEMS))
    return model, Batches({"query": {"user": users}, "item": items}, BATCH, seed=3)


def train(strategy):
    """The loss of each epoch, the loss of an evaluation afterwards, the weights and the optimizer's state."""
    with strategy.scope():
        model, batches = make()
    steps = batches.steps_per_epoch
    history = model.fit(batches.dataset(), steps_per_epoch=steps, epochs=EPOCHS, shuffle=False, verbose=0).history
    evaluated = model.evaluate(batches.dataset(), steps=steps, verbose=0)
    weights = [weight.numpy() for weight in (*model.weights, *model.optimizer.variables)]
    named = {f"weight/{at}": weight for at, weight in enumerate(weights)}
    return {"loss": history["loss"], "evaluated": evaluated, **named}


def probe(strategy):
    """What each replica of this process sees: `{name/replica: value}`."""

    def step():
        x = tf.constant([[1.0, 2], [3, 4]]) + 10 * tf.cast(rank(), tf.float32)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            rows = gather(x)
            dense = tf.reduce_sum(rows * tf.reshape(tf.range(8.0), [4, 2])) * 10 ** tf.cast(rank(), tf.float32)
            sparse = tf.reduce_sum(tf.gather(rows, [0, 3, 3])) * tf.cast(rank() + 1, tf.float32)
        return {
            "rows": rows,
            "dense": tape.gradient(dense, x),
            "sparse": tape.gradient(sparse, x),
            "ids": gather(tf.fill([rank() + 1], rank() + 5)),
            "num_replicas": tf.constant(num_replicas()),
        }

    seen = tf.function(lambda: strategy.run(step), autograph=False)()
    for name, values in seen.items():
        for replica, value in enumerate(strategy.experimental_local_results(values)):
            yield f"{name}/{replica}", value.numpy()


def main(kind, folder):
    if kind == "local":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategies = {
            "one": tf.distribute.get_strategy(),
            "mirrored": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
        }
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        strategies = {f"worker{strategy.cluster_resolver.task_id}": strategy}
    for name, strategy in strategies.items():
        seen = {} if name == "one" else dict(probe(strategy))
        np.savez(Path(folder) / f"{name}.npz", **train(strategy), **seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
