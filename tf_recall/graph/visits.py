"""The nodes that random walks from a node visit most: its important neighbors."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm.auto import tqdm

from tf_recall.graph.checks import check_nodes
from tf_recall.graph.csr import Graph

BLOCK_STEPS = 2**17  # counted together: they stay in the cache
BLOCK_NODES = 2**12  # that a thread works on at a time, from one seed


def visits(
    hops: Sequence[Graph],
    starts: np.ndarray,
    top: int,
    num_walks: int = 100,
    length: int = 10,
    restart: float = 0.5,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nodes that random walks with restart visit most, and how often they do.

    x[1] = s P,  x[t + 1] = (1 - restart) x[t] P + restart s P
    expected count of j = num_walks * sum over t = 1 .. length of x[t, j], for j other than the
    start

    s is 1 at the start, P the probabilities of a whole step, which follows one edge of each of
    `hops` in turn. Before each step a walker goes back to its start with probability `restart`, and
    always from a node without edges. Visits are counted after whole steps; a return to the start is
    no visit.

    All walkers of some starts step together, and the visits of each start are counted by sorting
    them.

    Args:
        hops: graphs, each leading to the type the next leads from, and the last to that of the
            first: one square graph, or `[item to user, user to item]`.
        starts: `[n]` nodes of the first graph.
        top: how many to keep of each start.
        num_walks: walkers of each start.
        length: steps of each walker; restarts do not count among them.
        restart: 0 is one long walk, 1 visits nothing but neighbors.
        rng: equal states give equal visits.

    Returns:
        ids int32 `[n, top]`, counts float32 `[n, top]`: falling counts, the lower id first among
            equal ones, both 0 where fewer nodes were visited.

    Raises:
        ValueError: a hop that does not lead to the type where the next one begins, a start that is
            no node, or a number out of range.

    Example:
        >>> graph, rng = TypedGraph.user_item(split.train, catalog), np.random.default_rng(0)
        >>> item, user = graph["item_user"].graph, graph["user_item"].graph
        >>> ids, counts = visits([item, user], np.array([7, 8]), top=50, rng=rng)

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.1.
    Paper: Eksombatchai et al. 2018, "Pixie: A System for Recommending 3+ Billion Items to 200+
        Million Users in Real-Time", section 3.1.
    """
    hops = list(hops)
    _check(hops, top, num_walks, length, restart)
    starts = check_nodes(starts, hops[0].num_nodes, "starts").astype(np.int32)
    rng = np.random.default_rng() if rng is None else rng
    ids = np.zeros((len(starts), top), np.int32)
    counts = np.zeros((len(starts), top), np.float32)
    block = max(1, BLOCK_STEPS // (num_walks * length))
    for first in range(0, len(starts), block):
        own = slice(first, first + block)
        visited = _visited(hops, starts[own], num_walks, length, restart, rng)
        _count(visited, ids[own], counts[own])
    return ids, counts


def important(
    hops: Sequence[Graph],
    num_nodes: int,
    top: int,
    num_walks: int = 100,
    length: int = 10,
    restart: float = 0.5,
    seed: int = 0,
    num_threads: int | None = None,
) -> Graph:
    """The graph that leads from each node to those that random walks from it visit most.

    An edge's weight is how often, see `visits`; the edges of a node are by falling weight.

    Args:
        hops, top, num_walks, length, restart: see `visits`.
        num_nodes: rows of the type that the walks start from; row 0, the unknown one, has no edges.
        seed: same seed, same graph, whatever the number of threads.
        num_threads: None: as many as there are cores.

    Raises:
        ValueError: as `visits`, or more nodes than the first graph has.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)
        >>> hops = [graph["item_user"].graph, graph["user_item"].graph]
        >>> near = important(hops, catalog.items.size, top=50)
    """
    hops = list(hops)
    _check(hops, top, num_walks, length, restart)
    if not 1 <= num_nodes <= hops[0].num_nodes:
        raise ValueError(
            f"num_nodes must be 1 to {hops[0].num_nodes}, as the first graph has, got {num_nodes}."
        )
    ids = np.zeros((num_nodes, top), np.int32)
    counts = np.zeros((num_nodes, top), np.float32)

    def walk(first):
        own = slice(first, min(first + BLOCK_NODES, num_nodes))
        starts = np.arange(own.start, own.stop)
        rng = np.random.default_rng([seed, first])
        ids[own], counts[own] = visits(hops, starts, top, num_walks, length, restart, rng)

    blocks = range(1, num_nodes, BLOCK_NODES)
    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        done = pool.map(walk, blocks)
        for _ in tqdm(done, "random walks", len(blocks), unit="block", delay=3, leave=False):
            pass
    return Graph.from_table(ids, counts, hops[-1].num_targets)


def _visited(hops, starts, num_walks, length, restart, rng):
    """The nodes that walkers come to: int32 `[n, num_walks * length]`, 0 for the start or none."""
    start = np.repeat(starts, num_walks)
    seen = np.empty((len(start), length), np.int32)
    at = start
    for step in range(length):
        if step:
            back = (rng.random(len(at), np.float32) < restart) | (at == 0)
            at = np.where(back, start, at)
        for hop in hops:
            at = hop.draw(at, 1, rng)[:, 0]
        seen[:, step] = at
    seen[seen == start[:, None]] = 0
    return seen.reshape(len(starts), num_walks * length)


def _count(seen, ids, counts):
    """Writes the most frequent nodes of each row of `seen` `[n, steps]` into `[n, top]` tables."""
    num, steps = seen.shape
    top = ids.shape[1]
    seen.sort(axis=1)
    begins = np.ones((num, steps), bool)
    np.not_equal(seen[:, 1:], seen[:, :-1], out=begins[:, 1:])
    (begin,) = np.nonzero(begins.ravel())
    node = seen.ravel()[begin]
    count = np.diff(begin, append=num * steps)
    row, node, count = (each[node > 0] for each in (begin // steps, node, count))
    # one number to sort by: the row, then falling counts, then the node
    keys = np.sort((row * (steps + 1) + steps - count) << 31 | node)
    row, left = np.divmod(keys >> 31, steps + 1)
    rank = np.arange(len(keys)) - np.searchsorted(row, np.arange(num))[row]
    kept = rank < top
    row, rank = row[kept], rank[kept]
    ids[row, rank] = keys[kept] & (2**31 - 1)
    counts[row, rank] = steps - left[kept]


def _check(hops, top, num_walks, length, restart):
    if not hops:
        raise ValueError("hops must be at least one graph, got none.")
    for number, hop in enumerate(hops):
        after = hops[(number + 1) % len(hops)]
        if hop.num_targets != after.num_nodes:
            raise ValueError(
                "Each hop must lead to where the next begins, and the last to where the first "
                f"does: hop {number} leads to {hop.num_targets} rows, the next begins at "
                f"{after.num_nodes}."
            )
    for name, value in (("top", top), ("num_walks", num_walks), ("length", length)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}.")
    if num_walks * length >= 2**31:
        raise ValueError(f"A start's steps must be below 2**31, got {num_walks} walks of {length}.")
    if not 0 <= restart <= 1:
        raise ValueError(f"restart must be a probability, 0 to 1, got {restart}.")
