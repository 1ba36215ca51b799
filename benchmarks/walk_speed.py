"""The cost of positives from sequences: steps of random walks, and centers of windows.

    python benchmarks/walk_speed.py [--quick]

Walks: 10 steps from each of 100,000 nodes of a graph by `Graph.walk`: 2 million different edges
with unequal weights, degrees by a power law at both ends. The peer is the plain loop,
`Generator.choice` among a node's edges by probabilities that are computed beforehand; it does fewer
walks, as many as last about a second. `ratio` is our steps a second over the peer's,
`steps_per_second` ours; the aim is 10 million.

Windows: 2 million events in sessions of 20 on average, of 100,000 items by Zipf's law, an epoch of
batches of 2,048 read from the `tf.data.Dataset` of `ShrinkingWindows` with and without subsampling,
`Windows`, and `Walks` over the same sessions. `events_per_second` counts the centers of
`ShrinkingWindows(window=5)`; the aim is 4 million.

Each figure is the median of rounds in which all run in turn; the first is not counted.
"""

import argparse
import time

import numpy as np
from tutorial import finish

from tf_recall.data.sessions import Sessions
from tf_recall.graph.csr import Graph
from tf_recall.positives import ShrinkingWindows, Walks, Windows

NODES, EDGES, LENGTH = 100_000, 3_000_000, 10
EVENTS, SESSION, ITEMS, BATCH = 2_000_000, 20, 100_000, 2048


def zipf(generator, size, num):
    """Rows 1 to `size` by Zipf's law."""
    return np.exp(generator.random(num) * np.log(size)).astype(np.int32)


def graph(generator):
    """Each node has an edge, and the others follow the power law; ids are mixed."""
    sources = np.concatenate([np.arange(1, NODES), zipf(generator, NODES, EDGES - NODES + 1)])
    targets = zipf(generator, NODES, EDGES)
    ids = 1 + generator.permutation(NODES)
    return Graph.from_edges(
        ids[sources - 1], ids[targets - 1], generator.pareto(1.5, EDGES) + 0.1, NODES + 1
    )


def choice_loop(graph, shares, starts, generator):
    """The peer: one walk after another, one step after another."""
    for at in starts.tolist():
        for _ in range(LENGTH):
            first, last = graph.offsets[at], graph.offsets[at + 1]
            if first == last:
                break
            at = generator.choice(graph.targets[first:last], p=shares[first:last])


def compare_walks(num_rounds):
    """Median steps a second, ours and the peer's."""
    generator = np.random.default_rng(0)
    ours = graph(generator)
    node = np.repeat(np.arange(ours.num_nodes), ours.degrees)
    shares = ours.weights / np.bincount(node, ours.weights)[node]
    print(f"{ours.num_edges:,} edges, degrees up to {ours.degrees.max():,}")
    every, some = 1 + generator.permutation(NODES), 1 + generator.permutation(NODES)[:2_000]
    ways = {
        "Graph.walk": (lambda: ours.walk(every, LENGTH, generator), len(every)),
        "choice": (lambda: choice_loop(ours, shares, some, generator), len(some)),
    }
    speeds = {name: [] for name in ways}
    for _ in range(1 + num_rounds):
        for name, (walk, num_walks) in ways.items():
            start = time.perf_counter()
            walk()
            speeds[name].append(num_walks * LENGTH / (time.perf_counter() - start))
    return {name: float(np.median(each[1:])) for name, each in speeds.items()}


def compare_windows(num_rounds):
    """Median centers a second by name."""
    generator = np.random.default_rng(0)
    ends = np.cumsum(generator.geometric(1 / SESSION, EVENTS // SESSION))
    items, users = zipf(generator, ITEMS, ends[-1]), np.ones(len(ends), np.int32)
    sessions = Sessions(np.concatenate([[0], ends]), items, users)
    recipes = {
        "ShrinkingWindows": ShrinkingWindows(window=5),
        "ShrinkingWindows, alpha 0.001": ShrinkingWindows(window=5, alpha=1e-3),
        "Windows": Windows(window=5),
        "Walks": Walks(num_walks=2, length=10, window=5),
    }
    streams = {name: recipe.batches_of(sessions, BATCH) for name, recipe in recipes.items()}
    speeds = {name: [] for name in streams}
    for epoch in range(1 + num_rounds):
        for name, stream in streams.items():
            batches = stream.dataset(epoch * len(stream)).take(len(stream))
            start = time.perf_counter()
            batches.reduce(0, lambda count, batch: count + 1).numpy()
            speeds[name].append(stream.num_events / (time.perf_counter() - start))
    return {name: float(np.median(each[1:])) for name, each in speeds.items()}


def show(what, speeds):
    print(f"\n{what}")
    for name, speed in speeds.items():
        print(f"{name:<32}{speed:>14,.0f}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under a minute")
    num_rounds = 3 if parser.parse_args().quick else 9
    walks = compare_walks(num_rounds)
    show("steps a second", walks)
    windows = compare_windows(num_rounds)
    show("centers a second", windows)
    finish(
        ratio=walks["Graph.walk"] / walks["choice"],
        steps_per_second=walks["Graph.walk"],
        events_per_second=windows["ShrinkingWindows"],
        centers=windows,
    )


if __name__ == "__main__":
    main()
