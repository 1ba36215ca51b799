"""The cosine contrastive loss: numbers by hand, a slow twin, and which models it goes with."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.features import Id
from tf_recall.losses import CosineContrastive
from tf_recall.models.two_tower import TwoTower
from tf_recall.negatives import Uniform
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.fm import FMItemTower, FMQueryTower


def test_by_hand():
    """Margin 0.5, weight 10, two rows of two negatives.

    row 1: 1 - 0.75 + 10 * ((0.75 - 0.5) + 0) / 2 = 0.25 + 1.25 = 1.5
    row 2: 1 - (-0.5) + 10 * (0 + 0) / 2 = 1.5; with its first negative at 1: + 10 * 0.5 / 2 = 4
    """
    scores = tf.constant([[0.75, 0.75, -1.0], [-0.5, 1.0, 0.5]])
    loss = CosineContrastive(margin=0.5, weight=10.0)
    np.testing.assert_allclose(loss(scores), (1.5 + 4.0) / 2)
    mask = tf.constant([[True, True], [False, True]])  # row 2 without its first negative: 1.5
    np.testing.assert_allclose(loss(scores, mask), (1.5 + 1.5) / 2)
    np.testing.assert_allclose(loss(scores, mask, weight=tf.constant([1.0, 0.0])), 1.5 / 2)


@pytest.mark.parametrize("seed", range(3))
def test_slow_twin(seed):
    random = np.random.default_rng(seed)
    scores = random.uniform(-1, 1, (7, 9)).astype(np.float32)
    mask = random.random((7, 8)) < 0.7
    mask[0] = False  # a row may have no negative that counts
    margin, weight = random.uniform(-0.5, 0.9), random.uniform(1, 100)
    rows = []
    for positive, negatives, counts in zip(scores[:, 0], scores[:, 1:], mask, strict=True):
        above = [
            max(0, s - margin) for s, counted in zip(negatives, counts, strict=True) if counted
        ]
        rows.append(1 - positive + weight * (sum(above) / len(above) if above else 0))
    loss = CosineContrastive(margin, weight)
    np.testing.assert_allclose(loss(scores, mask), np.mean(rows), rtol=1e-5)


def test_a_negative_below_the_margin_pushes_nothing():
    scores = tf.Variable([[0.2, 0.39, 0.41]])
    with tf.GradientTape() as tape:
        loss = CosineContrastive(margin=0.4, weight=10.0)(scores)
    np.testing.assert_allclose(tape.gradient(loss, scores), [[-1, 0, 5]])


@pytest.mark.parametrize(
    "settings", [{"margin": 1.0}, {"margin": -1.1}, {"weight": 0.0}, {"weight": float("inf")}]
)
def test_what_is_out_of_range_is_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        CosineContrastive(**settings)


def test_vectors_of_other_lengths_are_refused():
    towers = [FeatureTower(side, [Id(4)], normalize=side == "user") for side in ("user", "item")]
    factors = FMQueryTower("user", [Id()], 4), FMItemTower("item", [Id()], 4)
    for query, item in (towers, factors):
        with pytest.raises(ValueError, match="CosineContrastive is of cosines.*normalize=True"):
            TwoTower(query, item, negatives=Uniform(8), loss=CosineContrastive())
