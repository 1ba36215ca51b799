"""Airbnb's types: rules, what a host's rejection does, and that new users and new items are
answered.
"""

import keras
import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.stays import stays
from tf_recall.data.splits import by_user
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.models.airbnb_u2i import AirbnbU2I
from tf_recall.negatives import EasyHard, Given, Uniform
from tf_recall.positives import UserItem
from tf_recall.recommend.service import Service

USER = ["country", {"column": "budget", "quantiles": 4}, {"column": "party", "edges": [2, 3, 5]}]
ITEM = [
    "city",
    "kind",
    {"column": "capacity", "edges": [2, 3, 5]},
    {"column": "price", "quantiles": 4},
]
LATE = [f"i{n}" for n in range(20)]  # homes that join once training is over
HARD = {"easy": Uniform(num=64), "hard": Given(2), "ratio": 32}


def fitted(log, catalog, user=USER, item=ITEM, negatives=None, epochs=20):
    keras.utils.set_random_seed(0)
    model = AirbnbU2I(user, item, 16, UserItem(where="booked"), negatives).adapt(log, catalog)
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


@pytest.fixture(scope="module")
def world():
    return stays(num_users=1200, num_items=300, num_cities=6, num_countries=3)


@pytest.fixture(scope="module")
def split(world):
    """A fifth of the users is new, and so are a few homes."""
    split = by_user(world.interactions, test=0.2)
    known = ~split.train.frame["item_id"].isin(LATE).to_numpy()
    return split.train.select(known), split.test.select(split.test.frame["booked"].to_numpy())


@pytest.fixture(scope="module")
def catalog(split):
    return Catalog.fit(split[0])


@pytest.fixture(scope="module")
def model(split, catalog):
    return fitted(split[0], catalog, negatives=EasyHard(**HARD))


@pytest.fixture(scope="module")
def service(model, catalog):
    return Service.build(model, catalog)


def bucket(values, edges):
    return np.searchsorted(edges, values, side="right")


@pytest.mark.slow
def test_users_and_items_of_one_type_share_a_vector_and_others_do_not(
    world, split, catalog, service
):
    """The type by hand, for the side table: budgets are cut at the quartiles of the users that have
    booked.
    """
    users, items = world.interactions.users, world.interactions.items
    booked = split[0].frame["booked"].to_numpy()
    known = users["user_id"].isin(split[0].frame["user_id"][booked])
    cuts = np.quantile(users["budget"][known], [0.25, 0.5, 0.75])
    budget = bucket(users["budget"].astype(np.float32), cuts.astype(np.float32))
    types = list(zip(users["country"], budget, bucket(users["party"], [2, 3, 5]), strict=True))
    seen = {each for each, there in zip(types, known, strict=True) if there}
    types = [each if each in seen else None for each in types]
    vectors = service.embed_query(users["user_id"].to_numpy())
    assert len(np.unique(vectors, axis=0)) == len(set(types)) > 30
    assert len(
        {(each, vector.tobytes()) for each, vector in zip(types, vectors, strict=True)}
    ) == len(set(types))
    rooms = items[(items["city"] == "c0") & (items["kind"] == "private") & (items["capacity"] == 3)]
    vectors = service.embed_item(rooms["item_id"].to_numpy())
    assert 1 < len(np.unique(vectors, axis=0)) <= 4 < len(rooms)  # four buckets of the price


def test_a_new_user_has_the_vector_of_its_type(world, service):
    guest = world.interactions.users.iloc[0]
    features = {name: [guest[name]] for name in ("country", "budget", "party")}
    stored = service.embed_query([guest["user_id"]])

    def new(**changes):
        return service.embed_query(["nobody"], **{**features, **changes})

    np.testing.assert_array_equal(new(), stored)
    np.testing.assert_array_equal(new(budget=[guest["budget"] + 1]), stored)
    others = {"country0", "country1", "country2"} - {guest["country"]}
    assert all(np.abs(new(country=[other]) - stored).max() > 0.1 for other in others)
    np.testing.assert_array_equal(
        service.embed_query([guest["user_id"]], country=["country2"]), new(country=["country2"])
    )


def test_bookings_of_new_users_are_found_far_above_popularity(world, split, catalog, service):
    held_out = split[1]
    assert not held_out.frame["user_id"].isin(split[0].frame["user_id"]).any()
    report = evaluate(service, cases_by_user(held_out, catalog), catalog, ks=(20,))
    assert report.metrics["recall@20"] > 1.4 * report.baseline["recall@20"]
    best = world.best(held_out.frame["user_id"], 20)
    oracle = np.mean(
        [item in row for item, row in zip(held_out.frame["item_id"], best, strict=True)]
    )
    assert report.metrics["recall@20"] > 0.5 * oracle


@pytest.mark.slow
def test_a_new_item_has_the_vector_of_its_type_and_is_found(
    world, split, catalog, model, service, tmp_path
):
    items = world.interactions.items
    vectors = dict(
        zip(items["item_id"], service.embed_item(items["item_id"].to_numpy()), strict=True)
    )
    columns = ["city", "kind", "capacity"]
    pairs = items[items["item_id"].isin(LATE)].merge(
        items[~items["item_id"].isin(LATE)], on=columns
    )
    pairs = pairs[pairs["price_x"] == pairs["price_y"]]
    assert len(pairs) and (catalog.items.counts[catalog.items.encode(LATE)] == 0).all()
    for late, early in zip(pairs["item_id_x"], pairs["item_id_y"], strict=True):
        np.testing.assert_array_equal(vectors[late], vectors[early])
    found, _ = load(save(service, tmp_path / "u2i")).recommend(items_of(split[1])[0], k=50)
    booked = items_of(split[1])[1]
    late = np.isin(booked, LATE)
    hits = np.array([item in row for item, row in zip(booked, found, strict=True)])
    assert late.sum() > 10 and hits[late].mean() > 0.7 * hits[~late].mean() > 0.3


def items_of(log):
    return log.frame["user_id"].to_numpy(), log.frame["item_id"].to_numpy()


def test_an_unseen_combination_gets_the_answer_of_somebody_average(split, catalog, model, service):
    """Nobody has so small a budget for so many. A share of training is shown as such a type, so it
    has learned.

    exp(score) of a pair is about what P(item) is to 5 draws, so 1 / (1 + exp(-score)) is 1 / 6 on
    average.
    """
    asked = {"country": ["atlantis", "country0"], "budget": [1.0, np.nan], "party": [6, 6]}
    found, scores = service.recommend(["a", "b"], k=20, **asked)
    assert np.isfinite(scores).all() and (found != "").all() and (found[0] == found[1]).all()
    score = (
        model.embed_catalog()
        @ service.embed_query(["a"], country=["atlantis"], budget=[1.0], party=[6])[0]
    )
    assert (1 / (1 + np.exp(-score))).mean() < 0.25
    booked = catalog.items.encode(split[0].frame["item_id"][split[0].frame["booked"]])
    bookings = np.bincount(booked, minlength=catalog.items.size)[1:]
    assert np.corrcoef(score, np.log1p(bookings))[0, 1] > 0.55


@pytest.mark.slow
def test_a_rejection_lowers_the_score_of_its_type_for_that_type_of_guest():
    """Couples and groups book homes of five kinds uniformly, but before each of its bookings k0
    rejects a couple twice.

    Where bookings settle it, exp(score) is a type's positives over what stands against it: for each
    booking 5 draws, one in five of them k0. The two given count once each: for couples 1 + 2 stand
    against k0 instead of 1, and log(1 / 3) = -1.10; nothing changes for all other pairs.
    """
    rng = np.random.default_rng(0)
    couple = rng.random(2000) < 0.5
    log = Interactions.from_columns(
        user_id=np.where(couple, "ann", "band"),
        item_id=[f"i{n}" for n in rng.integers(50, size=2000)],
        booked=np.ones(2000, bool),
        negatives=[[f"i{n % 10}", f"i{n % 9}"] if no else [] for n, no in enumerate(couple)],
        items=pd.DataFrame(
            {"item_id": [f"i{n}" for n in range(50)], "kind": [f"k{n // 10}" for n in range(50)]}
        ),
        users=pd.DataFrame({"user_id": ["ann", "band"], "party": ["couple", "group"]}),
    )
    catalog = Catalog.fit(log)

    def scores(negatives):
        service = Service.build(
            fitted(log, catalog, ["party"], ["kind"], negatives, epochs=30), catalog
        )
        return (
            service.embed_query(["ann", "band"])
            @ service.embed_item([f"i{10 * n}" for n in range(5)]).T
        )  # [2, 5]

    change = scores(EasyHard(Uniform(num=8), Given(2), ratio=4)) - scores(Uniform(num=8))
    others = np.delete(change.ravel(), 0)
    assert abs(change[0, 0] + 1.10) < 0.25 and (np.abs(others) < 0.25).all(), change


def test_a_log_without_rejections_is_refused(split, catalog):
    log = split[0]
    bare = Interactions(log.frame.drop(columns="negatives"), log.items, log.users)
    model = AirbnbU2I(USER, ITEM, 16, UserItem(where="booked"), EasyHard(**HARD)).adapt(
        bare, catalog
    )
    with pytest.raises(ValueError, match="the sampler needs negatives"):
        model.batches(bare, catalog)
