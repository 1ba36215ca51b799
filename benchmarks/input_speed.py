"""Pairs a second that reach a training step: batches by block gather, and tf.data's shuffle.

    python benchmarks/input_speed.py [--quick]

The pairs are user and item rows in batches of 4,096, one epoch each with its shuffle; a step here
only adds up its batch. tf.data shuffles and batches elements within a buffer of 100,000, ours
shuffles all rows. The memory maps are in the page cache. It prints a table, and as the last line a
JSON object whose `ratio` is ours in memory over tf.data's.
"""

import argparse
import json
import os
import tempfile
import time

import numpy as np

from tf_recall.data.batches import Batches
from tf_recall.data.columns import open_columns, write_columns

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
BATCH = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two million pairs instead of twenty")
    num_rows = 2_000_000 if parser.parse_args().quick else 20_000_000
    random = np.random.default_rng(0)
    columns = {
        "query": {"user": random.integers(1, 1_000_000, num_rows, dtype=np.int32)},
        "item": {"item": random.integers(1, 100_000, num_rows, dtype=np.int32)},
    }
    rates = {"tf.data elements": pairs_per_second(elements(columns, 500_000))}
    rates["in memory"] = pairs_per_second(epoch(Batches(columns, BATCH)))
    with tempfile.TemporaryDirectory() as folder:
        write_columns(f"{folder}/columns", [columns])
        mapped = open_columns(f"{folder}/columns")
        rates["memory-mapped"] = pairs_per_second(epoch(Batches(mapped, BATCH)))
        rates["memory-mapped, run=1024"] = pairs_per_second(epoch(Batches(mapped, BATCH, run=1024)))
    print(f"{num_rows:,} pairs, batches of {BATCH:,}")
    for name, rate in rates.items():
        print(f"{name:24}{rate:14,.0f} pairs/s")
    rounded = {name: round(rate) for name, rate in rates.items()}
    print(
        json.dumps(
            {
                "ratio": round(rates["in memory"] / rates["tf.data elements"], 2),
                "pairs_per_second": rounded,
            }
        )
    )


def epoch(batches: Batches):
    return batches.dataset().take(batches.steps_per_epoch)


def elements(columns: dict, num_rows: int):
    import tensorflow as tf

    rows = tf.nest.map_structure(lambda column: column[:num_rows], columns)
    dataset = tf.data.Dataset.from_tensor_slices(rows).shuffle(100_000, seed=0)
    return dataset.batch(BATCH, drop_remainder=True).prefetch(4)


def pairs_per_second(dataset) -> float:
    import tensorflow as tf

    def step(state, batch):
        read, checksum = state
        return read + BATCH, checksum + tf.reduce_sum(batch["query"]["user"]) + tf.reduce_sum(
            batch["item"]["item"]
        )

    started = time.perf_counter()
    read, _ = dataset.reduce((0, 0), step)
    return int(read) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
