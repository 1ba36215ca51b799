"""The largest entries of products: against dense ones, in blocks, and in their order."""

import numpy as np
import pytest
from scipy import sparse

from tf_recall.recommend import products


def random(rows, columns, seed, density=0.3, signs=False):
    rng = np.random.default_rng(seed)
    dense = rng.integers(-3 if signs else 1, 4, (rows, columns)) * (
        rng.random((rows, columns)) < density
    )
    return sparse.csr_matrix(dense.astype(np.float32))


def best_of(dense, num):
    """Each row's largest positive entries, equal ones by column, as `[(column, value), ...]`."""
    return [
        [
            (int(at), value)
            for at, value in sorted(enumerate(row), key=lambda e: (-e[1], e[0]))
            if value > 0
        ][:num]
        for row in dense.tolist()
    ]


def entries(matrix):
    ends = zip(matrix.indptr, matrix.indptr[1:], strict=False)
    pairs = list(zip(matrix.indices.tolist(), matrix.data.tolist(), strict=True))
    return [pairs[start:stop] for start, stop in ends]


@pytest.fixture(params=[None, 1], ids=["one block", "a block a row"])
def blocks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(products, "MULTIPLICATIONS", request.param)
        monkeypatch.setattr(products, "HELD", request.param)
    monkeypatch.setattr(products, "FEW", 0)  # all cores


@pytest.mark.parametrize("signs", [False, True])
def test_top_against_a_dense_product(blocks, signs):
    left, right = random(30, 20, 0, signs=signs), random(20, 25, 1, signs=signs)
    # so that no two are equal
    noise = sparse.diags_array(1 + np.arange(25) / 256).astype(np.float32)
    right = sparse.csr_matrix(right @ noise)
    expected = best_of((left @ right).toarray(), 6)
    assert entries(products.top(left, right, 6)) == expected
    same = products.top_changed(left, right, 6, lambda values, rows, columns: values)
    assert entries(same) == expected


@pytest.mark.parametrize("more", [1, 2, 16])
def test_of_equal_entries_the_first_columns(blocks, more):
    left, right = random(60, 12, 8), random(12, 40, 9)  # small whole numbers: many are equal
    dense = (left @ right).toarray()
    for num in (1, 4, 20, 39, 40):
        assert entries(products.top_in_order(left, right, num, more)) == best_of(dense, num)


@pytest.mark.parametrize("signs", [False, True])
def test_one_row_is_that_of_many_to_the_bit(signs):
    left, right = random(40, 12, 8, signs=signs), random(12, 90, 9, signs=signs)
    left.data *= np.float32(0.1)
    right.data *= np.float32(1 / 3)
    kept = np.random.default_rng(1).random(90) < 0.7
    outside = sparse.csr_matrix(right.toarray() * kept)
    for num in (1, 5, 30, 90):
        together = entries(products.top_in_order(left, outside, num))
        for row in range(40):
            one = products.top_of_one(left[[row]], right, num, lambda columns: kept[columns])
            assert entries(one) == [together[row]]


def test_rows_replace_others():
    matrix, others = random(5, 4, 10), random(2, 4, 11)
    expected = matrix.toarray()
    expected[[3, 1]] = others.toarray()
    np.testing.assert_array_equal(
        products.together(matrix, np.array([3, 1]), others).toarray(), expected
    )


def test_a_change_knows_its_rows_and_columns(blocks):
    left, right = random(30, 20, 2), random(20, 25, 3)
    dense = (left @ right).toarray()
    rows, columns = np.indices(dense.shape)
    expected = best_of(np.where(dense > 0, dense + 1000 * rows - columns / 64, 0), 4)
    found = products.top_changed(
        left, right, 4, lambda values, row, column: values + 1000 * row - column / 64
    )
    assert entries(found) == expected


def test_sums_that_are_exactly_zero_do_no_harm(blocks):
    left, right = random(40, 30, 4, 0.6, signs=True), random(30, 35, 5, 0.6, signs=True)
    dense = (left @ right).toarray()
    assert (dense == 0).sum() > 40
    expected = [sorted(value for _, value in row) for row in best_of(dense, 35)]
    for found in (
        products.top(left, right, 35),
        products.top_changed(left, right, 35, lambda v, r, c: v),
    ):
        assert [sorted(value for _, value in row) for row in entries(found)] == expected


def test_more_than_there_are_and_nothing_at_all(blocks):
    left, right = random(3, 4, 6), random(4, 5, 7)
    assert entries(products.ordered(products.top(left, right, 50))) == best_of(
        (left @ right).toarray(), 50
    )
    nothing = sparse.csr_matrix((3, 4), dtype=np.float32)
    assert (
        products.top(nothing, right, 2).nnz
        == products.top_changed(nothing, right, 2, lambda v, r, c: v).nnz
        == 0
    )
    assert products.top(nothing[:0], right, 2).shape == (0, 5)


def test_equal_entries_stand_by_column():
    matrix = sparse.csr_matrix(
        (np.float32([2, 1, 1, 1, 1, 1]), [2, 3, 0, 1, 3, 2], [0, 3, 4, 6]), (3, 4)
    )
    for of_equal in (products.ordered, products.ties_ordered):
        assert entries(of_equal(matrix)) == [[(2, 2), (0, 1), (3, 1)], [(1, 1)], [(2, 1), (3, 1)]]
    mixed = sparse.csr_matrix((np.float32([1, 2, 1, 1]), [3, 2, 0, 1], [0, 3, 4]), (2, 4))
    assert entries(products.ordered(mixed)) == [[(2, 2), (0, 1), (3, 1)], [(1, 1)]]


def test_the_first_that_are_kept():
    matrix = sparse.csr_matrix((np.float32([9, 8, 7, 6, 5]), [0, 1, 2, 1, 0], [0, 3, 3, 5]), (3, 3))
    assert entries(products.first(matrix, 2)) == [[(0, 9), (1, 8)], [], [(1, 6), (0, 5)]]
    kept = np.array([False, True, True, False, True])
    assert entries(products.first(matrix, 1, kept)) == [[(1, 8)], [], [(0, 5)]]
    assert entries(products.without_diagonal(matrix, 5)) == [[(1, 8), (2, 7)], [], [(1, 6), (0, 5)]]
