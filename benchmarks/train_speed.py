"""Training examples a second beside TensorFlow Recommenders, on the set-up of its deep retrieval tutorial.

    python benchmarks/train_speed.py [--quick] [--manual-dir FOLDER]

Both train in one process, an epoch in turn; the first epoch of each, which traces, is not counted. `ratio` is the
median of our examples a second over TFRS's, pair by pair.
"""

import time

import numpy as np
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
    epochs = 4 if options.quick else 25
    split, catalog = read(options.manual_dir)
    ours, theirs = our_model(split, catalog), tfrs_model(split, catalog)
    batches = our_batches(split, catalog, ours)
    stream = batches.dataset()
    rows = tfrs_columns(split.train, catalog).shuffle(100_000, seed=42).batch(BATCH)

    def train_ours():
        ours.fit(stream, steps_per_epoch=batches.steps_per_epoch, verbose=0, shuffle=False)
        return batches.steps_per_epoch * BATCH

    def train_theirs():
        theirs.fit(rows, verbose=0)
        return len(split.train)

    speeds = []
    for epoch in range(epochs):
        pair = []
        for train in (train_ours, train_theirs):
            start = time.perf_counter()
            examples = train()
            pair.append(examples / (time.perf_counter() - start))
        speeds.append(pair)
        print(f"epoch {epoch}: {pair[0]:>10,.0f} {pair[1]:>10,.0f} examples/s")
    speeds = np.array(speeds[1:])
    accuracy = our_accuracy(ours, split, catalog), tfrs_accuracy(theirs, split, catalog)
    print(f"\n{'':<12}{'examples/s':>12}{'top-100 accuracy':>18}   after {epochs} epochs")
    for name, speed, share in zip(("tf_recall", "TFRS"), np.median(speeds, axis=0), accuracy, strict=True):
        print(f"{name:<12}{speed:>12,.0f}{share:>18.4f}")
    ratio = float(np.median(speeds[:, 0] / speeds[:, 1]))
    finish(ratio=ratio, examples_per_second=np.median(speeds, axis=0).tolist(), accuracy=accuracy, epochs=epochs)


if __name__ == "__main__":
    main()
