"""Training examples a second compared with TensorFlow Recommenders' deep retrieval tutorial.

    python benchmarks/train_speed.py [--quick] [--manual-dir FOLDER]

All train in one process, an epoch in turn; the first epoch of each, which traces, is not counted.
`ratio` is the median of our examples a second over the tutorial's, pair by pair. With tf.data's
autotuning, its default, an epoch often ends in a wait of a second or more for the tuning thread;
our batches switch it off. `ratio_untuned` compares with the tutorial without autotuning too: the
difference of the computation alone.
"""

import time

import numpy as np
import tensorflow as tf
from tutorial import (
    BATCH,
    arguments,
    finish,
    our_accuracy,
    our_batches,
    our_model,
    read,
    tfrs_accuracy,
    tfrs_columns,
    tfrs_model,
)


def main():
    options = arguments(__doc__)
    epochs = 4 if options.quick else 20
    split, catalog = read(options.manual_dir)
    ours, theirs, mended = (
        our_model(split, catalog),
        tfrs_model(split, catalog),
        tfrs_model(split, catalog),
    )
    batches = our_batches(split, catalog, ours)
    stream = batches.dataset()
    rows = tfrs_columns(split.train, catalog).shuffle(100_000, seed=42).batch(BATCH)
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    ways = {
        "tf_recall": lambda: ours.fit(
            stream, steps_per_epoch=batches.steps_per_epoch, verbose=0, shuffle=False
        ),
        "TFRS": lambda: theirs.fit(rows, verbose=0),
        "TFRS, untuned": lambda: mended.fit(rows.with_options(untuned), verbose=0),
    }
    examples = [batches.steps_per_epoch * BATCH, len(split.train), len(split.train)]

    speeds = []
    for epoch in range(epochs):
        speeds.append([])
        for train, count in zip(ways.values(), examples, strict=True):
            start = time.perf_counter()
            train()
            speeds[-1].append(count / (time.perf_counter() - start))
        print(
            f"epoch {epoch}:" + "".join(f"{speed:>10,.0f}" for speed in speeds[-1]) + " examples/s"
        )
    speeds = np.array(speeds[1:])
    accuracy = [
        our_accuracy(ours, split, catalog),
        *(tfrs_accuracy(model, split, catalog) for model in (theirs, mended)),
    ]
    print(f"\n{'':<16}{'examples/s':>12}{'top-100 accuracy':>18}   after {epochs} epochs")
    for name, speed, share in zip(ways, np.median(speeds, axis=0), accuracy, strict=True):
        print(f"{name:<16}{speed:>12,.0f}{share:>18.4f}")
    ratio, ratio_untuned = np.median(speeds[:, :1] / speeds[:, 1:], axis=0).tolist()
    figures = {
        "examples_per_second": np.median(speeds, axis=0).tolist(),
        "accuracy": accuracy,
        "epochs": epochs,
    }
    finish(ratio=ratio, ratio_untuned=ratio_untuned, **figures)


if __name__ == "__main__":
    main()
