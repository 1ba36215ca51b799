"""Half-sweeps of alternating least squares: by hand, beside a slow twin, and what always holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tf_recall.retrievers.least_squares import half_sweep, penalty_of, squares
from tf_recall.towers.fold_in import Weighing

WEIGHING = Weighing(alpha=2.0, alpha_0=0.2, regularization=0.05, nu=0.5)


def world(seed=0, users=30, items=20, dim=6):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 4, [users, items]) * (rng.random([users, items]) < rng.random(items))
    dense[0] = dense[:, 0] = 0
    dense[3] = 0  # a user without pairs
    pairs = sparse.csr_matrix(dense.astype(np.float32))
    x, y = (rng.normal(size=(n, dim)).astype(np.float32) for n in dense.shape)
    x[0] = y[0] = x[3] = 0
    y[dense.sum(axis=0) == 0] = 0
    return pairs, x, y


def twin(pairs, y, weighing):
    """Each row's system, dense, in float64."""
    y = y.astype(np.float64)
    solved = np.zeros([pairs.shape[0], y.shape[1]])
    for row, r in enumerate(pairs.toarray()):
        c = (1 + weighing.alpha * r) * (r > 0)
        size = (r > 0).sum() + weighing.alpha_0 * (len(y) - 1)
        matrix = weighing.alpha_0 * y.T @ y + (y.T * c) @ y
        matrix += weighing.regularization * size**weighing.nu * np.eye(y.shape[1])
        solved[row] = np.linalg.solve(matrix, y.T @ c)
    return solved


def objective(pairs, x, y, weighing):
    """The loss, pair by pair."""
    r, score = pairs.toarray(), x.astype(np.float64) @ y.T
    c = (1 + weighing.alpha * r) * (r > 0)
    loss = (c * (1 - score) ** 2).sum() + weighing.alpha_0 * (score**2).sum()
    for vectors, counts, others in ((x, (r > 0).sum(1), len(y)), (y, (r > 0).sum(0), len(x))):
        size = counts + weighing.alpha_0 * (others - 1)
        loss += (weighing.regularization * size**weighing.nu * (vectors**2).sum(1)).sum()
    return loss


def test_one_pair_by_hand():
    # y = 2, r = 3: c = 1 + 0.5 * 3 = 2.5, penalty = 0.1 * (1 + 0.25 * 1) = 0.125
    # x = c y / (alpha_0 y^2 + c y^2 + penalty) = 5 / (1 + 10 + 0.125)
    pairs = sparse.csr_matrix(np.array([[0, 0], [0, 3]], np.float32))
    y = np.array([[0], [2]], np.float32)
    solved = half_sweep(pairs, y, np.zeros([2, 1], np.float32), Weighing(0.5, 0.25, 0.1, 1.0))
    np.testing.assert_allclose(solved.vectors, [[0], [5 / 11.125]], rtol=1e-6)
    # c (1 - xy)^2 + alpha_0 (xy)^2 + penalty x^2
    x = 5 / 11.125
    loss = 2.5 * (1 - 2 * x) ** 2 + 0.25 * (2 * x) ** 2 + 0.125 * x**2
    assert solved.loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
def test_it_is_the_slow_twin(nu):
    pairs, x, y = world()
    weighing = Weighing(2.0, 0.2, 0.05, nu)
    solved = half_sweep(pairs, y, x, weighing, steps=30, tolerance=1e-7)
    np.testing.assert_allclose(solved.vectors, twin(pairs, y, weighing), atol=2e-5)
    assert (solved.vectors[[0, 3]] == 0).all() and solved.residual < 1e-5
    by_item = half_sweep(pairs.T.tocsr(), x, y, weighing, steps=30, tolerance=1e-7)
    np.testing.assert_allclose(by_item.vectors, twin(pairs.T.tocsr(), x, weighing), atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(0, 20),
    st.floats(0.01, 2),
    st.floats(1e-3, 1),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_the_objective_falls_in_every_half_sweep(seed, alpha, alpha_0, regularization, nu, steps):
    pairs, x, y = world(seed % 1000)
    weighing = Weighing(alpha, alpha_0, regularization, nu)
    sides = [pairs, pairs.T.tocsr()]
    counts = [np.diff(side.indptr) for side in sides]
    before = objective(pairs, x, y, weighing)
    for number in range(6):
        side = number % 2
        near, far = (x, y) if side == 0 else (y, x)
        solved = half_sweep(sides[side], far, near, weighing, steps)
        x, y = (solved.vectors, y) if side == 0 else (x, solved.vectors)
        loss = objective(pairs, x, y, weighing)
        assert loss <= before * (1 + 1e-5)
        penalty = penalty_of(far, counts[1 - side], len(near) - 1, weighing)
        assert solved.loss + penalty == pytest.approx(loss, rel=1e-3)
        before = loss


def test_pairs_may_lie_on_disk(tmp_path):
    pairs, x, y = world()
    on_disk = {}
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(pairs, name))
        on_disk[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    mapped = sparse.csr_matrix(pairs.shape, dtype=np.float32)
    mapped.data, mapped.indices, mapped.indptr = (on_disk[n] for n in ("data", "indices", "indptr"))
    solved = half_sweep(mapped, y, x, WEIGHING).vectors
    np.testing.assert_array_equal(solved, half_sweep(pairs, y, x, WEIGHING).vectors)


def test_blocks_change_nothing(monkeypatch):
    pairs, x, y = world(users=200)
    whole = half_sweep(pairs, y, x, WEIGHING, steps=20).vectors
    monkeypatch.setattr("tf_recall.retrievers.least_squares.PAIRS", 40)
    np.testing.assert_allclose(
        half_sweep(pairs, y, x, WEIGHING, steps=20).vectors, whole, atol=1e-5
    )


def test_squares_of_many_blocks(monkeypatch):
    monkeypatch.setattr("tf_recall.retrievers.least_squares.ROWS", 7)
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_allclose(squares(vectors), vectors.T @ vectors, rtol=1e-5)
