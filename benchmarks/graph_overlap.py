"""Whether a training step of a graph model waits for its batch, on MovieLens latest-small.

    python benchmarks/graph_overlap.py [--quick] [--manual-dir FOLDER]

Each model trains on the stream that its `batches` make: threads draw a batch's part of the graph
while the model computes. `waited` is the share of the time that the loop waited for the next batch,
`longest` the longest such wait over a step. For comparison the same batches run one after the
other: made in the loop itself, then computed; `ratio` is its seconds over the stream's, the
smallest of the models. On two cores both share the machine.

`--quick`: fewer steps.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf
from tutorial import finish
from worlds import add_folders, real_worlds

import tf_recall as tr
from tf_recall.features import Id

MODELS = {
    "GraphSAGE": lambda items: tr.GraphSAGE(tr.FeatureTower("user", [Id(64)]), items),
    "GraphSAGEI2I": lambda items: tr.GraphSAGEI2I(items),
    "PinSage": lambda items: tr.PinSage(items),
}


def timed(step, batches):
    """Seconds of each wait for a batch, and of each step."""
    waits, steps, batches = [], [], iter(batches)
    while True:
        begin = time.perf_counter()
        batch = next(batches, None)
        ready = time.perf_counter()
        if batch is None:
            return np.array(waits), np.array(steps)
        step(batch).numpy()
        waits.append(ready - begin)
        steps.append(time.perf_counter() - ready)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    add_folders(parser)
    options = parser.parse_args()
    world, num_steps, found = real_worlds(options)["MovieLens"], 60 if options.quick else 300, {}
    print(f"{'':<16}{'ms a step':>12}{'ms a wait':>12}{'waited':>10}{'longest':>10}{'in turn':>10}")
    for name, make in MODELS.items():
        keras.utils.set_random_seed(0)
        items = tr.FeatureTower(
            "item", [Id(64), *(kind(column, 16) for kind, column in world.items)], [64]
        )
        model = make(items).adapt(world.split.train, world.catalog)
        model.compile()
        batches = model.batches(world.split.train, world.catalog, 1024)
        model.fit(batches.dataset(), steps_per_epoch=30, verbose=0, shuffle=False)
        train = tf.function(model.train_step, reduce_retracing=True)

        def step(batch, train=train):
            return train((batch,))["loss"]

        timed(step, batches.dataset(30).take(20))
        waits, steps = timed(step, batches.dataset(50).take(num_steps))
        begin = time.perf_counter()
        for number in range(50, 50 + num_steps):
            step(tf.nest.map_structure(tf.constant, batches.at(number))).numpy()
        in_turn = (time.perf_counter() - begin) / num_steps
        waits, steps = waits[1:], steps[1:]  # the first batch is nobody's to make beforehand
        total = float(waits.mean() + steps.mean())
        figures = {
            "ms": 1e3 * float(steps.mean()),
            "wait_ms": 1e3 * float(waits.mean()),
            "waited": float(waits.mean()) / total,
            "longest": float(waits.max() / steps.mean()),
            "ratio": in_turn / total,
        }
        found[name] = figures
        print(
            f"{name:<16}{figures['ms']:>12.1f}{figures['wait_ms']:>12.2f}{figures['waited']:>10.1%}"
            f"{figures['longest']:>10.1%}{figures['ratio']:>10.2f}",
            flush=True,
        )
    finish(
        ratio=min(each["ratio"] for each in found.values()),
        waited=max(each["waited"] for each in found.values()),
        found=found,
    )


if __name__ == "__main__":
    main()
