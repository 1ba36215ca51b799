"""Products that are the same to the bit: against sums of exact fractions, and in any company."""

from fractions import Fraction

import numpy as np
import pytest

from tf_recall.recommend import exact
from tf_recall.recommend.exact import exact_product, rounded


def vectors(rows, dim, seed):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.integers(-8, 9, (rows, 1))
    return rng.standard_normal((rows, dim)) * sizes * (rng.random((rows, dim)) < 0.9)


@pytest.mark.parametrize("dim", [1, 3, 64, 256, 1000])
def test_products_are_exact_but_for_one_rounding(dim, monkeypatch):
    monkeypatch.setattr(exact, "TILE", 3)
    left, right = rounded(vectors(4, dim, 0)), rounded(vectors(7, dim, 1))
    found = exact_product(left, right)
    assert found.dtype == np.float32 and found.shape == (4, 7)
    for row, query in zip(found, left, strict=True):
        for value, item in zip(row, right, strict=True):
            terms = (
                Fraction(float(a)) * Fraction(float(b)) for a, b in zip(query, item, strict=True)
            )
            assert value == np.float32(float(sum(terms)))


def test_rounding_keeps_what_matters():
    # 256 numbers: (53 - 8) // 2 = 22 bits. The largest, 1, is below 2, so the unit is 2 ** -21:
    # 0.75 units are rounded up to one, 0.25 down to none. In the second row the unit is 2 ** -50.
    unit = 2.0**-21
    given = np.zeros((2, 256))
    given[0, :4] = [1.0, 0.75 * unit, -0.75 * unit, 0.25 * unit]
    given[1, :2] = [2.0**-29, 0.75 * unit * 2.0**-29]
    found = rounded(given)
    assert found.dtype == np.float32 and found[0, :4].tolist() == [1.0, unit, -unit, 0.0]
    assert found[1, :2].tolist() == [2.0**-29, unit * 2.0**-29]
    some = vectors(50, 256, 2)
    largest = np.abs(some).max(axis=1, keepdims=True)
    assert (np.abs(rounded(some) - some) <= largest * 2.0**-22).all()
    np.testing.assert_array_equal(rounded(rounded(some)), rounded(some))
    assert not rounded(np.zeros((2, 5))).any() and rounded(np.zeros((3, 0))).shape == (3, 0)


def test_a_row_is_the_same_alone_and_in_any_order():
    left, right = rounded(vectors(70, 96, 3)), rounded(vectors(9000, 96, 4))
    whole = exact_product(left, right)
    for row in (0, 31, 69):
        np.testing.assert_array_equal(exact_product(left[row : row + 1], right)[0], whole[row])
    shuffled = np.random.default_rng(5).permutation(96)
    np.testing.assert_array_equal(exact_product(left[:, shuffled], right[:, shuffled]), whole)
