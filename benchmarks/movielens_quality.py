"""Quality on MovieLens latest-small, compared with popularity and with TFRS.

    python benchmarks/movielens_quality.py [--quick] [--manual-dir FOLDER]

1. `configs/two_tower_movielens.yaml` by global time and leave-last-out: recall@20 and NDCG@20 over
   the whole catalog, three seeds, compared with popularity.
2. The tutorial's features and its random 80/20 split: accuracy among the top 100, each library at
   the best of its epochs on the same held-out rows, so that neither is stopped at a bad moment.
   TFRS learns as in the tutorial; ours learns with log q.

`ratio` is the smaller of our recall@20 over popularity's; `gain` is our top-100 accuracy less
TFRS's. `--quick`: one seed, fewer epochs.
"""

import keras
import numpy as np
from tutorial import (
    BATCH,
    SPLITS,
    arguments,
    finish,
    honest,
    our_accuracy,
    our_batches,
    our_model,
    read,
    tfrs_accuracy,
    tfrs_columns,
    tfrs_model,
)

METRICS = ("recall@20", "ndcg@20")


def main():
    options = arguments(__doc__)
    seeds = range(1 if options.quick else 3)
    print(f"{'':<18}{'':<12}" + "".join(f"{name:>20}" for name in METRICS))
    ratios = []
    for name, split in SPLITS.items():
        reports = [honest(options.manual_dir, split, seed) for seed in seeds]
        for who in ("metrics", "baseline"):
            values = np.array(
                [[getattr(report, who)[metric] for metric in METRICS] for report in reports]
            )
            cells = [
                f"{mean:.4f} +- {spread:.4f}"
                for mean, spread in zip(values.mean(0), values.std(0), strict=True)
            ]
            label = {"metrics": "two-tower", "baseline": "popularity"}[who]
            print(f"{name:<18}{label:<12}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
        ratios.append(
            np.mean(
                [report.metrics["recall@20"] / report.baseline["recall@20"] for report in reports]
            )
        )

    ours, theirs = tutorial(options.manual_dir, epochs=6 if options.quick else 30)
    print(
        f"\ntop-100 accuracy on the tutorial's random split: tf_recall {ours:.4f}, TFRS "
        f"{theirs:.4f}"
    )
    finish(ratio=float(min(ratios)), gain=ours - theirs, accuracy=[ours, theirs])


def tutorial(manual_dir, epochs):
    """The best top-100 accuracy of ours and of TFRS over `epochs`, looked at every third."""
    split, catalog = read(manual_dir)
    keras.utils.set_random_seed(0)
    ours = our_model(split, catalog)
    batches = our_batches(split, catalog, ours)
    stream = batches.dataset()
    theirs, rows = (
        tfrs_model(split, catalog),
        tfrs_columns(split.train, catalog).shuffle(100_000, seed=42).batch(BATCH),
    )
    best = [0.0, 0.0]
    for epoch in range(3, epochs + 1, 3):
        ours.fit(
            stream, steps_per_epoch=batches.steps_per_epoch, epochs=3, verbose=0, shuffle=False
        )
        theirs.fit(rows, epochs=3, verbose=0)
        now = our_accuracy(ours, split, catalog), tfrs_accuracy(theirs, split, catalog)
        best = [max(pair) for pair in zip(best, now, strict=True)]
        print(f"after {epoch:>2} epochs: tf_recall {now[0]:.4f}, TFRS {now[1]:.4f}", flush=True)
    return best


if __name__ == "__main__":
    main()
