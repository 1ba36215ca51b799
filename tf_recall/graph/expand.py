"""The part of a graph that one training step reads: its nodes, and their neighbors' neighbors."""

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from tf_recall.graph.neighbors import Neighbors

NO_SEED = 2**31 - 1  # pads the seeds, which rise
SMALLEST = 8
SCRATCH = threading.local()


def expand(
    seeds: dict[str, np.ndarray],
    layers: Sequence[dict[str, Neighbors]],
    over: dict[str, tuple[str, str]],
    rng: np.random.Generator,
    without: Iterable[tuple[tuple[str, str], np.ndarray, np.ndarray]] = (),
) -> dict:
    """The nodes that each layer needs, each once, and the positions of their neighbors.

    needed[L] = seeds
    needed[k - 1, t] = needed[k, t], then the other neighbors of type t that layer k draws, relation
    by relation

    So the first n[k] nodes of layer k - 1 are those of layer k: `vectors[:n]` are the nodes' own.
    Layer 1 reads the features' vectors, layer L gives the vectors of the seeds.

    Everything is padded to the sizes that `padded` allows, so that few shapes come up: rows with 0,
    positions with 0 of weight 0. A position of weight 0 means nothing.

    Args:
        seeds: `{type: rows}`, rising.
        layers: of layers 1 to L, `{relation: neighbors}`: `(nodes, rng) -> (ids, weights)`, both
            `[n, K]` and made for this call, id and weight 0 where there is none.
        over: `{relation: (type, its neighbors' type)}`.
        rng: equal states give equal results.
        without: `[((type, other type), rows, rows of the other)]`, pairs that must not see each
            other: where one is drawn for the other, in any layer, by any relation and from either
            side, id and weight become 0.

    Returns:
        `seeds` `{type: int32 [S]}`, padded with 2**31 - 1, so still rising; `rows`
        `{type: int32 [n[0]]}`; and `layers`
        `{"1": {relation: {"position": int32 [n[1], K], "weight": float32 [n[1], K]}}, ...}`,
        positions among the nodes of the neighbors' type one layer below.

    Raises:
        ValueError: seeds that do not rise, or neighbors of a relation that is not in `over`.

    Example:
        >>> graph = TypedGraph.of_items(Graph.from_edges([3, 7], [7, 9], None, 10))
        >>> near = UniformNeighbors(graph["item_item"].graph, num=10)
        >>> seeds, rng = {"item": np.array([3, 7])}, np.random.default_rng(0)
        >>> batch = expand(seeds, [{"item_item": near}] * 2, {"item_item": ("item", "item")}, rng)

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", algorithm 2.
    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.3.
    """
    seeds = {of_type: np.asarray(rows, np.int32) for of_type, rows in seeds.items()}
    _check(seeds, layers, over)
    types = sorted({*(each for ends in over.values() for each in ends), *seeds})
    nodes = {of_type: _Nodes(of_type) for of_type in types}
    for of_type, rows in seeds.items():
        nodes[of_type].add(rows)
    drawn = {}
    for k in range(len(layers), 0, -1):
        needed = {of_type: nodes[of_type].rows for of_type in types}
        drawn[str(k)] = {}
        for relation, neighbors in layers[k - 1].items():
            of_type, near_type = over[relation]
            ids, weights = neighbors(needed[of_type], rng)
            for own, other in _pairs((of_type, near_type), without):
                _mask(ids, weights, nodes[of_type].positions(own), other)
            position = nodes[near_type].number(ids)
            drawn[str(k)][relation] = {
                "position": _padded(position, 0),
                "weight": _padded(weights, 0),
            }
    return {
        "seeds": {of_type: _padded(rows, NO_SEED) for of_type, rows in seeds.items()},
        "rows": {of_type: _padded(nodes[of_type].rows, 0) for of_type in types},
        "layers": drawn,
    }


def padded(num: int) -> int:
    """The least allowed size that holds `num`: 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ...

    There are four sizes between a power of two and the next.
    """
    if num <= SMALLEST:
        return SMALLEST
    step = 2 ** ((num - 1).bit_length() - 3)
    return -(-num // step) * step


class _Nodes:
    """Nodes of one type, numbered from 0 as they come.

    A row's place is looked up in an array with an entry for each row of the type. Each thread keeps
    one from call to call and never clears it: only entries that were just written are read, or such
    as `rows` confirms. So the work is that of the nodes it touches, in few passes over an array
    that no cache holds.
    """

    def __init__(self, of_type):
        self.rows = np.zeros(0, np.int32)
        self._of_type = of_type
        self._place = _scratch(of_type, 1)
        self._placed = 0  # how many of `rows` have their entry, position + 1

    def add(self, rows):
        """Appends rows that are different and not there yet."""
        self._reach(rows)
        self.rows = np.concatenate([self.rows, rows])

    def number(self, ids):
        """The positions of `ids`, 0 of row 0; those that are not there yet are added."""
        self._reach(ids)
        each, num = ids.ravel().astype(np.intp), len(self.rows)
        entry = np.arange(num + 1, num + 1 + len(each), dtype=np.int32)
        self._place[each] = entry
        self._write(0)
        self._place[0] = 0
        entries = self._place.take(each)
        new = entries == entry  # of equal ids one was written last: it stands for all
        position = np.zeros(num + 1 + len(each), np.int32)  # of each entry
        position[1 : num + 1] = np.arange(num)
        np.cumsum(new, out=position[num + 1 :])
        position[num + 1 :] += num - 1
        self.add(each.compress(new).astype(np.int32))
        return position.take(entries).reshape(ids.shape)

    def positions(self, rows):
        """The positions of `rows`, -1 of those that are not there and of row 0."""
        self._reach(rows)
        self._write(self._placed)
        position = self._place.take(rows) - 1
        there = (rows > 0) & (position >= 0) & (position < len(self.rows))
        there[there] = self.rows[position[there]] == rows[there]
        return np.where(there, position, -1)

    def _write(self, first):
        """Writes the entries of `rows` from `first` on."""
        self._placed = len(self.rows)
        self._place[self.rows[first:]] = np.arange(first + 1, self._placed + 1, dtype=np.int32)

    def _reach(self, rows):
        if rows.size and rows.max() >= len(self._place):
            self._place = _scratch(self._of_type, int(rows.max()) + 1)


def _scratch(of_type, size):
    """This thread's array of places of a type's rows, at least `size` long."""
    kept = SCRATCH.__dict__.get(of_type, np.zeros(1, np.int32))
    if len(kept) < size:
        kept = np.concatenate([kept, np.zeros(max(size, 2 * len(kept)) - len(kept), np.int32)])
    SCRATCH.__dict__[of_type] = kept
    return kept


def _pairs(ends, without):
    """`(rows of a relation's type, rows of its neighbors' type)` that must not see each other."""
    for types, first, second in without:
        first, second = np.asarray(first), np.asarray(second)
        if types == ends:
            yield first, second
        if types == ends[::-1]:
            yield second, first


def _mask(ids, weights, positions, others):
    """Removes node `others[i]` from the neighbors of the node at `positions[i]`."""
    there = (positions >= 0) & (positions < len(ids))
    positions, others = positions[there], others[there]
    pair, draw = np.nonzero(ids[positions] == others[:, None])
    ids[positions[pair], draw] = 0
    weights[positions[pair], draw] = 0


def _padded(array, value):
    wide = np.empty((padded(len(array)), *array.shape[1:]), array.dtype)
    wide[: len(array)] = array
    wide[len(array) :] = value
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
                f"Layer {number} has neighbors by the relations {sorted(layer)}, and `over` has "
                f"{sorted(over)} only."
            )
