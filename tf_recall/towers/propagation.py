"""Vectors of all users and items, propagated along the edges between them."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.graph.csr import Graph

SPREAD = 0.1  # standard deviation of the numbers that a training begins with


class Propagation(keras.layers.Layer):
    """The mean of a node's vector, its neighbors', theirs, and so on (METHODS.md M19).

        E[k + 1][v] = sum over the neighbors u of v of E[k][u] / sqrt(|N_v| |N_u|)
        vector[v] = mean of E[0][v], ..., E[K][v]

    E[0] is learned, and nothing else is. A step computes the vectors of all nodes at once, as
    products of sparse matrices. Both are linear, and the matrix of all edges is symmetric: the
    gradient of E[0] is the gradient of the vectors, propagated in the same way.

    A node without edges starts at zeros.

    Args:
        dim: length of the vectors.
        num_layers: K, how many layers are above the vectors that are learned.

    Attributes:
        tables: E[0], `{"user": [U, dim], "item": [I, dim]}`; row 0 is the unknown one.

    Example:
        >>> propagation = Propagation(dim=4, num_layers=1)
        >>> propagation.build_from_config({"user": 3, "item": 2})
        >>> propagation.connect(Graph.from_edges([1, 2], [1, 1], None, 3, 2))
        >>> users, items = propagation.vectors()

    Paper: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for
        Recommendation", section 3.1.
    """

    def __init__(self, dim: int, num_layers: int, **kwargs) -> None:
        # float32 whatever the precision: sums of many neighbors round badly in half
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.dim = dim
        self.num_layers = num_layers
        self.matrices = None
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

    def connect(self, graph: Graph) -> None:
        """Sets the edges, which are not saved.

        Args:
            graph: from users to items; an edge counts 1, whatever its weight.
        """
        users = np.repeat(np.arange(graph.num_nodes), graph.degrees)
        items = np.asarray(graph.targets)
        degrees = {"user": graph.degrees, "item": np.bincount(items, minlength=graph.num_targets)}
        self.roots = {entity: tf.constant(_roots(each)) for entity, each in degrees.items()}
        root = {entity: each.numpy() for entity, each in self.roots.items()}
        values = root["user"][users] * root["item"][items]
        order = np.argsort(items, kind="stable")
        shape = graph.num_nodes, graph.num_targets
        self.matrices = (
            _matrix(users, items, values, shape),
            _matrix(items[order], users[order], values[order], shape[::-1]),
        )

    def start(self) -> None:
        """Sets to zeros the vectors of nodes without edges."""
        for entity, table in self.tables.items():
            table.assign(table.value * tf.cast(self.roots[entity] > 0, tf.float32)[:, None])

    def vectors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The vectors of all users `[U, dim]` and of all items `[I, dim]`."""
        products = self._products()

        @tf.custom_gradient
        def mean(users, items):
            def gradients(of_users, of_items):
                return self._mean(products, *map(tf.convert_to_tensor, (of_users, of_items)))

            return self._mean(products, users, items), gradients

        return mean(*(tf.convert_to_tensor(self.tables[e].value) for e in ("user", "item")))

    def sent(self) -> tf.Tensor:
        """What each item adds to a user with n items, but for a factor: `[I, dim]`.

        vector[u] = (E[0][u] + sum over the items i of u of sent[i] / sqrt(n)) / (K + 1)
        """
        products = self._products()
        users, items = (tf.convert_to_tensor(self.tables[e].value) for e in ("user", "item"))
        total = items
        for _ in range(self.num_layers - 1):
            users, items = products(users, items)
            total += items
        return total * self.roots["item"][:, None]

    def _mean(self, products, users, items):
        of_users, of_items = users, items
        for _ in range(self.num_layers):
            users, items = products(users, items)
            of_users += users
            of_items += items
        return of_users / (self.num_layers + 1), of_items / (self.num_layers + 1)

    def _products(self):
        """The function from a layer's vectors to the next one's."""
        from_items, from_users = (
            tf.raw_ops.SparseTensorToCSRSparseMatrix(indices=at, values=values, dense_shape=shape)
            for at, values, shape in self.matrices
        )

        def products(users, items):
            return (
                tf.raw_ops.SparseMatrixMatMul(a=from_items, b=items),
                tf.raw_ops.SparseMatrixMatMul(a=from_users, b=users),
            )

        return products


def _roots(degrees):
    """1 / sqrt of degrees, 0 of 0."""
    return np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0).astype(
        np.float32
    )


def _matrix(rows, columns, values, shape):
    """A sparse matrix as TensorFlow takes it apart, its edges in order of rows."""
    at = np.stack([rows, columns], axis=1).astype(np.int64)
    return tf.constant(at), tf.constant(values), tf.constant(shape, tf.int64)
