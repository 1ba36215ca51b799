"""The cost of item CF compared with implicit's cosine recommender: to fit, and to recommend.

    python benchmarks/itemcf_speed.py [--quick | --large]

The data are 2 million interactions of 100,000 users and 50,000 items, popular by Zipf's law. Both
sides start from the same matrix of likes, keep the 100 items most similar to each, and recommend to
every user 100 items that they have not interacted with; both use two threads. The similarities are
compared: they must agree to rounding, the length of each list included. `ratio` is implicit's time
over ours for both together, `build` and `recommend` each by itself. Figures are medians of rounds
in which both run in turn; the first is not counted.

`--large`: a million users, 100,000 items and 50 million interactions; no peer. The figures are the
time from a table of interactions to similarities, with a user's latest 500 items, and the peak
memory of the process in GiB.
"""

import argparse
import os
import resource
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # implicit warns otherwise

import numpy as np
from scipy import sparse
from tutorial import finish

import tf_recall as tr
from tf_recall.channels.item_cf import ItemCF
from tf_recall.recommend import products

USERS, ITEMS, EVENTS, TOP, THREADS = 100_000, 50_000, 2_000_000, 100, 2
LARGE = (1_000_000, 100_000, 50_000_000)


def table(users, items, events):
    """Interactions of users who are more and less active, with items by Zipf's law."""
    generator = np.random.default_rng(0)
    user_id = (users * generator.random(events) ** 1.5).astype(np.int32)
    item_id = np.exp(generator.random(events) * np.log(items)).astype(np.int32)
    return tr.Interactions.from_columns(user_id=user_id, item_id=item_id)


def compare(num_rounds, users, items, events):
    from implicit.nearest_neighbours import CosineRecommender

    products.THREADS = THREADS
    train = table(users, items, events)
    catalog = tr.Catalog.fit(train)
    channel = ItemCF(top=TOP).fit(train, catalog)
    channel.likes.data[:] = 1  # implicit's cosine is of what it is given
    likes, everybody = channel.likes[1:, 1:].tocsr(), np.arange(catalog.users.size - 1)
    print(f"{likes.nnz:,} pairs of {likes.shape[0]:,} users and {likes.shape[1]:,} items")
    # which counts the item itself among its own
    peer = CosineRecommender(K=TOP + 1, num_threads=THREADS)

    def build_ours():
        channel.right = channel.similarity.neighbors(channel.likes, TOP)

    ways = {
        ("ours", "build"): build_ours,
        ("implicit", "build"): lambda: peer.fit(likes, show_progress=False),
        ("ours", "recommend"): lambda: channel.recommend_rows(
            catalog.users.ids, TOP, exclude_seen=True
        ),
        ("implicit", "recommend"): lambda: peer.recommend(everybody, likes, N=TOP),
    }
    seconds = {name: [] for name in ways}
    for _ in range(1 + num_rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    agree(channel.right[1:, 1:].tocsr(), peer.similarity.tocsr())
    return {name: float(np.median(each[1:])) for name, each in seconds.items()}


def agree(ours, theirs):
    """Checks that both found the same similarities of each item, equal ones in any order."""
    theirs = theirs - sparse.diags_array(theirs.diagonal())
    theirs.eliminate_zeros()
    short = 0
    for item in range(ours.shape[0]):
        mine = ours.data[ours.indptr[item] : ours.indptr[item + 1]]
        other = np.sort(theirs.data[theirs.indptr[item] : theirs.indptr[item + 1]])[::-1][:TOP]
        # Where more than 100 others are exactly alike, the item itself may be missing in implicit's
        # list.
        short += len(mine) != len(other)
        assert np.allclose(mine[: len(other)], other[: len(mine)], rtol=1e-5, atol=1e-6), item
    print(f"the similarities agree; {short} lists differ in length")


def measure_large():
    train = table(*LARGE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    catalog = tr.Catalog.fit(train)
    fitted = time.perf_counter()
    channel = ItemCF(top=TOP, user_limit=500, last=50).fit(train, catalog)
    counted = time.perf_counter()
    channel.recommend_rows(catalog.users.ids[:10_000], TOP, exclude_seen=True)
    recommended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(train):,} interactions, {len(catalog.seen.rows):,} pairs, {channel.right.nnz:,} "
        "similarities"
    )
    print(
        f"catalog {fitted - start:.0f} s, channel {counted - fitted:.0f} s, 10,000 users "
        f"{recommended - counted:.1f} s"
    )
    finish(
        ratio=8 / peak,
        peak_gib=peak,
        table_gib=before / 2**20,
        catalog_seconds=fitted - start,
        channel_seconds=counted - fitted,
        users_per_second=10_000 / (recommended - counted),
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help="a tenth of the interactions, fewer rounds"
    )
    size.add_argument(
        "--large", action="store_true", help="50 million interactions, without a peer"
    )
    options = parser.parse_args()
    if options.large:
        return measure_large()
    rounds, events = (3, EVENTS // 10) if options.quick else (5, EVENTS)
    seconds = compare(rounds, USERS, ITEMS, events)
    for (who, what), each in seconds.items():
        print(f"{who:<10}{what:<12}{each:8.2f} s")
    ratios = {
        what: seconds["implicit", what] / seconds["ours", what] for what in ("build", "recommend")
    }
    both = [sum(seconds[who, what] for what in ratios) for who in ("implicit", "ours")]
    finish(ratio=both[0] / both[1], **ratios, users_per_second=USERS / seconds["ours", "recommend"])


if __name__ == "__main__":
    main()
