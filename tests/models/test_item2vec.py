"""Item2Vec: what comes together lies together, and what is served is the vectors as centers."""

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.losses import NCE, NEG, NCELoss
from tf_recall.models import Item2Vec
from tf_recall.negatives import LogUniform, Popularity, Uniform
from tf_recall.positives import ShrinkingWindows, Windows
from tf_recall.recommend.service import Service

THEMES, EACH = 6, 10


@pytest.fixture(scope="module")
def log():
    """600 sessions of six items of one of six themes; within a theme popularity falls as 1 /
    rank.
    """
    rng = np.random.default_rng(0)
    theme = rng.integers(THEMES, size=(600, 1))
    share = 1 / np.arange(1, EACH + 1)
    items = theme * EACH + rng.choice(EACH, (600, 6), p=share / share.sum())
    users = np.repeat(np.arange(600), 6)
    ids = [f"i{item}" for item in items.ravel()]
    return Interactions.from_columns(
        user_id=users, item_id=ids, visit=users, timestamp=np.arange(3600)
    )


def fitted(log, epochs=12, **arguments):
    keras.utils.set_random_seed(0)
    catalog = Catalog.fit(log)
    model = Item2Vec(16, **arguments).adapt(log, catalog)
    model.compile()
    batches = model.batches(log, catalog, 256)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return model, catalog


def theme_of(ids):
    return np.array([int(item[1:]) // EACH for item in np.ravel(ids)]).reshape(np.shape(ids))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "positives": Windows(ByColumn("visit"), window=2),
            "loss": NEG(negatives=10),
            "negatives": Uniform(32),
        },
        {"positives": ShrinkingWindows(alpha=0.05), "loss": NCE(), "negatives": LogUniform(32)},
        {
            "positives": Windows(ByColumn("visit"), window=2),
            "loss": NCELoss(),
            "negatives": Popularity(8),
        },
    ],
    ids=["default", "uniform", "nce", "nce_loss"],
)
def test_neighbors_are_of_the_same_theme(log, arguments):
    model, catalog = fitted(log, **arguments)
    service = Service.build(model, catalog, k_max=20)
    items = catalog.items.ids
    found, scores = service.similar(items, k=EACH - 1)
    assert np.mean(theme_of(found) == theme_of(items)[:, None]) > 0.9
    assert (found != np.asarray(items)[:, None]).all() and scores.max() <= 1 + 1e-5
    norms = np.linalg.norm(model.embed_catalog(), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_a_session_without_a_user_is_answered_from_its_items(log, tmp_path):
    model, catalog = fitted(log)
    served = load(save(Service.build(model, catalog), tmp_path / "item2vec", model=model))
    history = [["i3", "i7"], ["i41", "nothing known"]]
    found, _ = served.recommend(["", ""], k=8, history=history, exclude_seen=True)
    assert (theme_of(found) == [[0], [4]]).mean() > 0.9
    assert not {"i3", "i7"} & set(found[0])


def test_popular_items_do_not_draw_everything_to_them(log):
    """Vectors learn the lift: the most popular item of a theme is near its own theme only."""
    model, catalog = fitted(log, negatives=Popularity(64))
    vectors = model.embed_catalog()
    themes = theme_of(catalog.items.ids)
    for theme in range(THEMES):
        top = np.flatnonzero(themes == theme)[0]  # rows fall by popularity
        similar = vectors @ vectors[top]
        assert similar[themes == theme].mean() > similar[themes != theme].mean() + 0.3
