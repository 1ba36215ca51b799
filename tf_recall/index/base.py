"""What every index does: check its input, leave out what is excluded, pad short answers, measure
its own recall.
"""

import numpy as np
import tensorflow as tf

MEASURED_QUERIES = 256
MOST_SCORES = 1 << 26  # held at a time: 256 MB


class Index(tf.Module):
    """The items whose vectors have the largest dot product with a query.

        score[b, v] = sum_d(queries[b, d] * vectors[v, d]);  the k largest per row, best first

    A subclass keeps the vectors in `_store` and finds candidates in `_nearest`. Exclusions are left
    out by fetching as many more, so they hold for approximate indexes too. What is built are
    variables: they go with a SavedModel, never into its graph.

    Example:
        index = Exact().build(vectors)                              # [V, D]
        scores, positions = index.search(queries, k=10)             # [B, 10] each
    """

    num_items: int | None = None
    dim: int | None = None
    recall: float | None = None

    def build(self, vectors, queries=None) -> "Index":
        """Stores `vectors` and measures `recall`, the share of the true nearest 100 that a search
        for 100 finds.

        Args:
            vectors: [V, D] float, one item a row. Row p is position p in every answer.
            queries: [Q, D] float, what will be searched for, to measure the recall with; by default
                some of the vectors, perturbed.

        Returns:
            The index itself.

        Raises:
            ValueError: for an empty or not two-dimensional array, NaN or infinite values, a second
                build.
        """
        if self.recall is not None:
            raise ValueError(
                f"this {type(self).__name__} holds {self.num_items} vectors already: build a new "
                "one"
            )
        vectors = _matrix(vectors, "vectors")
        queries = _perturbed(vectors) if queries is None else _matrix(queries, "queries")
        if queries.shape[1] != vectors.shape[1]:
            raise ValueError(
                f"queries must have the vectors' {vectors.shape[1]} dimensions, got "
                f"{queries.shape[1]}"
            )
        self.num_items, self.dim = vectors.shape
        self._store(vectors, queries[:MEASURED_QUERIES])
        return self

    def search(self, queries, k, exclude=None) -> tuple[tf.Tensor, tf.Tensor]:
        """The best `k` positions for each query.

        Args:
            queries: [B, D] float.
            k: how many, an int or a scalar integer tensor, 1 or more.
            exclude: [B, E] positions that row b must not be given; -1 is padding.

        Returns:
            scores [B, k] float32, falling, and positions [B, k] int32. A row with fewer than k
            items left ends in score -inf, position -1. Equal scores come in the same order each
            time.

        Raises:
            ValueError: before `build`, for queries of another dimension, k below 1, `exclude` not
                [B, E].
        """
        if self.recall is None:
            raise ValueError(f"{type(self).__name__} is empty: call build(vectors) before search")
        queries = tf.convert_to_tensor(queries, tf.float32)
        if queries.shape.rank != 2 or queries.shape[1] not in (None, self.dim):
            raise ValueError(
                f"queries must be [B, {self.dim}], as the vectors of the index; got {queries.shape}"
            )
        static_k = tf.get_static_value(k)
        if static_k is not None and (
            np.ndim(static_k) or static_k < 1 or static_k != int(static_k)
        ):
            raise ValueError(f"k must be a whole number, 1 or more; got {static_k}")
        if exclude is not None:
            exclude = tf.cast(exclude, tf.int32)
            if exclude.shape.rank != 2 or not exclude.shape[:1].is_compatible_with(
                queries.shape[:1]
            ):
                raise ValueError(
                    f"exclude must be [B, E], a row for each of {queries.shape[0]}; got "
                    f"{exclude.shape}"
                )
            tf.debugging.assert_equal(
                tf.shape(exclude)[0], tf.shape(queries)[0], "exclude needs a row for each query"
            )
        scores, positions = self.find(queries, tf.cast(k, tf.int32), exclude)  # [B, k]
        positions = tf.where(tf.equal(scores, -np.inf), -1, positions)
        shape = [queries.shape[0], None if static_k is None else int(static_k)]
        return tf.ensure_shape(scores, shape), tf.ensure_shape(positions, shape)

    def vectors_at(self, positions) -> tf.Tensor:
        """The vectors at `positions` [...], [..., D]; what stands for the padding -1 means
        nothing.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        """The settings, as `from_config` takes them; never the vectors."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Index":
        return cls(**config)

    def _store(self, vectors: np.ndarray, queries: np.ndarray) -> None:
        """Keeps the vectors, sets `recall`, by `queries` if it must be measured."""
        raise NotImplementedError

    def _nearest(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions, [B, any number up to k], -inf where there is none."""
        raise NotImplementedError

    def find(
        self, queries: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Exactly k columns, by fetching k + E and dropping the excluded."""
        wanted = k if exclude is None else k + tf.shape(exclude)[1]
        rows = tf.shape(queries)[0]
        # `_nearest` may count on one
        queries = tf.pad(queries, [[0, tf.maximum(1 - rows, 0)], [0, 0]])
        scores, positions = (
            part[:rows] for part in self._nearest(queries, tf.minimum(wanted, self.num_items))
        )
        if exclude is not None:
            scores = tf.where(_contained(positions, exclude), -np.inf, scores)
        short = tf.maximum(k - tf.shape(scores)[1], 0)
        scores = tf.pad(scores, [[0, 0], [0, short]], constant_values=-np.inf)
        positions = tf.pad(positions, [[0, 0], [0, short]], constant_values=-1)
        scores, order = tf.math.top_k(scores, k)
        return scores, tf.gather(positions, order, batch_dims=1)  # [B, k]


def in_parts(
    find, rows, queries: tf.Tensor, exclude: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The answers of `find(queries, exclude)` to at most `rows` queries at a time, joined: [B,
    columns] each.
    """
    parts = tf.maximum(-(-tf.shape(queries)[0] // rows), 1)

    def step(i, scores, positions):
        those = slice(i * rows, (i + 1) * rows)
        found = find(queries[those], None if exclude is None else exclude[those])
        return i + 1, scores.write(i, found[0]), positions.write(i, found[1])

    arrays = [tf.TensorArray(kind, parts, infer_shape=False) for kind in (tf.float32, tf.int32)]
    _, scores, positions = tf.while_loop(
        lambda i, *_: i < parts, step, [0, *arrays], parallel_iterations=1
    )
    return scores.concat(), positions.concat()


def checked_settings(min_recall: float, **numbers: int | None) -> None:
    """Raises ValueError for a recall outside of 0 to 1, or a number below 1."""
    if not 0 <= min_recall <= 1:
        raise ValueError(f"min_recall must be between 0 and 1, got {min_recall}")
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(
                f"{name} must be 1 or more, or None to choose by the vectors; got {number}"
            )


def _contained(positions: tf.Tensor, exclude: tf.Tensor) -> tf.Tensor:
    """Whether each of a row's positions [B, M] is in the row's `exclude` [B, E]: a binary search,
    never B x M x E.
    """
    exclude = tf.pad(tf.sort(exclude, axis=1), [[0, 0], [0, 1]], constant_values=tf.int32.max)
    # tf.searchsorted fails on no rows
    places = tf.raw_ops.LowerBound(sorted_inputs=exclude, values=positions)
    found = tf.gather(exclude, places, batch_dims=1)
    return tf.equal(found, positions)


def _matrix(values, name: str) -> np.ndarray:
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{name} must be [number, dimensions] with at least one of each, got shape "
            f"{values.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise ValueError(
            f"{name} must be finite; {len(bad)} rows are not, the first is row {bad[0]}"
        )
    return values


def _perturbed(vectors: np.ndarray) -> np.ndarray:
    """Stand-ins for queries: a seeded sample of the vectors, each moved by half its length in a
    random direction.
    """
    generator = np.random.default_rng(0)
    sample = vectors[np.sort(generator.permutation(len(vectors))[:MEASURED_QUERIES])]
    noise = generator.standard_normal(sample.shape).astype(np.float32)
    noise *= (
        0.5
        * np.linalg.norm(sample, axis=1, keepdims=True)
        / np.linalg.norm(noise, axis=1, keepdims=True)
    )
    return sample + noise
