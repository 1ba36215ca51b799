"""The memory and time of the graph filter on 50 million interactions.

    python benchmarks/graph_filter_memory.py [--quick]

A million users, more and less active, and 100,000 items, popular by Zipf's law, with times: in one
process the table of interactions is made, the catalog and the channel are fitted at its defaults
but for a user's latest 500 items, and 10,000 users are recommended 100 items that they have not
interacted with; then 20 users one by one. The figures are seconds and the peak resident memory of
the process (`ru_maxrss`), the table and TensorFlow itself included, which `table` shows alone.

`ratio` is 8 GiB over the peak. `--quick`: a tenth of everything.
"""

import argparse
import resource
import sys
import time

import numpy as np
from tutorial import finish

import tf_recall as tr

SIZES, AIM_GIB, TOP = (1_000_000, 100_000, 50_000_000), 8, 100


def table(users, items, events):
    """Interactions of users who are more and less active, with items by Zipf's law."""
    generator = np.random.default_rng(0)
    user_id = (users * generator.random(events) ** 1.5).astype(np.int32)
    item_id = np.exp(generator.random(events) * np.log(items)).astype(np.int32)
    timestamp = generator.integers(0, 365 * 86_400, events)
    return tr.Interactions.from_columns(user_id=user_id, item_id=item_id, timestamp=timestamp)


def peak_gib():
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    sizes = [size // 10 for size in SIZES] if parser.parse_args().quick else SIZES
    train, moments, peaks = table(*sizes), [time.perf_counter()], {"table": peak_gib()}

    def done(what):
        moments.append(time.perf_counter())
        peaks[what] = peak_gib()
        seconds = moments[-1] - moments[-2]
        print(f"{what:<20}{seconds:9.1f} s{peaks[what]:9.2f} GiB at most so far", flush=True)
        return seconds

    catalog = tr.Catalog.fit(train)
    catalog_seconds = done("catalog")
    channel = tr.GraphFilter(user_limit=500).fit(train, catalog)
    fit_seconds = done("channel")
    users = catalog.users.ids[:: max(1, catalog.users.size // 10_000)][:10_000]
    channel.recommend_rows(users, TOP, exclude_seen=True)
    many_seconds = done("10,000 users")
    for user in users[:20]:
        channel.recommend_rows(user, TOP, exclude_seen=True)
    one_seconds = done("20 users, one by one") / 20
    print(
        f"{len(train):,} interactions, {channel.likes.nnz:,} pairs, {channel.near.nnz:,} "
        f"similarities, vectors {channel.vectors.shape}"
    )
    finish(
        ratio=AIM_GIB / peaks["20 users, one by one"],
        peak_gib=peaks,
        catalog_seconds=catalog_seconds,
        fit_seconds=fit_seconds,
        users_per_second=len(users) / many_seconds,
        ms_a_request=1000 * one_seconds,
    )


if __name__ == "__main__":
    main()
