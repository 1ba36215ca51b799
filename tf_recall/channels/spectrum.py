"""The leading singular vectors of a large sparse matrix, in the memory of its smaller side."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits

from tf_recall.recommend.products import THREADS

SMALL = 500  # rows of a square matrix that is solved whole
NOTHING = 1e-10  # of the largest square of a singular value: smaller ones are rounding errors
TOLERANCE = 1e-6


def leading_vectors(matrix: sparse.csr_matrix, num: int) -> np.ndarray:
    """The right singular vectors of the largest singular values.

    They are eigenvectors of the matrix times itself over its smaller side, by ARPACK; of users and
    items the product is never formed, and nothing dense has a row for each of the larger side.

    Args:
        matrix: `[n, m]` CSR.
        num: how many.

    Returns:
        `[m, num]` float64, orthonormal columns by falling singular value; fewer where the rank is
        lower.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    squares, vectors = _largest(matrix.T.tocsr() if wide else matrix, num)
    kept = squares > NOTHING * squares[0]
    squares, vectors = squares[kept], vectors[:, kept]
    return matrix.T @ vectors / np.sqrt(squares) if wide else vectors


def _largest(tall, num):
    """The largest eigenvalues, falling, and eigenvectors of `tall.T @ tall`."""
    size = tall.shape[1]
    num = min(num, size)
    if size <= SMALL or 2 * num > size:
        square = (tall.T @ tall).toarray().astype(np.float64)
        values, vectors = linalg.eigh(square, subset_by_index=[size - num, size - 1])
    else:
        start = np.random.default_rng(0).standard_normal(size)
        values, vectors = _by_multiplying(tall, num, start)
    return values[::-1], vectors[:, ::-1]


def _by_multiplying(tall, num, start):
    """As `eigsh`, all cores multiplying blocks of rows.

    Between two products ARPACK calls BLAS for work so small that its threads wait for one another.
    """
    blocks = _blocks(tall, THREADS)
    with ThreadPoolExecutor(THREADS) as pool, threadpool_limits(1, "blas"):

        def times(vector):
            return sum(pool.map(lambda rows: rows.T @ (rows @ vector), blocks))

        square = LinearOperator((len(start), len(start)), times, dtype=np.float64)
        return eigsh(square, num, v0=start, tol=TOLERANCE)


def _blocks(matrix, num):
    """The matrix in blocks of rows of about as many entries each, without copying them."""
    each = np.linspace(0, matrix.nnz, num + 1)[1:-1]
    bounds = [0, *np.searchsorted(matrix.indptr, each), matrix.shape[0]]
    blocks = []
    for first, last in zip(bounds, bounds[1:], strict=False):
        offsets = matrix.indptr[first : last + 1]
        entries = slice(offsets[0], offsets[-1])
        blocks.append(
            sparse.csr_matrix(
                (matrix.data[entries], matrix.indices[entries], offsets - offsets[0]),
                (last - first, matrix.shape[1]),
            )
        )
    return blocks
