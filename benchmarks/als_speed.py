"""The cost of a sweep of implicit ALS compared with implicit's.

    python benchmarks/als_speed.py [--quick | --large]

The data are 10 million interactions of 100,000 users and 50,000 items, popular by Zipf's law; the
vectors have 64 numbers, and both sides use two threads. They minimize the same objective from the
same vectors: implicit's

    sum over all pairs of (p - x . y)^2 + (c - 1) over those seen + regularization (|x|^2 + |y|^2)

is ours with alpha_0 1, c - 1 for c, and vectors longer by sqrt((c - 1) / c). Sweeps run in turn,
the sides alternating, with solvers as each has them (implicit: three steps of conjugate gradients);
then the objective of both is computed in the same way. `ratio` is implicit's time of a sweep over
ours, medians without the first; `cpu` the same of the processor's time, which other work on the
machine disturbs less; `objective` is ours over implicit's after the last sweep: at most 1 means
that ours is no worse. `load` is that of the machine before, in processes that want to run.

`--large`: no peer. A million users, 100,000 items and 50 million interactions, two epochs of
`tr.ALS` from a table of interactions; `ratio` is 8 GiB over the peak resident memory of the process
(`ru_maxrss`), the table and TensorFlow included. `--quick`: a tenth of the interactions.
"""

import argparse
import os
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # implicit warns otherwise

import numpy as np
from graph_filter_memory import AIM_GIB, SIZES, peak_gib, table
from scipy import sparse
from tutorial import finish

import tf_recall as tr
from tf_recall.config import Train
from tf_recall.data.likes import Likes
from tf_recall.models.als import STEPS
from tf_recall.recommend import products
from tf_recall.retrievers.least_squares import half_sweep, penalty_of
from tf_recall.towers.fold_in import Weighing

USERS, ITEMS, EVENTS, DIM, THREADS = 100_000, 50_000, 10_000_000, 64, 2
CONFIDENCE, REGULARIZATION = 10.0, 10.0  # implicit's


def likes(events):
    train = table(USERS, ITEMS, events)
    matrix = Likes.fit(train, tr.Catalog.fit(train)).matrix
    matrix.data[:] = 1
    return matrix


def compare(pairs, num_sweeps):
    from implicit.als import AlternatingLeastSquares

    shrink = (CONFIDENCE - 1) / CONFIDENCE
    weighing = Weighing(CONFIDENCE - 2, 1.0, REGULARIZATION * shrink, 0.0)
    by_user, by_item = pairs, pairs.T.tocsr()
    rng = np.random.default_rng(0)
    x, y = (rng.normal(0, 0.01, [n, DIM]).astype(np.float32) for n in pairs.shape)
    x[0] = y[0] = 0
    peer = AlternatingLeastSquares(
        DIM, regularization=REGULARIZATION, alpha=1.0, num_threads=THREADS, random_state=0
    )
    weighed = [sparse.csr_matrix(each[1:, 1:]) for each in (by_item, by_user)]
    for each in weighed:
        each.data[:] = CONFIDENCE
    theirs = [y[1:] / shrink**0.5, x[1:] / shrink**0.5]
    wall, cpu = {"ours": [], "implicit": []}, {"ours": [], "implicit": []}
    for number in range(num_sweeps):
        for who in ("ours", "implicit") if number % 2 else ("implicit", "ours"):
            begun = time.perf_counter(), time.process_time()
            if who == "ours":
                y = half_sweep(by_item, x, y, weighing, *STEPS["item"]).vectors
                x = half_sweep(by_user, y, x, weighing, *STEPS["user"]).vectors
            else:
                for side in (0, 1):
                    peer.solver(weighed[side], theirs[side], theirs[1 - side], REGULARIZATION)
            wall[who].append(time.perf_counter() - begun[0])
            cpu[who].append(time.process_time() - begun[1])
            took = f"{wall[who][-1]:8.2f} s{cpu[who][-1]:8.2f} s of the processor"
            print(f"sweep {number + 1} {who:<10}{took}", flush=True)
    longer = [np.pad(each, [[1, 0], [0, 0]]) * np.float32(shrink**0.5) for each in theirs]
    losses = [objective(pairs, *vectors, weighing) for vectors in ((x, y), longer[::-1])]
    print(f"objectives {losses[0]:.6g} and {losses[1]:.6g}")

    def ratio(seconds):
        return float(np.median(seconds["implicit"][1:]) / np.median(seconds["ours"][1:]))

    return {
        "ratio": ratio(wall),
        "cpu": ratio(cpu),
        "objective": losses[0] / losses[1],
        "pairs_per_second": pairs.nnz / float(np.median(wall["ours"][1:])),
    }


def objective(pairs, x, y, weighing):
    """The objective, whoever found the vectors."""
    row = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    loss = 0.0
    for at in range(0, pairs.nnz, 2**18):
        part = slice(at, at + 2**18)
        score = np.einsum("nd,nd->n", x[row[part]], y[pairs.indices[part]])
        loss += (1 + weighing.alpha) * float(((1 - score) ** 2).sum(dtype=np.float64))
    loss += weighing.alpha_0 * float(np.sum((x.T @ x).astype(np.float64) * (y.T @ y)))
    counts = np.diff(pairs.indptr), np.bincount(pairs.indices, minlength=pairs.shape[1])
    for vectors, count, others in ((x, counts[0], len(y)), (y, counts[1], len(x))):
        loss += penalty_of(vectors, count, others - 1, weighing)
    return loss


def measure_large(sizes):
    train = table(*sizes)
    begun, peaks = time.perf_counter(), {"table": peak_gib()}
    catalog = tr.Catalog.fit(train)
    peaks["catalog"] = peak_gib()
    model = tr.ALS(dim=DIM).adapt(train, catalog)
    model.compile()
    model.train(train, catalog, Train(epochs=2))
    peaks["two sweeps"] = peak_gib()
    print(f"{len(train):,} interactions, {len(catalog.seen.rows):,} pairs; GiB {peaks}")
    seconds = time.perf_counter() - begun
    finish(ratio=AIM_GIB / peaks["two sweeps"], peak_gib=peaks, seconds=seconds)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the interactions")
    parser.add_argument("--large", action="store_true", help="50 million interactions, no peer")
    options = parser.parse_args()
    products.THREADS = THREADS
    if options.large:
        return measure_large([size // 10 for size in SIZES] if options.quick else SIZES)
    load = os.getloadavg()[0]
    pairs = likes(EVENTS // 10 if options.quick else EVENTS)
    print(f"{pairs.nnz:,} pairs", flush=True)
    finish(**compare(pairs, 4 if options.quick else 5), load=load)


if __name__ == "__main__":
    main()
