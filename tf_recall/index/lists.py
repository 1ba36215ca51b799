"""Lists of similar vectors for an inverted file: k-means by angle, long lists halved."""

import numpy as np
from sklearn.cluster import KMeans

SAMPLED = 50  # vectors for each list, to train the centroids
BLOCK = 1 << 15


def directions(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors [V, D + 1] whose angle with a query that ends in 0 orders the dot products.

    x_v = (vector_v, sqrt(longest^2 - |vector_v|^2)) / longest
    """
    squares = np.einsum("vd,vd->v", vectors, vectors)
    largest = max(float(squares.max()), np.finfo(np.float32).tiny)
    extra = np.sqrt(np.maximum(largest - squares, 0))
    return np.column_stack([vectors, extra]) / np.float32(np.sqrt(largest))


def partition(points: np.ndarray, num_lists: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centroids [C, D] of length 1, and the rows of each one's list, rising.

    Every row is in one list. No list is longer than twice the mean length of `num_lists` lists, so
    C is a little over `num_lists`.

    Args:
        points: [V, D], of length 1.
        num_lists: about how many lists.
        seed: of the k-means.
    """
    generator = np.random.default_rng(seed)
    sample = points[np.sort(generator.permutation(len(points))[: SAMPLED * num_lists])]
    kmeans = KMeans(num_lists, init="random", n_init=1, max_iter=10, random_state=seed)
    means = _unit(kmeans.fit(sample).cluster_centers_)
    blocks = [points[start : start + BLOCK] for start in range(0, len(points), BLOCK)]
    nearest = np.concatenate([np.argmax(block @ means.T, axis=1) for block in blocks])
    lengths = np.bincount(nearest, minlength=num_lists)
    todo = np.split(np.argsort(nearest, kind="stable"), np.cumsum(lengths)[:-1])
    longest = -(-2 * len(points) // num_lists)
    members = []
    while todo:
        rows = todo.pop()
        if len(rows) > longest:
            half = _halves(points[rows])
            todo += [rows[half], rows[~half]]
        elif len(rows):
            members.append(rows)
    return _unit(np.stack([points[rows].mean(0) for rows in members])), members


def _halves(points: np.ndarray) -> np.ndarray:
    """Which of two clusters each point is in, bool [n]; neither is empty.

    2-means, from the point farthest from the mean.
    """
    middle = points.mean(0)
    axis = points[np.argmax(np.sum((points - middle) ** 2, axis=1))] - middle
    for _ in range(8):
        half = (points - middle) @ axis > 0
        if half.all() or not half.any():
            return np.arange(len(points)) < len(points) // 2
        one, other = points[half].mean(0), points[~half].mean(0)
        middle = (one + other) / 2
        axis = one - other
    return half


def _unit(points: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return (points / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
