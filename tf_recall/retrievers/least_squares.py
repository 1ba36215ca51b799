"""Alternating least squares: all rows of one side solved at once, the other side held fixed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from tf_recall.recommend.products import THREADS
from tf_recall.towers.fold_in import Weighing

PAIRS = 2**14  # of a block that is solved at once
ROWS = 2**16  # whose squares are added up in float32
SMALL = np.float32(1e-30)  # so that a row that is solved already is not divided by 0


@dataclass(frozen=True)
class Solved:
    """One side after a half-sweep.

    Args:
        vectors: `[n, D]` float32; zeros where a row has no pairs.
        loss: the objective but for the penalties of the other side.
        residual: the largest of all rows' `|A x - b| / |b|`.
    """

    vectors: np.ndarray
    loss: float
    residual: float


def half_sweep(
    pairs: sparse.csr_matrix,
    others: np.ndarray,
    start: np.ndarray,
    weighing: Weighing,
    steps: int = 3,
    tolerance: float = 0.0,
    square: np.ndarray | None = None,
    num_others: int | None = None,
) -> Solved:
    """Solves the vectors of one side by least squares, those of the other side given.

        (alpha_0 Y'Y + sum of c y y' + penalty I) x = sum of c y,  over the row's pairs

    by conjugate gradients from `start`: each step lowers the objective. The other side is turned to
    the axes of Y'Y, where all that rows have in common is diagonal; divided by it, few steps are
    enough. Rows with similar numbers of pairs are solved together, blocks of them on all cores. The
    pairs are read block by block, so they may lie on disk, as memory maps.

    Args:
        pairs: `[n, m]` r(u, i), above 0; row and column 0, the unknown ones, are empty.
        others: `[m, D]` float32, the vectors Y of the other side; line 0 is 0.
        start: `[n, D]` float32.
        weighing: what pairs and vectors cost.
        steps: the most steps.
        tolerance: a block ends earlier where no row's residual is larger.
        square: Y'Y, where `others` holds some of the other side alone; None: as `squares`.
        num_others: how many rows the other side has then.
    """
    counts = np.diff(pairs.indptr)
    num_others = len(others) - 1 if num_others is None else num_others
    penalties = weighing.penalty(counts, num_others).astype(np.float32)
    with threadpool_limits(1, "blas"):  # threads that wait for one another cost more than they do
        values, axes = np.linalg.eigh(squares(others) if square is None else square)
        axes = axes.astype(np.float32)
        turned = others @ axes
    common = (weighing.alpha_0 * np.maximum(values, 0)).astype(np.float32)  # [D]
    vectors = np.zeros_like(start)

    def solve(rows):
        columns, confidence = _padded(pairs, rows, counts[rows], weighing.alpha)
        near = turned.take(columns, axis=0)  # [B, N, D]
        diagonal = common + penalties[rows, None]
        x, target, rest = _solved(near, confidence, diagonal, start[rows] @ axes, steps, tolerance)
        vectors[rows] = x @ axes.T
        loss = confidence.sum(dtype=np.float64) - _dots(x, target + rest).sum(dtype=np.float64)
        return loss, _largest(rest, target)

    with ThreadPoolExecutor(THREADS) as pool, threadpool_limits(1, "blas"):
        done = list(pool.map(solve, _blocks(counts)))
    losses, residuals = zip(*done, strict=True) if done else ([0.0], [0.0])
    return Solved(vectors, float(sum(losses)), float(max(residuals)))


def squares(vectors: np.ndarray) -> np.ndarray:
    """Y'Y, `[D, D]` float64, of vectors `[m, D]`."""
    total = np.zeros([vectors.shape[1]] * 2)
    for at in range(0, len(vectors), ROWS):
        block = vectors[at : at + ROWS]
        total += block.T @ block
    return total


def penalty_of(
    vectors: np.ndarray, counts: np.ndarray, num_others: int, weighing: Weighing
) -> float:
    """What one side's vectors cost: the sum of `penalty |x|^2`.

    Args:
        vectors: `[n, D]`.
        counts: `[n]`, how many pairs each has.
        num_others, weighing: as of `Weighing.penalty`.
    """
    return float(weighing.penalty(counts, num_others) @ _dots(vectors, vectors).astype(np.float64))


def _solved(near, confidence, diagonal, x, steps, tolerance):
    """Conjugate gradients of a block, all rows at once: x, the right side, and what is left."""

    def of(p):
        score = (near @ p[:, :, None])[:, :, 0]  # [B, N]
        return diagonal * p + _weighted(score * confidence, near)

    target = _weighted(confidence, near)
    rest = target - of(x)
    direction = scaled = rest / diagonal
    size = _dots(rest, scaled)
    for _ in range(steps):
        if _largest(rest, target) <= tolerance:
            break
        change = of(direction)
        length = (size / np.maximum(_dots(direction, change), SMALL))[:, None]
        x = x + length * direction
        rest = rest - length * change
        scaled = rest / diagonal
        before, size = size, _dots(rest, scaled)
        direction = scaled + (size / np.maximum(before, SMALL))[:, None] * direction
    return x, target, rest


def _weighted(weights, near):
    """The sum of each row's vectors by weight: `[B, N]`, `[B, N, D]` -> `[B, D]`."""
    return (weights[:, None, :] @ near)[:, 0]


def _dots(left, right):
    return np.einsum("bd,bd->b", left, right)


def _largest(rest, target):
    """The largest residual of a block's rows."""
    return float(np.sqrt((_dots(rest, rest) / np.maximum(_dots(target, target), SMALL)).max()))


def _padded(pairs, rows, counts, alpha):
    """The pairs of some rows: columns and confidences `[B, N]`, 0 beyond a row's own."""
    column = np.arange(counts.max())
    inside = column < counts[:, None]
    at = np.where(inside, pairs.indptr[rows][:, None] + column, 0)
    confidence = (1 + np.float32(alpha) * pairs.data[at]) * inside
    return pairs.indices[at] * inside, confidence


def _blocks(counts: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of about as many pairs, those with most of them first; none without."""
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    start = 0
    while start < len(order):
        stop = start + max(1, PAIRS // int(counts[order[start]]))
        yield order[start:stop]
        start = stop
