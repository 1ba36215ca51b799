"""The largest entries of each row of a sparse product, computed without the whole product."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse
from sparse_dot_topn import sp_matmul_topn
from tqdm import tqdm

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MULTIPLICATIONS = 2**27  # of one block of rows: about a second
FEW = 2**18  # multiplications that are done sooner than other threads start
HELD = 2**24  # entries of a product that is held in memory


def top(
    left: sparse.csr_matrix, right: sparse.csr_matrix, num: int, title: str | None = None
) -> sparse.csr_matrix:
    """The `num` largest positive entries of each row of `left @ right`.

    All cores multiply blocks of rows; of each row no more than these entries is kept.

    Args:
        left: `[n, m]` CSR, of floats.
        right: `[m, p]` CSR of the same dtype.
        num: how many in a row, at most.
        title: of the progress bar.

    Returns:
        `[n, p]` CSR; the entries of a row are in falling order. Which of equal ones are kept, and
        in which order, depends on the row alone.
    """
    work = _work(left, right)
    threads = THREADS if work.sum() > FEW else 1
    if right.nnz > work.sum():
        left, right = _used(left, right)
    parts = []
    for rows in _blocks(work, MULTIPLICATIONS, title):
        # A thread multiplies consecutive rows, and the first rows, those of popular items, take
        # longest: they are dealt out to all threads.
        dealt = np.concatenate(
            [np.arange(rows.start + thread, rows.stop, threads) for thread in range(threads)]
        )
        best = sp_matmul_topn(
            left[dealt], right, min(num, right.shape[1]), threshold=0, sort=True, n_threads=threads
        )
        parts.append(best[np.argsort(dealt)] if threads > 1 else best)
    return sparse.vstack(parts, "csr")


def top_in_order(
    left: sparse.csr_matrix, right: sparse.csr_matrix, num: int, more: int = 16
) -> sparse.csr_matrix:
    """As `top`; of equal entries the first columns are kept, in their order.

    So a shorter list is the beginning of a longer one.

    Args:
        left, right, num: as of `top`.
        more: entries beyond `num` that are computed too; where all of them equal the last, eight
            times as many are.
    """
    asked = min(num + more, right.shape[1])
    found = ties_ordered(top(left, right, asked))
    begin = found.indptr[:-1]
    full = np.empty(0, int)
    if num < asked < right.shape[1]:
        full = np.flatnonzero(np.diff(found.indptr) == asked)
    level = full[found.data[begin[full] + num - 1] == found.data[begin[full] + asked - 1]]
    if not len(level):
        return first(found, num)
    return together(first(found, num), level, top_in_order(left[level], right, num, 8 * more))


def top_of_one(
    left: sparse.csr_matrix, right: sparse.csr_matrix, num: int, passes: Callable
) -> sparse.csr_matrix:
    """As `top_in_order`, for one row: the whole product is soon computed, and its best sorted.

    The sums are those of `top` to the bit: both add a column's terms in the order of the left row.

    Args:
        left, right, num: as of `top`; `left` has one row.
        passes: a function of columns: which of them count.
    """
    product = left @ right
    some = (product.data > 0) & passes(product.indices)
    data, column = product.data[some], product.indices[some]
    if len(data) > num:
        enough = data >= np.partition(data, -num)[-num]
        data, column = data[enough], column[enough]
    best = np.lexsort([column, -data])[:num]
    return sparse.csr_matrix((data[best], column[best], [0, len(best)]), product.shape)


def together(
    matrix: sparse.csr_matrix, rows: np.ndarray, others: sparse.csr_matrix
) -> sparse.csr_matrix:
    """The matrix with `others` in place of its rows `rows`."""
    order = np.arange(matrix.shape[0])
    order[rows] = matrix.shape[0] + np.arange(len(rows))
    return sparse.vstack([matrix, others], "csr")[order]


def top_changed(
    left: sparse.csr_matrix,
    right: sparse.csr_matrix,
    num: int,
    change: Callable,
    title: str | None = None,
) -> sparse.csr_matrix:
    """As `top`, of the product's entries after `change(values, rows, columns)`.

    Only entries that are not 0 are changed. Equal entries that are kept are in the order of their
    columns. A block of the product is held in memory at a time.
    """
    one_each = sparse.identity(right.shape[1], left.dtype, "csr")

    def part(rows):
        # releases the lock; `sp_matmul` spoils what holds sums that are exactly 0
        product = left[rows] @ right
        row = np.repeat(np.arange(rows.start, rows.stop), np.diff(product.indptr))
        product.data = change(product.data, row, product.indices).astype(left.dtype)
        return sp_matmul_topn(product, one_each, min(num, right.shape[1]), threshold=0, sort=True)

    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(part, _blocks(_work(left, right), HELD, title)))
    return ties_ordered(sparse.vstack(parts, "csr"))


def ordered(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """The same entries, those of a row in falling order, equal ones by column."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort([matrix.indices, -matrix.data, row])
    return sparse.csr_matrix(
        (matrix.data[order], matrix.indices[order], matrix.indptr), matrix.shape
    )


def ties_ordered(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """As `ordered`, but faster, for a matrix whose entries fall along each row already."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    equal = (matrix.data[1:] == matrix.data[:-1]) & (row[1:] == row[:-1])
    if not matrix.nnz:
        return matrix
    run = np.cumsum(np.append(True, ~equal))  # runs of equal entries in a row, numbered
    some = np.flatnonzero(np.append(False, equal) | np.append(equal, False))
    columns = matrix.indices.copy()
    columns[some] = np.sort(run[some] << 32 | columns[some]) & 0xFFFFFFFF
    return sparse.csr_matrix((matrix.data, columns, matrix.indptr), matrix.shape)


def first(matrix: sparse.csr_matrix, num: int, kept: np.ndarray | None = None) -> sparse.csr_matrix:
    """The first `num` entries of each row, in their order.

    Only those that are `kept`, `[nnz]` bool, count.
    """
    kept = np.ones(matrix.nnz, bool) if kept is None else kept
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    before = np.concatenate([[0], np.cumsum(kept)])
    kept = kept & (before[:-1] - before[matrix.indptr[:-1]][row] < num)
    offsets = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], offsets), matrix.shape)


def without_diagonal(matrix: sparse.csr_matrix, num: int) -> sparse.csr_matrix:
    """The first `num` entries of each row that are not on the diagonal."""
    return first(
        matrix, num, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) != matrix.indices
    )


def _used(left, right):
    """The same product from those rows of the right that it uses."""
    rows, column = np.unique(left.indices, return_inverse=True)
    shape = (left.shape[0], len(rows))
    indices = column.astype(left.indices.dtype)
    return sparse.csr_matrix((left.data, indices, left.indptr), shape), right[rows]


def _work(left, right) -> np.ndarray:
    """How many multiplications each row of the product takes."""
    lengths = np.diff(right.indptr).astype(np.int64)
    return np.add.reduceat(np.append(lengths[left.indices], 0), left.indptr[:-1]) * (
        np.diff(left.indptr) > 0
    )


def _blocks(work: np.ndarray, most: int, title: str | None):
    """Slices of rows of up to `most` multiplications, at least a row each."""
    whole = np.cumsum(work)
    start, count = 0, len(work)
    with tqdm(
        total=count, desc=title, unit="row", delay=3, leave=False, disable=title is None
    ) as bar:
        while start < count or not count:
            before = whole[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(whole, before + most, side="right")))
            yield slice(start, min(stop, count))
            bar.update(stop - start)
            start = stop
            if not count:
                return
