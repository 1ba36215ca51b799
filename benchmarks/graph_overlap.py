"""Whether a training step of a graph model waits for its batch, on MovieLens latest-small.

    python benchmarks/graph_overlap.py [--quick] [--manual-dir FOLDER]

Each model trains on the stream that its `batches` make: threads draw a batch's part of the graph
while the model computes. As in `fit`, a compiled function takes a batch and computes its step;
`waited` is the share of the time that it waited for the batch, `longest` the longest such wait over
a step. `loop` is the share that a loop in Python waits, which takes a batch and then calls the
step: there the threads hold Python's lock now and then, and TensorFlow alone takes 0.5 ms to hand
over any batch.

For comparison a loop makes the same batches itself, one by one; `ratio` is its seconds over those
of the loop on the stream, the smallest of the models. On two cores both share the machine. All
figures are medians of rounds, in which the three take turns.

`--quick`: fewer rounds.
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
STEPS = 40  # of a round


def compiled(train):
    """The function that waits for the next batch of an iterator, and computes its step."""

    @tf.function(reduce_retracing=True)
    def run(iterator):
        begin = tf.timestamp()
        with tf.control_dependencies([begin]):
            batch = iterator.get_next()
        with tf.control_dependencies(tf.nest.flatten(batch)):
            ready = tf.timestamp()
        with tf.control_dependencies([ready]):
            return train((batch,))["loss"], ready - begin

    def step(iterator):
        begin = time.perf_counter()
        wait = float(run(iterator)[1])
        return wait, time.perf_counter() - begin - wait

    return step


def in_python(train):
    """As `compiled`, in a loop in Python."""

    def step(iterator):
        begin = time.perf_counter()
        batch = next(iterator)
        ready = time.perf_counter()
        train((batch,))["loss"].numpy()
        return ready - begin, time.perf_counter() - ready

    return step


def in_turn(batches, start):
    """An iterator that makes a batch when it is asked for it."""
    for number in range(start, start + STEPS):
        yield tf.nest.map_structure(tf.constant, batches.at(number))


def timed(step, iterator):
    """What a round of steps took; the first batch is nobody's to make beforehand."""
    waits, steps = 1e3 * np.array([step(iterator) for _ in range(STEPS)][1:]).T
    return {
        "ms": steps.mean(),
        "wait_ms": waits.mean(),
        "waited": waits.sum() / (waits.sum() + steps.sum()),
        "longest": waits.max() / steps.mean(),
    }


def measured(model, batches, num_rounds):
    """The medians of rounds: of the compiled step, the loop, and the loop that makes batches."""
    train = tf.function(model.train_step, reduce_retracing=True)
    steps = compiled(train), in_python(train)
    for step in steps:
        timed(step, iter(batches.dataset()))
    rounds = []
    for start in range(STEPS, STEPS + num_rounds * STEPS, STEPS):
        figures = [timed(step, iter(batches.dataset(start))) for step in steps]
        rounds.append([*figures, timed(steps[1], in_turn(batches, start))])
    return [
        {name: float(np.median([each[name] for each in of_way])) for name in of_way[0]}
        for of_way in zip(*rounds, strict=True)
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    add_folders(parser)
    options = parser.parse_args()
    world, num_rounds, found = real_worlds(options)["MovieLens"], 3 if options.quick else 9, {}
    print(f"{'':<16}{'ms a step':>12}{'ms a wait':>12}{'waited':>10}{'longest':>10}", end="")
    print(f"{'loop':>10}{'in turn':>10}")
    for name, make in MODELS.items():
        keras.utils.set_random_seed(0)
        items = tr.FeatureTower(
            "item", [Id(64), *(kind(column, 16) for kind, column in world.items)], [64]
        )
        model = make(items).adapt(world.split.train, world.catalog)
        model.compile()
        batches = model.batches(world.split.train, world.catalog, 1024)
        model.fit(batches.dataset(), steps_per_epoch=30, verbose=0, shuffle=False)
        stream, loop, turn = measured(model, batches, num_rounds)
        ratio = (turn["ms"] + turn["wait_ms"]) / (loop["ms"] + loop["wait_ms"])
        found[name] = {**stream, "loop": loop, "ratio": ratio}
        print(
            f"{name:<16}{stream['ms']:>12.1f}{stream['wait_ms']:>12.2f}{stream['waited']:>10.1%}"
            f"{stream['longest']:>10.1%}{loop['waited']:>10.1%}{ratio:>10.2f}",
            flush=True,
        )
    finish(
        ratio=min(each["ratio"] for each in found.values()),
        waited=max(each["waited"] for each in found.values()),
        found=found,
    )


if __name__ == "__main__":
    main()
