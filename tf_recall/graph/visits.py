"""Where random walks from a node come to, and how often: its important neighbors."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm.auto import tqdm

from tf_recall.graph.csr import Graph

PIECE_STEPS = 2**17  # counted together: they stay in the cache
BLOCK_NODES = 2**12  # what a thread takes at a time, and what one seed decides


def visits(
    hops, starts, top, num_walks=100, length=10, restart=0.5, rng=None
) -> tuple[np.ndarray, np.ndarray]:
    """The `top` nodes that random walks with restart from each start visit most, and how often they
    do.

    x[1] = s P,  x[t + 1] = (1 - restart) x[t] P + restart s P
    expected count of j = num_walks * sum over t = 1 .. length of x[t, j], for j other than the
    start

    s is 1 at the start, P the chances of a whole step, which takes one edge of each of `hops` in
    turn. Before each step a walker goes back to its start with probability `restart`; one that came
    where no edge leads on always does. Visits are counted after whole steps; coming back to the
    start is none.

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
            equal ones, both 0
        where fewer nodes were visited.

    Raises:
        ValueError: hops that do not lead from one another back to where they began, a start that is
            no node, or a number out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> ids, counts = visits([sold_to, bought], np.array([7, 8]), top=50, rng=rng)

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018,
    section 3.1; Eksombatchai et al., "Pixie: A System for Recommending 3+ Billion Items to 200+
    Million Users in Real-Time", WWW 2018, section 3.1.
    """
    hops, starts = list(hops), np.asarray(starts)
    _check(hops, top, num_walks, length, restart)
    if starts.size and not (starts.min() >= 0 and starts.max() < hops[0].num_nodes):
        raise ValueError(
            f"Nodes go from 0 to {hops[0].num_nodes - 1}, got starts {starts.min()} to "
            f"{starts.max()}."
        )
    starts, rng = starts.astype(np.int32), np.random.default_rng() if rng is None else rng
    ids, counts = np.zeros((len(starts), top), np.int32), np.zeros((len(starts), top), np.float32)
    piece = max(1, PIECE_STEPS // (num_walks * length))
    for first in range(0, len(starts), piece):
        part = slice(first, first + piece)
        _count(
            _visited(hops, starts[part], num_walks, length, restart, rng), ids[part], counts[part]
        )
    return ids, counts


def important(
    hops,
    num_nodes,
    top,
    num_walks=100,
    length=10,
    restart=0.5,
    seed=0,
    num_threads: int | None = None,
) -> Graph:
    """The graph that leads from each node to the `top` that random walks from it visit most;
    weights are the counts.

    An edge's weight is a count, see `visits`; a node's edges are by falling weight.

    Args:
        hops, top, num_walks, length, restart: see `visits`.
        num_nodes: rows of the type that the walks start from; row 0, the unknown one, has no edges.
        seed: same seed, same graph, whatever the number of threads.
        num_threads: None: as many as there are cores.

    Raises:
        ValueError: as `visits`, or more nodes than the first graph has.

    Example:
        >>> near = important([sold_to, bought], catalog.items.size, top=50)
    """
    hops = list(hops)
    _check(hops, top, num_walks, length, restart)
    if not 1 <= num_nodes <= hops[0].num_nodes:
        raise ValueError(
            f"num_nodes must be 1 to {hops[0].num_nodes}, as the first graph has, got {num_nodes}."
        )
    ids, counts = np.zeros((num_nodes, top), np.int32), np.zeros((num_nodes, top), np.float32)

    def walk(first):
        part, rng = (
            slice(first, min(first + BLOCK_NODES, num_nodes)),
            np.random.default_rng([seed, first]),
        )
        starts = np.arange(part.start, part.stop)
        ids[part], counts[part] = visits(hops, starts, top, num_walks, length, restart, rng)

    blocks = range(1, num_nodes, BLOCK_NODES)
    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        for _ in tqdm(
            pool.map(walk, blocks), "random walks", len(blocks), unit="block", delay=3, leave=False
        ):
            pass
    return Graph.from_table(ids, counts, hops[-1].num_targets)


def _visited(hops, starts, num_walks, length, restart, rng):
    """int32 `[n, num_walks * length]`, the nodes that each start's walkers came to; 0 for the start
    and for nowhere.
    """
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
    """Writes the commonest nodes of each line of `seen` `[n, steps]` into `ids` and `counts`
    `[n, top]`.
    """
    (num, steps), top = seen.shape, ids.shape[1]
    seen.sort(axis=1)
    begins = np.ones((num, steps), bool)
    np.not_equal(seen[:, 1:], seen[:, :-1], out=begins[:, 1:])
    (begin,) = np.nonzero(begins.ravel())
    node, count = seen.ravel()[begin], np.diff(begin, append=num * steps)
    line, node, count = (each[node > 0] for each in (begin // steps, node, count))
    # One number to sort by: the line, then falling counts, then the node.
    keys = np.sort((line * (steps + 1) + steps - count) << 31 | node)
    line, count = np.divmod(keys >> 31, steps + 1)
    rank = np.arange(len(keys)) - np.searchsorted(line, np.arange(num))[line]
    kept = rank < top
    line, rank = line[kept], rank[kept]
    ids[line, rank], counts[line, rank] = keys[kept] & (2**31 - 1), steps - count[kept]


def _check(hops, top, num_walks, length, restart):
    if not hops:
        raise ValueError("hops must be at least one graph, got none.")
    for number, hop in enumerate(hops):
        after = hops[(number + 1) % len(hops)]
        if hop.num_targets != after.num_nodes:
            raise ValueError(
                "Each hop must lead to where the next begins, and the last to where the first "
                f"does: hop {number} "
                f"leads to {hop.num_targets} rows, the next begins at {after.num_nodes}."
            )
    for name, value in (("top", top), ("num_walks", num_walks), ("length", length)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}.")
    if num_walks * length >= 2**31:
        raise ValueError(f"A start's steps must be below 2**31, got {num_walks} walks of {length}.")
    if not 0 <= restart <= 1:
        raise ValueError(f"restart must be a probability, 0 to 1, got {restart}.")
