"""Vectors of all users and items, propagated along the edges between them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.towers.smoothing import Smoothing, smoothing

SPREAD = 0.1  # standard deviation of the numbers that a training begins with
BOTH_WAYS = {"user_item": ("user", "item"), "item_user": ("item", "user")}


class Way:
    """How a step gets propagated vectors: a part of a config, which keeps nothing itself.

    Attributes:
        most_rows: of a batch, where none are asked for.
        supports_xla: whether XLA compiles such a step.
    """

    most_rows: int
    supports_xla = True

    def check(self, negatives: keras.layers.Layer) -> None:
        """Refuses a sampler that it does not go with.

        Raises:
            ValueError: it does not.
        """

    def prepared(self, graph: TypedGraph, roots: dict[str, np.ndarray]) -> Any:
        """What it makes of a graph, once: the propagation's `prepared`.

        Args:
            graph: of users and items, without weights.
            roots: `{type: [V]}`, 1 / sqrt of degrees, 0 of 0.
        """
        raise NotImplementedError

    def batches(
        self, propagation: "Propagation", pairs: Any, ahead: Callable, seed: int, num_replicas: int
    ) -> Any:
        """Batches of pairs with what a step needs besides.

        Args:
            propagation: whose graph it is.
            pairs: the batches of the positives.
            ahead: `step -> [item rows]`, the negatives that will be drawn.
            seed: same seed, same batches.
            num_replicas: how many compute a batch together.
        """
        return pairs

    def found(self, propagation: "Propagation", batch: dict) -> Callable:
        """The function `(type, rows [n]) -> [n, dim]`, vectors of a batch, not yet normalized."""
        raise NotImplementedError

    def over_all(self, propagation: "Propagation") -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """As `Propagation.over_all`."""
        raise NotImplementedError

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Way":
        return cls(**config)


class Propagation(keras.layers.Layer):
    """The mean of a node's vector, its neighbors', theirs, and so on (METHODS.md M19).

        E[k + 1][v] = sum over the neighbors u of v of E[k][u] / sqrt(|N_v| |N_u|)
        vector[v] = mean of E[0][v], ..., E[K][v]

    E[0] is learned, and nothing else is. A node without edges starts at zeros.

    Args:
        dim: length of the vectors.
        num_layers: K, how many layers are above the vectors that are learned.
        way: how a step gets the vectors: `WholeGraph()` or `SampledNeighbors()`.

    Attributes:
        tables: E[0], `{"user": [U, dim], "item": [I, dim]}`; row 0 is the unknown one.
        graph: the edges; None until `connect`.
        prepared: what the way made of them.

    Example:
        >>> propagation = Propagation(4, 1, WholeGraph())
        >>> propagation.build_from_config({"user": 3, "item": 2})
        >>> graph = Graph.from_edges([1, 2], [1, 1], None, 3, 2)
        >>> propagation.connect(TypedGraph(both_ways("user", "item", graph)))
        >>> users, items, _ = propagation.over_all()

    Paper: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for
        Recommendation", section 3.1.
    """

    def __init__(self, dim: int, num_layers: int, way: Way, **kwargs) -> None:
        # float32 whatever the precision: sums of many neighbors round badly in half
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.dim = dim
        self.num_layers = num_layers
        self.way = way
        self.graph = None
        self.origins = {}

    def build_from_config(self, config: dict) -> None:
        self.tables = {
            entity: self.add_weight(
                name=f"{entity}_vectors",
                shape=(size, self.dim),
                initializer=keras.initializers.RandomNormal(stddev=SPREAD),
                autocast=False,
            )
            for entity, size in config.items()
        }
        self.built = True

    def get_build_config(self) -> dict | None:
        return {e: table.shape[0] for e, table in self.tables.items()} if self.built else None

    def come_from(self, catalog: Catalog) -> None:
        """Notes which rows of an earlier catalog the rows of this one go on from."""
        self.origins = {entity: catalog.side(entity).origin for entity in self.tables}

    def by_row(self) -> list[tuple[keras.Variable, np.ndarray | None]]:
        """What it keeps by row, with the origin of each row."""
        return [(table, self.origins.get(entity)) for entity, table in self.tables.items()]

    def connect(self, graph: TypedGraph) -> None:
        """Sets the edges, which are not saved.

        Args:
            graph: with relations from users to items and back; an edge counts 1, whatever its
                weight.

        Raises:
            ValueError: it lacks one of the two, or has other nodes.
        """
        for entity, table in self.tables.items():
            if (rows := graph.sizes.get(entity)) != table.shape[0]:
                raise ValueError(
                    f"the graph has {rows or 'no'} rows of type {entity!r}, and the catalog "
                    f"{table.shape[0]}"
                )
        self.graph = TypedGraph([_unweighted(graph[name], *BOTH_WAYS[name]) for name in BOTH_WAYS])
        degrees = {each.of: each.graph.degrees for each in self.graph.relations}
        roots = {entity: _roots(each) for entity, each in degrees.items()}
        self.roots = {entity: tf.constant(each) for entity, each in roots.items()}
        self.prepared = self.way.prepared(self.graph, roots)

    def start(self) -> None:
        """Sets to zeros the vectors of nodes without edges."""
        for entity, table in self.tables.items():
            table.assign(table.value * tf.cast(self.roots[entity] > 0, tf.float32)[:, None])

    def over_all(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """All users' vectors `[U, dim]`, all items' `[I, dim]`, and what items send `[I, dim]`.

        An item adds to a user with n items, but for a factor, what it sends:

        vector[u] = (E[0][u] + sum over the items i of u of sent[i] / sqrt(n)) / (K + 1)
        """
        return self.way.over_all(self)

    def nodes(self, of_type: str, rows: tf.Tensor) -> tf.Tensor:
        """What rows `[n]` bring to the first of `layers`: `[n, 2 * dim + 1]`."""
        own = tf.gather(self.tables[of_type].value, rows)
        root = tf.gather(self.roots[of_type], rows)[:, None]
        return tf.concat([own, own, tf.where(root > 0, 1 / root, 1.0)], axis=1)

    def all_nodes(self) -> dict[str, np.ndarray]:
        """What all nodes bring: `{type: [V, 2 * dim + 1]}`."""
        sizes = self.graph.sizes.items()
        return {of_type: self.nodes(of_type, tf.range(size)).numpy() for of_type, size in sizes}

    def layers(self, normalize: bool = False) -> list[dict[str, Smoothing]]:
        """The convolutions that lead from `all_nodes` to all vectors, layer by layer."""
        return smoothing(self.dim, self.num_layers, normalize)


def _unweighted(relation, of, near):
    """A relation each of whose edges counts 1."""
    if relation.ends != (of, near):
        raise ValueError(
            f"the relation {relation.name!r} must lead from {of} to {near}, it leads from "
            f"{relation.of} to {relation.near}"
        )
    graph = relation.graph
    graph = Graph(graph.offsets, graph.targets, None, graph.num_targets)
    return Relation(of, near, graph, relation.name)


def _roots(degrees):
    """1 / sqrt of degrees, 0 of 0."""
    return np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0).astype(
        np.float32
    )
