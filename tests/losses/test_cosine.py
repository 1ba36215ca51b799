"""The cosine contrastive loss: numbers by hand, a slow twin, and which models it goes with."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Id
from tf_recall.losses import CosineContrastive
from tf_recall.models.simplex import SimpleX
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


def test_the_weight_is_taken_from_the_data():
    # users of 3, 1, 2 and 0 rows, 9 items: 2 positives of a query in the mean, a third of 9 / 2
    train = Interactions.from_columns(
        user_id=["a", "a", "a", "b", "c", "c"],
        item_id=[0, 1, 2, 0, 0, 1],
        users=pd.DataFrame({"user_id": ["a", "b", "c", "d"]}),
        items=pd.DataFrame({"item_id": range(9)}),
    )
    loss = CosineContrastive(margin=0.3)
    model = SimpleX(dim=4, loss=loss).adapt(train, Catalog.fit(train))
    assert model.loss_fn.get_config() == {"margin": 0.3, "weight": pytest.approx(1.5)}
    assert loss.weight is None  # another model takes it from its own data
    assert SimpleX.from_config(model.get_config()).loss_fn.weight == model.loss_fn.weight
    given = SimpleX(dim=4, loss=CosineContrastive(weight=7.0)).adapt(train, Catalog.fit(train))
    assert given.loss_fn.weight == 7
    assert loss.fitted(True, num_items=1, positives=2).weight == 1
    assert loss.fitted(True, num_items=120, positives=2).weight == 20
    assert loss.fitted(True, num_items=800, positives=2).weight == 25
    with pytest.raises(ValueError, match="weight=None is taken from the data"):
        loss(tf.ones([2, 3]))


@pytest.mark.slow
def test_too_large_a_weight_leaves_all_pairs_at_the_margin():
    """A pair's cosine, for each query and its only positive: 1 / V of the negatives are that one.

    Its pull is 1, and its push weight / V: it wins below a weight of V = 8, and loses above.
    """

    def ends(weight):
        cosine = tf.Variable([[0.1] * 2])  # the positive's as a positive and as a negative
        for _ in range(200):
            with tf.GradientTape() as tape:
                scores = tf.concat([cosine[:, :1], cosine[:, :1], tf.zeros([1, 7])], axis=1)
                loss = CosineContrastive(0.4, weight)(scores)
            cosine.assign(tf.minimum(cosine - 0.05 * tape.gradient(loss, cosine), 1.0))
        return float(cosine[0, 0])

    assert ends(7.0) == 1
    assert ends(9.0) == pytest.approx(0.4, abs=0.06)


def test_vectors_of_other_lengths_are_refused():
    towers = [FeatureTower(side, [Id(4)], normalize=side == "user") for side in ("user", "item")]
    factors = FMQueryTower("user", [Id()], 4), FMItemTower("item", [Id()], 4)
    for query, item in (towers, factors):
        with pytest.raises(ValueError, match="CosineContrastive is of cosines.*normalize=True"):
            TwoTower(query, item, negatives=Uniform(8), loss=CosineContrastive())
