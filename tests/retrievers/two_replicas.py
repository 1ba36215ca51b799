"""A program that the tests run: what two replicas gather, and the weights that they train.

python two_replicas.py local FOLDER      one device, then two replicas: one.npz and mirrored.npz
python two_replicas.py graph FOLDER      the same of a model over a graph
python two_replicas.py worker FOLDER     one of the two workers in TF_CONFIG: worker0.npz or
worker1.npz
python two_replicas.py probe FOLDER      the same, and it trains nothing
"""

import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import tf_recall as tr
from tf_recall.features import Categorical, Id
from tf_recall.retrievers.distribution import gather, num_replicas, rank

ROWS, USERS, ITEMS, DIM, BATCH, EPOCHS = 300, 50, 40, 8, 32, 2
random = np.random.default_rng(0)
TRAIN = tr.Interactions.from_columns(
    user_id=random.integers(USERS, size=ROWS),
    item_id=random.integers(ITEMS, size=ROWS)
    * random.integers(2, size=ROWS),  # half of them item 0
    weight=random.random(ROWS),
    items=pd.DataFrame(
        {"item_id": range(ITEMS), "city": [f"city {at % 5}" for at in range(ITEMS)]}
    ),
)


def two_tower():
    """All that keeps state or draws for a row is in it."""
    easy = tr.Mixture(
        [tr.InBatch(tr.Streaming(1024)), tr.Uniform(16), tr.CrossBatch(64, warm_up=3)]
    )
    negatives = tr.EasyHard(easy, tr.Curriculum(tr.SameGroup("city")), ratio=20)
    loss = tr.SampledSoftmax(tr.LearnedTemperature(0.2))
    extra = tr.SelfSupervision(num=16)
    return tr.TwoTower(*towers(), negatives=negatives, loss=loss, self_supervision=extra)


def graph_sage():
    """Two layers of drawn neighbors, some nodes left without theirs, and hard negatives."""
    easy = tr.Mixture([tr.InBatch(), tr.Uniform(16)])
    negatives = tr.EasyHard(easy, tr.Curriculum(tr.RankWindow(2, 1, 9)), ratio=20)
    extra = tr.SelfSupervision(num=16)
    return tr.GraphSAGE(
        *towers(), DIM, [4, 3], negatives=negatives, self_supervision=extra, neighbor_dropout=0.2
    )


MODELS = {"two_tower": two_tower, "graph_sage": graph_sage}
TRAINED = {"local": ["two_tower"], "graph": ["graph_sage"], "worker": ["two_tower"], "probe": []}
ONE_PROCESS = ("local", "graph")


def towers():
    return [
        tr.FeatureTower(side, [Id(DIM, unknown_rate=0.2), *described], units=[DIM], dropout=0.3)
        for side, described in (("user", []), ("item", [Categorical("city", DIM)]))
    ]


def make(kind):
    """The compiled model, and its batches."""
    keras.utils.set_random_seed(0)
    model = MODELS[kind]()
    catalog = tr.Catalog.fit(TRAIN)
    model.adapt(TRAIN, catalog).compile(tr.SparseAdagrad(0.1, weight_decay=0.05), jit_compile=False)
    return model, model.batches(TRAIN, catalog, BATCH, seed=3)


def train(strategy, kind):
    """The loss of each epoch, the loss of an evaluation afterwards, the weights and the optimizer's
    state.
    """
    with strategy.scope():
        model, batches = make(kind)
    steps = batches.steps_per_epoch
    history = model.fit(
        batches.dataset(), steps_per_epoch=steps, epochs=EPOCHS, shuffle=False, verbose=0
    ).history
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
            dense = tf.reduce_sum(rows * tf.reshape(tf.range(8.0), [4, 2])) * 10 ** tf.cast(
                rank(), tf.float32
            )
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
    if kind in ONE_PROCESS:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategies = {
            "one": tf.distribute.get_strategy(),
            "mirrored": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
        }
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        strategies = {f"worker{strategy.cluster_resolver.task_id}": strategy}
    for name, strategy in strategies.items():
        seen = {} if name == "one" else dict(probe(strategy))
        for model in TRAINED[kind]:
            seen |= {f"{model}/{key}": value for key, value in train(strategy, model).items()}
        np.savez(Path(folder) / f"{name}.npz", **seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
