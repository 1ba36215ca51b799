"""A batch's nodes, their neighbors, and those of these: all that a graph model reads for one
step.
"""

import threading

import numpy as np

NO_SEED = 2**31 - 1  # what fills up the sorted seeds
SMALLEST = 8
SCRATCH = threading.local()


def expand(seeds, layers, over, rng, without=()) -> dict:
    """The nodes that layer after layer asks for, each once, and where each finds its neighbors
    among them.

    needed[L] = seeds
    needed[k - 1, t] = needed[k, t], then the other nodes of type t that layer k's neighbors name,
    as they come

    So the first n[k] nodes of layer k - 1 are those of layer k: `vectors[:n]` are the nodes' own.
    Layer 1 reads what the nodes themselves say, layer L answers for the seeds.

    Everything is padded to the sizes that `padded` allows, so that few shapes come up: rows with 0,
    places with 0 of weight 0. A place of weight 0 means nothing.

    Args:
        seeds: `{type: rows}`, rising.
        layers: of layers 1 to L, `{type: neighbors}`: `(nodes, rng) -> (ids, weights)`, both
            `[n, K]` and made for this call, id and weight 0 where there is none.
        over: `{type: its neighbors' type}`.
        rng: equal states give equal results.
        without: `[(type, rows, rows of its neighbors' type)]`, pairs that must not see each other:
            where one is drawn for the other, at whatever layer and from either side, id and weight
            become 0.

    Returns:
        `seeds` `{type: int32 [S]}`, padded with 2**31 - 1, so still rising; `rows`
        `{type: int32 [n[0]]}`; and `layers`
        `{"1": {type: {"place": int32 [n[1], K], "weight": float32 [n[1], K]}}, ...}`, places among
        the nodes of the neighbors' type one layer below.

    Raises:
        ValueError: seeds that do not rise, or neighbors of a type that is not in `over`.

    Example:
        >>> near = UniformNeighbors(graph, num=10)
        >>> seeds, rng = {"item": np.array([3, 7])}, np.random.default_rng(0)
        >>> expand(seeds, [{"item": near}] * 2, {"item": "item"}, rng)

    Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", NIPS 2017,
    algorithm 2; Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender
    Systems", KDD 2018, section 3.3.
    """
    seeds = {of_type: np.asarray(rows, np.int32) for of_type, rows in seeds.items()}
    _check(seeds, layers, over)
    types = sorted({*over, *over.values(), *seeds})
    nodes = {of_type: _Nodes(of_type) for of_type in types}
    try:
        for of_type, rows in seeds.items():
            nodes[of_type].add(rows)
        drawn = {}
        for k in range(len(layers), 0, -1):
            needed = {of_type: nodes[of_type].rows for of_type in types}
            drawn[str(k)] = {}
            for of_type, neighbors in layers[k - 1].items():
                ids, weights = neighbors(needed[of_type], rng)
                for own, other in _pairs(of_type, over, without):
                    _mask(ids, weights, nodes[of_type].places(own), other)
                place = nodes[over[of_type]].number(ids)
                drawn[str(k)][of_type] = {"place": _padded(place, 0), "weight": _padded(weights, 0)}
        return {
            "seeds": {of_type: _padded(rows, NO_SEED) for of_type, rows in seeds.items()},
            "rows": {of_type: _padded(nodes[of_type].rows, 0) for of_type in types},
            "layers": drawn,
        }
    finally:
        for each in nodes.values():
            each.forget()


def padded(num: int) -> int:
    """The least of the allowed sizes that holds `num`: 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ...,
    four an octave.
    """
    if num <= SMALLEST:
        return SMALLEST
    step = 2 ** ((num - 1).bit_length() - 3)
    return -(-num // step) * step


class _Nodes:
    """Nodes of one type, numbered from 0 as they come.

    A node's place is looked up in an array as long as the type has rows, -1 for those not there.
    Each thread keeps one from call to call, and a call takes back what it wrote: its work is that
    of the nodes it touches. Row 0 always has place 0: it pads, and among rising seeds it stands
    first.
    """

    def __init__(self, of_type):
        self.rows = np.zeros(0, np.int32)
        self._of_type = of_type
        self._place = _scratch(of_type, 1)

    def add(self, rows):
        """Appends rows that are different and not there yet."""
        self._reach(rows)
        self._place[rows] = np.arange(len(self.rows), len(self.rows) + len(rows), dtype=np.int32)
        self.rows = np.concatenate([self.rows, rows])

    def number(self, ids):
        """The places of `ids`, of which those that are not there yet are added."""
        self._reach(ids)
        ids = ids.astype(np.intp)
        new = ids[self._place.take(ids) < 0]
        turn = np.arange(len(new), dtype=np.int32)
        self._place[new] = turn
        # of equal ones one wrote last
        self.add(new[self._place.take(new) == turn].astype(np.int32))
        return self._place.take(ids)

    def places(self, rows):
        """The places of `rows`, -1 of those that are not there and of row 0."""
        self._reach(rows)
        return np.where(rows > 0, self._place.take(rows), -1)

    def forget(self):
        self._place[self.rows] = -1
        self._place[0] = 0

    def _reach(self, rows):
        if rows.size and rows.max() >= len(self._place):
            self._place = _scratch(self._of_type, int(rows.max()) + 1)


def _scratch(of_type, size):
    """This thread's array of places for a type, at least `size` long."""
    kept = SCRATCH.__dict__.get(of_type, np.zeros(1, np.int32))
    if len(kept) < size:
        kept = np.concatenate([kept, np.full(max(size, 2 * len(kept)) - len(kept), -1, np.int32)])
    SCRATCH.__dict__[of_type] = kept
    return kept


def _pairs(of_type, over, without):
    """`(rows of a type, rows of its neighbors' type)` that must not see each other."""
    for first_type, first, second in without:
        first, second = np.asarray(first), np.asarray(second)
        if first_type == of_type:
            yield first, second
        if over.get(first_type) == of_type and over[of_type] == first_type:
            yield second, first


def _mask(ids, weights, places, others):
    """Takes node `others[i]` out of what the node in `places[i]` sees."""
    there = (places >= 0) & (places < len(ids))
    places, others = places[there], others[there]
    pair, draw = np.nonzero(ids[places] == others[:, None])
    ids[places[pair], draw] = 0
    weights[places[pair], draw] = 0


def _padded(array, value):
    wide = np.full((padded(len(array)), *array.shape[1:]), value, array.dtype)
    wide[: len(array)] = array
    return wide


def _check(seeds, layers, over):
    for of_type, rows in seeds.items():
        if rows.ndim != 1 or (rows.size and (rows[0] < 0 or (rows[1:] <= rows[:-1]).any())):
            raise ValueError(
                f"Seeds must be rows of at least 0 that rise, got {rows} of type {of_type!r}."
            )
    for number, layer in enumerate(layers, 1):
        if not set(layer) <= set(over):
            raise ValueError(
                f"Layer {number} has neighbors of the types {sorted(layer)}, but it is known only "
                "what "
                f"{sorted(over)} are over."
            )
