"""The cost of Swing's similarities, and how it grows with the users.

    python benchmarks/swing_speed.py [--quick]

Users like 20 items on average, of 20,000 by Zipf's law. The figure is the time from a sparse matrix
of likes to each item's 100 most similar, by `tf_recall.channels.swing.swinging`.

There are two peers in NumPy, on as many users as these can process in a while. `pairs` is the
formula: for each two users with common items, `np.intersect1d` of their items, and
`1 / (alpha + overlap)` added for each two of them, in a dense matrix of similarities. `items` uses
matrix products: for each item the rows of its users as a dense matrix M of float32, W from
`M @ M.T`, and the sums of `M * (W @ M)`. All three must find the same similarities. `ratio` is the
time of `pairs` over ours, `ratio_items` of `items`; all run in turn, each figure is the median of
rounds. `items` spends its time in BLAS, which has one thread here: with as many as cores it was ten
times slower on a busy machine. Ours has a thread per core and needs no BLAS.

Then ours runs alone with growing users at the same mean: without limits; with the 20 latest items
of a user and the 500 latest users of an item, thinning included. The order in which users
interacted with items is random.
"""

import argparse
import os
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is there

import numpy as np
from scipy import sparse
from tutorial import finish

from tf_recall.channels.swing import swinging
from tf_recall.data.likes import Likes

ITEMS, MEAN, TOP, ALPHA = 20_000, 20, 100, 1.0
USER_LIMIT, ITEM_LIMIT = 20, 500


def zipf(num_users, num_items=ITEMS):
    """Likes in the order of a log without times."""
    generator = np.random.default_rng(0)
    num = num_users * MEAN
    pair = np.zeros(0, np.int64)
    while len(pair) < num:
        users = generator.integers(1, num_users + 1, num)
        items = np.exp(generator.random(num) * np.log(num_items)).astype(np.int64)
        pair = np.union1d(pair, users << 32 | items)
    pair = np.sort(generator.permutation(pair)[:num])
    matrix = (np.ones(num, np.float32), (pair >> 32, pair & 0xFFFFFFFF))
    shape = (num_users + 1, num_items + 1)
    return Likes(sparse.csr_matrix(matrix, shape), generator.permutation(num))


def by_pairs(likes):
    """The formula as it stands."""
    num_users, num_items = likes.shape
    liked = np.split(likes.indices, likes.indptr[1:-1])
    sim = np.zeros((num_items, num_items))
    for u in range(num_users):
        for v in range(u + 1, num_users):
            both = np.intersect1d(liked[u], liked[v], assume_unique=True)
            if len(both) > 1:
                sim[np.ix_(both, both)] += 1 / (ALPHA + len(both))
    np.fill_diagonal(sim, 0)
    return sim


def by_items(likes):
    """A dense matrix of each item's users."""
    liked, users_of = likes.toarray(), likes.tocsc()
    sim = np.zeros((likes.shape[1], likes.shape[1]), np.float32)
    for item in np.flatnonzero(np.diff(users_of.indptr) > 1):
        matrix = liked[users_of.indices[users_of.indptr[item] : users_of.indptr[item + 1]]]
        weight = 1 / (np.float32(ALPHA) + matrix @ matrix.T)
        np.fill_diagonal(weight, 0)
        sim[item] = (matrix * (weight @ matrix)).sum(axis=0) / 2
    np.fill_diagonal(sim, 0)
    return sim


def compare(num_users, num_items, num_rounds):
    """Median seconds by name, after a look at whether all agree."""
    likes = zipf(num_users, num_items).matrix
    ways = {
        "tf_recall": lambda: swinging(likes, ALPHA, TOP),
        "items": lambda: by_items(likes),
        "pairs": lambda: by_pairs(likes),
    }
    seconds = {name: [] for name in ways}
    for _ in range(num_rounds):
        answers = {}
        for name, way in ways.items():
            start = time.perf_counter()
            answers[name] = way()
            seconds[name].append(time.perf_counter() - start)
    ours = answers["tf_recall"]
    for name in ("items", "pairs"):
        best = -np.sort(-answers[name], axis=1)[:, :TOP]
        np.testing.assert_allclose(first_rows(ours), best, rtol=1e-4, err_msg=name)
        where = np.repeat(np.arange(ours.shape[0]), np.diff(ours.indptr)), ours.indices
        np.testing.assert_allclose(ours.data, answers[name][where], rtol=1e-4, err_msg=name)
    print(
        f"{likes.nnz:,} likes of {num_users:,} users and {num_items:,} items: the same "
        f"{ours.nnz:,} similarities"
    )
    return {name: float(np.median(each)) for name, each in seconds.items()}


def first_rows(found):
    """`[V, TOP]`, 0 where there are fewer."""
    there = np.arange(TOP) < np.diff(found.indptr)[:, None]
    values = np.zeros(there.shape, np.float32)
    values[there] = found.data
    return values


def grow(nums):
    """Seconds by number of users, without and with limits."""
    print(f"\n{'users':>10}{'likes':>12}{'no limits':>12}{'limits':>12}{'likes left out':>18}")
    table = {}
    for num_users in nums:
        likes = zipf(num_users)
        seconds, whole = [], likes.matrix.nnz
        for limits in ((None, None), (USER_LIMIT, ITEM_LIMIT)):
            start = time.perf_counter()
            counted = likes.thinned(*limits)
            swinging(counted, ALPHA, TOP)
            seconds.append(time.perf_counter() - start)
        left_out = 1 - counted.nnz / whole
        print(
            f"{num_users:>10,}{whole:>12,}{seconds[0]:>10.1f} s{seconds[1]:>10.1f} "
            f"s{left_out:>18.0%}",
            flush=True,
        )
        table[num_users] = [round(each, 2) for each in seconds]
    return table


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under a minute")
    quick = parser.parse_args().quick
    seconds = compare(500, 2_000, 1) if quick else compare(1_000, 5_000, 3)
    for name, each in seconds.items():
        print(f"{name:<12}{each:>10.3f} s{each / seconds['tf_recall']:>10.1f}")
    growth = grow((5_000, 10_000, 20_000) if quick else (10_000, 20_000, 40_000, 80_000))
    finish(
        ratio=seconds["pairs"] / seconds["tf_recall"],
        ratio_items=seconds["items"] / seconds["tf_recall"],
        seconds=seconds,
        growth=growth,
    )


if __name__ == "__main__":
    main()
