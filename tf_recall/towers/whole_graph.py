"""All vectors propagated along all edges in each step, as products of sparse matrices."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.towers.propagation import Propagation, Way


@keras.saving.register_keras_serializable("tf_recall")
class WholeGraph(Way):
    """Each step computes the vectors of all nodes at once, as products of sparse matrices.

    Both are linear, and the matrix of all edges is symmetric: the gradient of E[0] is the gradient
    of the vectors, propagated in the same way. A step costs a pass over the graph whatever its
    batch, so batches are large; the edges are in memory, some 40 bytes each.

    Paper: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for
        Recommendation", section 3.1.3.
    """

    most_rows = 8192
    supports_xla = False

    def prepared(self, graph, roots):
        """The matrices of both directions."""
        there = graph["user_item"].graph
        users = np.repeat(np.arange(there.num_nodes), there.degrees)
        items = np.asarray(there.targets)
        values = roots["user"][users] * roots["item"][items]
        order = np.argsort(items, kind="stable")
        shape = there.num_nodes, there.num_targets
        return (
            _matrix(users, items, values, shape),
            _matrix(items[order], users[order], values[order], shape[::-1]),
        )

    def found(self, propagation, batch):
        users, items = self.vectors(propagation)
        vectors = {"user": users, "item": items}
        return lambda of_type, rows: tf.gather(vectors[of_type], rows)

    def vectors(self, propagation: Propagation) -> tuple[tf.Tensor, tf.Tensor]:
        """The vectors of all users `[U, dim]` and of all items `[I, dim]`."""
        products, num_layers = _products(propagation), propagation.num_layers

        @tf.custom_gradient
        def mean(users, items):
            def gradients(of_users, of_items):
                return _mean(products, num_layers, *map(tf.convert_to_tensor, (of_users, of_items)))

            return _mean(products, num_layers, users, items), gradients

        return mean(*_starts(propagation))

    def over_all(self, propagation):
        products = _products(propagation)
        users, items = _starts(propagation)
        total = items
        for _ in range(propagation.num_layers - 1):
            users, items = products(users, items)
            total += items
        return *self.vectors(propagation), total * propagation.roots["item"][:, None]


def _starts(propagation):
    return [tf.convert_to_tensor(propagation.tables[e].value) for e in ("user", "item")]


def _mean(products, num_layers, users, items):
    of_users, of_items = users, items
    for _ in range(num_layers):
        users, items = products(users, items)
        of_users += users
        of_items += items
    return of_users / (num_layers + 1), of_items / (num_layers + 1)


def _products(propagation):
    """The function from a layer's vectors to the next one's."""
    from_items, from_users = (
        tf.raw_ops.SparseTensorToCSRSparseMatrix(indices=at, values=values, dense_shape=shape)
        for at, values, shape in propagation.prepared
    )

    def products(users, items):
        return (
            tf.raw_ops.SparseMatrixMatMul(a=from_items, b=items),
            tf.raw_ops.SparseMatrixMatMul(a=from_users, b=users),
        )

    return products


def _matrix(rows, columns, values, shape):
    """A sparse matrix as TensorFlow takes it apart, its edges in order of rows."""
    at = np.stack([rows, columns], axis=1).astype(np.int64)
    return tf.constant(at), tf.constant(values), tf.constant(shape, tf.int64)
