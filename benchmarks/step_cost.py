"""The cost of a training step as tables grow: 10,000, 1 million and 5 million rows on each side.

    python benchmarks/step_cost.py [--quick]

The model is two-tower of id tables alone: batches of 4,096 pairs, 64 numbers a row, in-batch
softmax, Adagrad. Every batch is new and has 4,096 different users and items, drawn uniformly: the
arithmetic is the same at every size, and without popular rows the caches help as little as they
can. All run in turn; the figure is the median step.

`ratio` is our step at the largest size over that at the smallest. For comparison the same model
runs on `keras.layers.Embedding` and `keras.optimizers.Adagrad`, plain and under XLA (which is what
Keras chooses by itself); at the largest size each of those runs alone, for its memory: 16 GB in
all. `--quick` runs fewer steps and leaves them out there.
"""

import argparse
import gc
import time

import numpy as np
from tutorial import finish

import tf_recall as tr

SIZES, BATCH, DIM = (10_000, 1_000_000, 5_000_000), 4096, 64


def build(layer, optimizer, num_rows, xla=False):
    """A compiled model of two tables made by `layer(num_rows, DIM)`."""
    import keras

    from tf_recall.losses.scores import Scores
    from tf_recall.negatives.base import Candidates

    class TwoTables(keras.Model):
        def __init__(self):
            super().__init__()
            self.user, self.item, self.softmax = (
                layer(num_rows, DIM),
                layer(num_rows, DIM),
                tr.SampledSoftmax(),
            )

        def call(self, rows):
            ids = rows["item"]
            query, item = self.user(rows["user"]), self.item(ids)
            scores = Scores.of(
                query, item, ids, [Candidates(ids, item)], merge=not self.jit_compile
            )
            return self.softmax.of(scores)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return y_pred

    model = TwoTables()
    model.compile(optimizer, jit_compile=xla)
    return model


def steps(models, num_steps, num_warm=3):
    """The median seconds of a step, by (name, number of rows); the models step in turn."""
    generator = np.random.default_rng(0)
    seconds = {key: [] for key in models}
    for step in range(num_warm + num_steps):
        for (name, num_rows), model in models.items():
            rows = {
                side: generator.choice(num_rows, BATCH, replace=False, shuffle=False).astype(
                    np.int32
                )
                for side in ("user", "item")
            }
            start = time.perf_counter()
            model.train_on_batch(rows)
            if step >= num_warm:
                seconds[name, num_rows].append(time.perf_counter() - start)
    return {key: float(np.median(times)) for key, times in seconds.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    quick = parser.parse_args().quick

    import keras

    from tf_recall.features.embedding import RowEmbedding

    kinds = {
        "tf_recall": lambda num_rows: build(RowEmbedding, tr.SparseAdagrad(0.1), num_rows),
        "Keras": lambda num_rows: build(
            keras.layers.Embedding, keras.optimizers.Adagrad(0.1), num_rows
        ),
        "Keras, XLA": lambda num_rows: build(
            keras.layers.Embedding, keras.optimizers.Adagrad(0.1), num_rows, xla=True
        ),
    }
    together = [
        ("tf_recall", SIZES[-1]),
        *((name, num_rows) for num_rows in SIZES[:-1] for name in kinds),
    ]
    seconds = steps(
        {(name, num_rows): kinds[name](num_rows) for name, num_rows in together},
        12 if quick else 60,
    )
    for name in () if quick else ("Keras", "Keras, XLA"):
        gc.collect()
        seconds |= steps({(name, SIZES[-1]): kinds[name](SIZES[-1])}, 10)

    print(f"{'rows of each table':>20}" + "".join(f"{name + ' ms':>15}" for name in kinds))
    for num_rows in SIZES:
        cells = (
            f"{1000 * seconds[name, num_rows]:,.1f}" if (name, num_rows) in seconds else "-"
            for name in kinds
        )
        print(f"{num_rows:>20,}" + "".join(f"{cell:>15}" for cell in cells))
    ratios = {
        name: seconds[max(at for at in seconds if at[0] == name)] / seconds[name, SIZES[0]]
        for name in kinds
    }
    finish(
        ratio=ratios["tf_recall"],
        keras_ratio=ratios["Keras"],
        keras_xla_ratio=ratios["Keras, XLA"],
        seconds={
            f"{name}, {num_rows:,} rows": value for (name, num_rows), value in seconds.items()
        },
    )


if __name__ == "__main__":
    main()
