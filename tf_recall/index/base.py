"""The base class of indexes: it checks input, filters exclusions, pads short answers."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

MEASURED_QUERIES = 256
MOST_SCORES = 1 << 26  # in memory at a time: 256 MB
LEVELS = 2 ** np.arange(31)  # rows are searched together that exclude up to 1, 2, 4, ... items


class Index(tf.Module):
    """Finds the items whose vectors have the highest dot product with a query.

        score[b, v] = sum_d(queries[b, d] * vectors[v, d]);  the k highest of a row, best first

    A subclass stores the vectors in `_store` and finds candidates in `_nearest`. Exclusions are
    filtered out of as many more candidates, so they hold for approximate indexes too, and so does
    `min_recall`: it is the share of the best k that are not excluded. What is built are variables:
    they are saved beside the graph of a SavedModel, never in it.

    Attributes:
        num_items, dim: shape of the vectors; None before `build`.
        identity: the `identity` of the catalog whose items it holds, where that is known.
        recall: share of the true nearest 100 that a search for 100 finds; None before `build`.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))         # [V, D]
        >>> index = Exact().build(vectors)
        >>> scores, positions = index.search(vectors[:3], k=10)               # [B, 10] each
    """

    num_items: int | None = None
    dim: int | None = None
    recall: float | None = None
    identity: dict[str, str] | None = None

    def build(self, vectors: np.ndarray, queries: np.ndarray | None = None) -> "Index":
        """Stores the vectors, and measures `recall`.

        Args:
            vectors: [V, D] float, one item a row. Row p is position p in every answer.
            queries: [Q, D] float, examples of queries, to measure the recall with; by default some
                of the vectors, perturbed.

        Returns:
            The index itself.

        Raises:
            ValueError: an array that is empty or not of two dimensions, NaN or infinite values, a
                second build.
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

    def search(
        self,
        queries: np.ndarray | tf.Tensor,
        k: int | tf.Tensor,
        exclude: np.ndarray | tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best `k` positions for each query.

        Args:
            queries: [B, D] float.
            k: how many, an int or a scalar integer tensor, 1 or more.
            exclude: [B, E] positions that row b must not get; -1 is padding.

        Returns:
            scores [B, k] float32, falling, and positions [B, k] int32. A row with fewer than k
            items left ends in score -inf, position -1. Equal scores come in the same order every
            time.

        Raises:
            ValueError: nothing was built, queries of another dimension, k below 1, `exclude` not
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

    def vectors_at(self, positions: np.ndarray | tf.Tensor) -> tf.Tensor:
        """The vectors `[..., D]` at positions `[...]`; those of the padding -1 mean nothing."""
        raise NotImplementedError

    def get_config(self) -> dict:
        """The settings, as `from_config` takes them, without the vectors."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Index":
        """An empty index of these settings."""
        return cls(**config)

    def _store(self, vectors: np.ndarray, queries: np.ndarray) -> None:
        """Stores the vectors and sets `recall`, measured with `queries` where it is not known."""
        raise NotImplementedError

    def _nearest(
        self, queries: tf.Tensor, k: tf.Tensor, spare: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions, [B, up to k + spare], best first; score -inf where there is none.

        Up to `spare` of them are filtered out: they hold `min_recall` of the k that then remain.
        """
        raise NotImplementedError

    def find(
        self, queries: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions, [B, k]: the best that are not excluded.

        Rows are searched together that exclude about as many: how many candidates a row needs, and
        where, depends on its own exclusions alone.
        """
        rows = tf.shape(queries)[0]
        # `_nearest` may rely on one row
        lacking = [[0, tf.maximum(1 - rows, 0)], [0, 0]]
        queries = tf.pad(queries, lacking)
        if exclude is None:
            found = self._kept(queries, k, None, tf.constant(0))
            return found[0][:rows], found[1][:rows]
        exclude = tf.sort(tf.pad(exclude, lacking, constant_values=-1), axis=1)
        repeated = tf.pad(exclude[:, 1:] == exclude[:, :-1], [[0, 0], [1, 0]])
        repeated = repeated[:, : tf.shape(exclude)[1]]  # nothing precedes in no columns
        distinct = tf.reduce_sum(tf.cast((exclude >= 0) & ~repeated, tf.int32), axis=1)  # [B]
        level = tf.searchsorted(tf.constant(LEVELS, tf.int32), distinct)  # [B]

        def kept(own, level):
            spare = tf.gather(tf.constant(LEVELS, tf.int32), level)
            return self._kept(tf.gather(queries, own), k, tf.gather(exclude, own), spare)

        found = in_groups(kept, level)
        return found[0][:rows], found[1][:rows]

    def _wanted(self, k, spare):
        """`k + spare`, at most all items: no overflow where both are large."""
        spare = tf.minimum(spare, self.num_items)
        return tf.minimum(k, self.num_items - spare) + spare

    def _kept(self, queries, k, exclude, spare):
        """As `find`, of rows that exclude up to `spare` items; `exclude` is sorted."""
        scores, positions = self._nearest(queries, k, spare)
        if exclude is not None:
            scores = tf.where(_contained(positions, exclude), -np.inf, scores)
        short = tf.maximum(k - tf.shape(scores)[1], 0)
        scores = tf.pad(scores, [[0, 0], [0, short]], constant_values=-np.inf)
        positions = tf.pad(positions, [[0, 0], [0, short]], constant_values=-1)
        scores, order = tf.math.top_k(scores, k)
        return scores, tf.gather(positions, order, batch_dims=1)  # [B, k]


def in_parts(
    find: Callable, rows: int | tf.Tensor, queries: tf.Tensor, exclude: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The answers of `find(queries, exclude)`, [B, columns] each, to `rows` queries at a time."""
    parts = tf.maximum(-(-tf.shape(queries)[0] // rows), 1)

    def part(i):
        own = slice(i * rows, (i + 1) * rows)
        return find(queries[own], None if exclude is None else exclude[own])

    return _one_after_another(part, parts)


def in_groups(find: Callable, group: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The answers of `find(rows, group)`, [B, columns] each, to the rows of one group at a time.

    Args:
        find: from the numbers of some rows, and their group, to their answers.
        group: int32 [B], one row or more.
    """
    order = tf.argsort(group, stable=True)
    groups, _, sizes = tf.unique_with_counts(tf.gather(group, order))
    ends = tf.cumsum(sizes)

    def part(i):
        return find(order[ends[i] - sizes[i] : ends[i]], groups[i])

    back = tf.math.invert_permutation(order)
    scores, positions = _one_after_another(part, tf.size(groups))
    return tf.gather(scores, back), tf.gather(positions, back)


def _one_after_another(part, number):
    def step(i, scores, positions):
        found = part(i)
        return i + 1, scores.write(i, found[0]), positions.write(i, found[1])

    arrays = [tf.TensorArray(kind, number, infer_shape=False) for kind in (tf.float32, tf.int32)]
    _, scores, positions = tf.while_loop(
        lambda i, *_: i < number, step, [0, *arrays], parallel_iterations=1
    )
    return scores.concat(), positions.concat()


def checked_settings(min_recall: float, **numbers: int | None) -> None:
    """Refuses a recall outside of 0 to 1, and numbers below 1."""
    if not 0 <= min_recall <= 1:
        raise ValueError(f"min_recall must be between 0 and 1, got {min_recall}")
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(
                f"{name} must be 1 or more, or None to choose by the vectors; got {number}"
            )


def _contained(positions: tf.Tensor, exclude: tf.Tensor) -> tf.Tensor:
    """Whether positions [B, M] are among the row's sorted `exclude` [B, E]: bool [B, M].

    A binary search: nothing of B x M x E comes up.
    """
    exclude = tf.pad(exclude, [[0, 0], [0, 1]], constant_values=tf.int32.max)
    # tf.searchsorted fails on no rows
    at = tf.raw_ops.LowerBound(sorted_inputs=exclude, values=positions)
    found = tf.gather(exclude, at, batch_dims=1)
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
    """A sample of the vectors in place of queries, each moved by half its length at random."""
    generator = np.random.default_rng(0)
    sample = vectors[np.sort(generator.permutation(len(vectors))[:MEASURED_QUERIES])]
    noise = generator.standard_normal(sample.shape).astype(np.float32)
    lengths = np.linalg.norm(sample, axis=1, keepdims=True)
    noise *= 0.5 * lengths / np.linalg.norm(noise, axis=1, keepdims=True)
    return sample + noise
