"""Towers of vectors that are solved for: a table of them, and users solved from their items."""

from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from tf_recall.towers.base import Tower

UNSEEN = 40.0  # what all pairs weigh together, beside those seen
CHANCE = 0.5  # of what chance alone would make, which is held down
CHUNK = 64  # items of histories whose squares are added up at once


@dataclass(frozen=True)
class Weighing:
    """What a pair costs, and what a vector (METHODS.md M7).

        c(u, i) = 1 + alpha * r(u, i)
        penalty(u) = regularization * (|I_u| + alpha_0 |I|) ** nu

    Args:
        alpha: how much more a pair weighs, the larger its r; 0: all pairs alike.
        alpha_0: the weight of every pair, seen or not, whose score should be 0; None: by the data.
        regularization: how strongly long vectors are held down; None: by the data.
        nu: how much more strongly those of rows with many pairs; 0: all alike.
    """

    alpha: float
    alpha_0: float | None
    regularization: float | None
    nu: float

    def fitted(self, num_users: int, num_items: int, num_pairs: int, mean: float) -> "Weighing":
        """The same, with what is None by the data.

            alpha_0 = c * min(1, UNSEEN * pairs / (|U| |I|)),  c of the mean r
            penalty(u) penalty(i) = (CHANCE * c * (sqrt |I_u| + sqrt |U_i|))^2,  all of them means

        So all pairs weigh together UNSEEN times what those seen do, whatever the catalog's size,
        and none of them more than one that is seen.
        `c (sqrt |I_u| + sqrt |U_i|)` is about the largest singular value of as many pairs thrown
        at random, and values below the root of the penalties' product are shrunk to 0.

        Args:
            num_users, num_items: how many have pairs.
            num_pairs: how many are seen.
            mean: of r over them.
        """
        c = 1 + self.alpha * mean
        of_user, of_item = num_pairs / num_users, num_pairs / num_items
        alpha_0 = self.alpha_0 or c * min(1.0, UNSEEN * num_pairs / (num_users * num_items))
        if self.regularization is not None:
            return replace(self, alpha_0=alpha_0)
        sizes = (of_user + alpha_0 * num_items) * (of_item + alpha_0 * num_users)
        chance = c * (of_user**0.5 + of_item**0.5)
        return replace(
            self, alpha_0=alpha_0, regularization=CHANCE * chance / sizes ** (self.nu / 2)
        )

    def penalty(self, counts: Any, num_others: int) -> Any:
        """The penalty of rows by how many pairs they have, an array or a tensor of floats.

        Args:
            counts: of each row.
            num_others: how many rows the other side has, the unknown one left out.
        """
        return self.regularization * (counts + self.alpha_0 * num_others) ** self.nu


class VectorTower(Tower):
    """A vector for each row of an entity, which the model computes; 0 until it does.

    Args:
        entity: "user" or "item".
        dim: length of the vectors.
        weighing: what a user's item weighs.

    Call: as `Tower`.
    """

    carried = ("square",)

    def __init__(self, entity: str, dim: int, weighing: Weighing, **kwargs) -> None:
        super().__init__(entity, **kwargs)
        self.width = dim
        self.weighing = weighing

    @property
    def dim(self) -> int:
        return self.width

    def _adapt(self, train, catalog):
        side = catalog.side(self.entity)
        self.build_from_config({"num_rows": side.vocabulary.size})
        self.origin = side.origin

    def by_row(self) -> list:
        """What it keeps by row, with the origin of each row."""
        return [(self.vectors, self.origin)]

    def _grown(self, interactions, catalog):
        raise ValueError(
            "vectors that are solved for do not grow: new users are folded in from a history, and "
            "new items are solved by model.train on all interactions"
        )

    def build_from_config(self, config: dict) -> None:
        self.num_rows = config["num_rows"]
        self.origin = None
        self.vectors = self._weight("vectors", self.num_rows, self.width)
        self.square = self._weight("square", self.width, self.width)  # Y'Y, of the vectors Y
        self.built = True

    def _weight(self, name, *shape):
        return self.add_weight(
            name=name, shape=shape, dtype="float32", initializer="zeros", trainable=False
        )

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.num_rows} if self.built else None

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        return tf.gather(self.vectors.value, inputs[self.entity])  # [B, dim]

    def solved(self, matrix: tf.Tensor, target: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """What minimizes the objective of queries over this tower's rows.

            (alpha_0 Y'Y + matrix + penalty I) x = target

        Args:
            matrix: `[B, D, D]`, the sum of `c y y'`.
            target: `[B, D]`, the sum of `c y`.
            counts: `[B]`, how many items each query has.
        """
        counts = tf.cast(counts, tf.float32)[:, None]
        penalty = self.weighing.penalty(counts, self.num_rows - 1) + tf.zeros([1, self.width])
        matrix += self.weighing.alpha_0 * self.square.value
        matrix = tf.linalg.set_diag(matrix, tf.linalg.diag_part(matrix) + penalty)
        factor = tf.linalg.cholesky(matrix)
        return tf.linalg.cholesky_solve(factor, target[:, :, None])[:, :, 0]

    def as_query(self, vectors: tf.Tensor) -> tf.Tensor:
        """The vectors of users who have one item each."""
        weight = 1 + self.weighing.alpha
        matrix = weight * vectors[:, :, None] * vectors[:, None, :]
        return self.solved(matrix, weight * vectors, tf.ones(tf.shape(vectors)[:1]))


class FoldInTower(Tower):
    """Users by the vectors that were solved for, or solved from a history (METHODS.md M7).

        (alpha_0 Y'Y + sum of c y y' + penalty I) x = sum of c y,  over the items of the history

    with Y'Y stored. A request's history stands for what is stored, and an item that occurs in it n
    times has `r = n`. Without one a known user has the vector of the last sweep, and who is unknown
    that of everybody together: the items by the share of users who have them.

    Args:
        items: the tower of the items' vectors.

    Call: `{"user": rows [B]}`, optionally with `"history": item rows [B, L]`, 0 for nothing ->
        `[B, dim]` float32.

    Paper: Hu et al. 2008, "Collaborative Filtering for Implicit Feedback Datasets", section 4.
    """

    takes_history = True
    carried = ("everybody",)

    def __init__(self, items: VectorTower, **kwargs) -> None:
        super().__init__("user", **kwargs)
        self.items = items

    @property
    def dim(self) -> int:
        return self.items.dim

    def _adapt(self, train, catalog):
        side = catalog.side(self.entity)
        self.build_from_config({"num_rows": side.vocabulary.size})
        self.origin = side.origin

    def by_row(self) -> list:
        """What it keeps by row, with the origin of each row."""
        return [(self.vectors, self.origin)]

    def build_from_config(self, config: dict) -> None:
        self.num_rows = config["num_rows"]
        self.origin = None
        state = {"dtype": "float32", "initializer": "zeros", "trainable": False}
        self.vectors = self.add_weight(name="vectors", shape=(self.num_rows, self.dim), **state)
        self.everybody = self.add_weight(name="everybody", shape=(self.dim,), **state)
        self.built = True

    def _grown(self, interactions, catalog):
        return self.items.grown(interactions, catalog)  # refuses

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.num_rows} if self.built else None

    def inputs_from_raw(self, rows, raw, history=None):
        inputs = super().inputs_from_raw(rows, raw, history)
        return inputs if history is None else {**inputs, "history": history}

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        stored = tf.gather(self.vectors.value, inputs[self.entity])  # [B, dim]
        known = tf.reduce_any(stored != 0, axis=1, keepdims=True)
        own = tf.where(known, stored, self.everybody.value)
        history = inputs.get("history")
        if history is None:
            return own
        given = tf.reduce_any(history > 0, axis=1, keepdims=True)
        return tf.cond(
            tf.reduce_any(given),
            lambda: tf.where(given, self.fold_in(history), own),
            lambda: own,
        )

    def fold_in(self, history: tf.Tensor) -> tf.Tensor:
        """The vectors `[B, dim]` of users with histories `[B, L]`, 0 for nothing."""
        history = tf.sort(history, axis=1)
        first = tf.pad(history[:, 1:] != history[:, :-1], [[0, 0], [1, 0]], constant_values=True)
        first = tf.cast(first & (history > 0), tf.float32)
        again = tf.cast(history > 0, tf.float32)
        confidence = first + self.items.weighing.alpha * again  # [B, L]
        size, width = tf.shape(history)[0], tf.shape(history)[1]

        def add(at, matrix, target):
            part = slice(at, at + CHUNK)
            near = tf.gather(self.items.vectors.value, history[:, part])  # [B, C, dim]
            weighed = confidence[:, part, None] * near
            matrix += tf.matmul(weighed, near, transpose_a=True)
            return at + CHUNK, matrix, target + tf.reduce_sum(weighed, axis=1)

        start = 0, tf.zeros([size, self.dim, self.dim]), tf.zeros([size, self.dim])
        _, matrix, target = tf.while_loop(lambda at, *_: at < width, add, start)
        return self.items.solved(matrix, target, tf.reduce_sum(first, axis=1))
