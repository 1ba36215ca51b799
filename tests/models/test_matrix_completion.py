"""Matrix completion: what a score is, where labels come from, and what the doctor says."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.losses import BPR, SquaredError
from tf_recall.runs.advice import check_exposure


@pytest.fixture(scope="module")
def world():
    """Ratings 3 + b_u + b_i + p_u . q_i, of pairs at random: whom one rates says nothing."""
    rng = np.random.default_rng(0)
    split = tr.by_time(synthetic(100, 60, 3000, seed=1).interactions, test=0.2)
    taste, kind = rng.normal(0, 0.6, [100, 2]), rng.normal(0, 1, [60, 2])
    own, good = rng.normal(0, 0.5, 100), rng.normal(0, 0.7, 60)

    def rated(part):
        users = part.frame["user_id"].str[1:].astype(int)
        items = part.frame["item_id"].str[1:].astype(int)
        stars = 4 + own[users] + good[items] + (taste[users] * kind[items]).sum(axis=1)
        return replace(part, frame=part.frame.assign(stars=np.maximum(stars, 0)))

    split = replace(split, train=rated(split.train), test=rated(split.test))
    return split, tr.Catalog.fit(split.train)


@pytest.fixture(scope="module")
def model(world):
    split, catalog = world
    keras.utils.set_random_seed(0)
    model = tr.MatrixCompletion(dim=4, label="stars").adapt(split.train, catalog)
    model.compile()
    batches = model.batches(split.train, catalog, batch_size=64)
    model.fit(
        batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=30, shuffle=False,
        verbose=0,
    )  # fmt: skip
    return model


def test_a_score_is_the_rating_that_it_foretells(model, world):
    split, catalog = world
    frame = split.test.frame
    users, items = catalog.users.encode(frame["user_id"]), catalog.items.encode(frame["item_id"])
    known = (users > 0) & (items > 0)
    query = model.embed_query({"user": users[known]}).numpy()
    score = (query * model.embed_catalog()[items[known] - 1]).sum(axis=1)
    stars = frame["stars"].to_numpy()[known]
    mean = split.train.frame["stars"].mean()
    assert np.square(score - stars).mean() < 0.5 * np.square(mean - stars).mean()
    stranger = model.embed_query({"user": np.zeros(1, np.int32)}).numpy()[0]
    np.testing.assert_allclose(stranger, [0, 0, 0, 0, mean, 1], rtol=1e-5)


def test_the_parts_of_a_score_are_where_the_formula_has_them(model):
    user, item = model.query_tower, model.item_tower
    p, b_u = (feature.table.embeddings.numpy()[3] for feature in user.features)
    q, b_i = (feature.table.embeddings.numpy()[5] for feature in item.features)
    score = user({"user": np.array([3])}).numpy()[0] @ item({"item": np.array([5])}).numpy()[0]
    assert score == pytest.approx(user.mean.numpy() + b_u[0] + b_i[0] + p @ q, rel=1e-5)


def test_the_loss_by_hand():
    # scores 2 and 0.5, labels 5 and 1: (9 + 0.25) / 2; without labels they are 1: (1 + 0.25) / 2
    query, item = np.array([[1.0, 1.0], [0.5, 0.0]]), np.array([[1.0, 1.0], [1.0, 3.0]])
    loss = SquaredError()
    found = loss.of_vectors(query, item, [1, 2], [], weight=np.array([5.0, 1.0]))
    assert float(found) == pytest.approx(4.625)
    assert float(loss.of_vectors(query, item, [1, 2], [])) == pytest.approx(0.625)


def test_labels_are_named_or_found_and_else_refused(world):
    split, catalog = world
    with pytest.raises(ValueError, match="there is no 'weight'.*label: stars.*user_id"):
        tr.MatrixCompletion().adapt(split.train, catalog)
    for values, why in ((1.0, "same everywhere"), ("good", "numbers")):
        wrong = replace(split.train, frame=split.train.frame.assign(rating=values))
        with pytest.raises(ValueError, match=why):
            tr.MatrixCompletion().adapt(wrong, catalog)
    with pytest.raises(ValueError, match="by SquaredError, not by BPR"):
        tr.MatrixCompletion(loss=BPR())


def test_it_is_said_that_it_is_no_recall_model(model):
    (finding,) = check_exposure(model)
    assert finding.name == "exposure_only" and "model: als" in finding.message
    assert not check_exposure(tr.TwoTower())
