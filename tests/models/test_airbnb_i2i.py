"""Airbnb's listing embeddings: what the item booked and the negatives of the same city do, and what
it answers.
"""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn, WithConversion
from tf_recall.data.sources.stays import stays
from tf_recall.data.splits import leave_last_session_out
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.losses import NEG
from tf_recall.models.airbnb_i2i import AirbnbI2I
from tf_recall.negatives import Popularity
from tf_recall.positives import Windows
from tf_recall.recommend.service import Service

BOOKED = WithConversion(ByColumn("search"), "booked")


def fitted(log, catalog, positives, negatives=None, epochs=4, dim=16):
    keras.utils.set_random_seed(0)
    model = AirbnbI2I("city", positives, dim, negatives).adapt(log, catalog)
    model.compile()
    batches = model.batches(log, catalog, 256)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return model


def log_of(searches, city, **columns):
    """One user a search; `searches` [S, L] are item numbers, `city` [V] and further columns tell of
    the items.
    """
    num, length = searches.shape
    numbers = np.repeat(np.arange(num), length)
    items = pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(len(city))], "city": [f"c{n}" for n in city], **columns}
    )
    return Interactions.from_columns(
        user_id=[f"u{n}" for n in numbers],
        item_id=[f"i{n}" for n in searches.ravel()],
        search=[f"s{n}" for n in numbers],
        booked=np.tile(np.arange(length) == length - 1, num),
        items=items,
    )


def test_the_item_booked_is_a_positive_of_its_whole_session_by_hand():
    """Eight searches a b c d in this order, d booked, window 1: 32 centers. Vectors of one
    dimension.

    Centers are 1, 2, 3, 4 for a, b, c, d; as context d is 1 and the others 0. The loss's negatives
    weigh nothing. window:  a-b, b-a, b-c, c-b, d-c: softplus(0) = 0.693147 each; c-d: softplus(-3)
    = 0.048587 booked:  a-d: softplus(-1) = 0.313262; b-d: softplus(-2) = 0.126928; c-d once more:
    0.048587; d itself: nothing 5 * 0.693147 + 0.048587 + 0.313262 + 0.126928 + 0.048587 = 4.003099,
    in the mean over four centers 1.000775
    """
    log = log_of(np.tile(np.arange(4), (8, 1)), city=np.zeros(4, int))
    catalog = Catalog.fit(log)
    positives, negatives = Windows(BOOKED, window=1), Popularity(num=64)
    model = AirbnbI2I("city", positives, 1, negatives, NEG(negatives=1e-9)).adapt(log, catalog)
    rows = catalog.items.encode(["i0", "i1", "i2", "i3"])
    centers, contexts = np.zeros((5, 1), np.float32), np.zeros((5, 1), np.float32)
    centers[rows, 0], contexts[rows, 0] = [1, 2, 3, 4], [0, 0, 0, 1]
    model.item_tower.trainable_variables[0].assign(centers)
    model.contexts.trainable_variables[0].assign(contexts)
    batches = model.batches(log, catalog, batch_size=32)
    batch = {name: tf.constant(column) for name, column in batches.at(0).items()}
    np.testing.assert_allclose(model(batch), 1.000775, rtol=1e-5)
    model.positives = Windows(ByColumn("search"), window=1)
    batch = {
        name: tf.constant(column) for name, column in model.batches(log, catalog, 32).at(0).items()
    }
    np.testing.assert_allclose(model(batch), (5 * 0.693147 + 0.048587) / 4, rtol=1e-5)


@pytest.mark.slow
def test_the_item_booked_draws_its_session_beyond_the_window():
    """Five themes; between two homes of a theme stands one that everybody looks at, so a window of
    1 sees only those.

    What was booked is the one sign of the theme: without it all homes look alike.
    """
    rng = np.random.default_rng(0)
    theme = rng.integers(5, size=400)
    searches = rng.integers(50, 60, size=(400, 7))
    searches[:, ::2] = 10 * theme[:, None] + rng.integers(10, size=(400, 4))
    log = log_of(searches, city=np.zeros(60, int))
    catalog = Catalog.fit(log)

    def nearness(sessions):
        model = fitted(log, catalog, Windows(sessions, window=1), epochs=12)
        vectors = model.embed_catalog()[catalog.items.encode([f"i{n}" for n in range(50)]) - 1]
        similar, own = vectors @ vectors.T, np.equal.outer(np.arange(50) // 10, np.arange(50) // 10)
        return similar[own & ~np.eye(50, dtype=bool)].mean() - similar[~own].mean()

    without = nearness(ByColumn("search"))
    assert abs(without) < 0.1 and nearness(BOOKED) > without + 0.25


def test_negatives_of_the_same_city_tell_its_homes_apart():
    """Twenty cities of ten homes in two styles; a search stays in its city, and four in five clicks
    in its style.

    Negatives from everywhere are of another city nineteen times in twenty.
    """
    rng = np.random.default_rng(1)
    city, style = rng.integers(20, size=(1000, 1)), rng.integers(2, size=(1000, 1))
    style = np.where(rng.random((1000, 6)) < 0.8, style, 1 - style)
    searches = 10 * city + style + 2 * rng.integers(5, size=(1000, 6))
    log = log_of(searches, city=np.arange(200) // 10, style=np.arange(200) % 2)
    catalog = Catalog.fit(log)
    cities, styles = (catalog.item_table[name].to_numpy() for name in ("city", "style"))
    near = np.equal.outer(cities, cities) & ~np.eye(200, dtype=bool)
    same = np.equal.outer(styles, styles)

    def told_apart(negatives):
        vectors = fitted(log, catalog, Windows(ByColumn("search")), negatives).embed_catalog()
        similar = vectors @ vectors.T
        # cities are told apart in any case
        assert similar[near].mean() > similar[~near].mean() + 0.3
        return similar[near & same].mean() - similar[near & ~same].mean()

    assert told_apart(None) > 2 * told_apart(Popularity(num=64)) > 0


@pytest.fixture(scope="module")
def trained():
    world = stays(num_users=600, num_items=200, num_cities=6, num_countries=3)
    split = leave_last_session_out(world.interactions, "search")
    catalog = Catalog.fit(split.train)
    model = fitted(split.train, catalog, Windows(BOOKED), epochs=10)
    return world, split, catalog, Service.build(model, catalog)


@pytest.mark.slow
def test_more_like_this_is_of_the_same_city_and_price(trained):
    world, _, catalog, service = trained
    items = world.interactions.items.set_index("item_id")
    asked = catalog.items.decode(1 + np.argsort(-catalog.items.counts[1:])[:40])
    found, scores = service.similar(asked, k=5)
    assert (found != asked[:, None]).all() and (np.diff(scores) <= 0).all()
    city = items["city"]
    alike = np.mean(
        [city[each] == city[a] for a, row in zip(asked, found, strict=True) for each in row]
    )
    assert alike > 0.8

    def gap(pairs):
        return np.mean([abs(np.log(items["price"][a] / items["price"][b])) for a, b in pairs])

    neighbors = [(a, b) for a in asked for b in items.index[items["city"] == city[a]]]
    assert gap((a, b) for a, row in zip(asked, found, strict=True) for b in row) < 0.8 * gap(
        neighbors
    )


def test_recommendations_from_a_history_beat_popularity(trained):
    _, split, catalog, service = trained
    report = evaluate(service, cases_by_user(split.test, catalog), catalog, ks=(20,))
    assert report.metrics["recall@20"] > 1.15 * report.baseline["recall@20"]


def test_the_group_must_be_a_column_of_the_items():
    log = log_of(np.tile(np.arange(4), (8, 1)), city=np.zeros(4, int))
    with pytest.raises(ValueError, match="SameGroup needs column 'market' of the items"):
        AirbnbI2I("market", Windows(BOOKED)).adapt(log, Catalog.fit(log))
