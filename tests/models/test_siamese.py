"""Siamese: its loss by hand, whom it finds alike, and what these recommend, served everywhere."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.config import Config
from tf_recall.data.split import Split
from tf_recall.index import IVF, Exact
from tf_recall.recommend.neighbors import NeighborService
from tf_recall.runs.channels import run_channels
from tf_recall.runs.prepared import U2U2I, Prepared
from tf_recall.tuning.space import Space


@pytest.fixture(scope="module")
def split():
    """Users of 4 tastes: each has 8 of the 15 items of theirs, and the last one is held out."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"g{user % 4}_{item}", user * 100 + at)
        for user in range(160)
        for at, item in enumerate(rng.permutation(15)[:8])
    ]
    users, items, times = zip(*rows, strict=True)
    log = tr.Interactions.from_columns(user_id=users, item_id=items, timestamp=times)
    return tr.leave_last_out(log)


@pytest.fixture(scope="module")
def catalog(split):
    return tr.Catalog.fit(split.train)


@pytest.fixture(scope="module")
def model(split, catalog):
    keras.utils.set_random_seed(0)
    model = tr.Siamese(dim=16, length=10, top=20, last=10).adapt(split.train, catalog)
    model.compile()
    batches = model.batches(split.train, catalog, batch_size=256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=5, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def service(model, catalog):
    return tr.Service.build(model, catalog, k_max=30)


def test_the_loss_by_hand():
    """Two users of two items each; with halves of one item a vector is that item's.

    Items x (1, 0), y (0, 1), z (-1, 0), w (0, 1): u has x and y, v has z and w. A row's negative is
    the other row's half; temperature 1, no log q. Say u is (x, y) and v is (z, w):
    u: x.y = 0, x.w = 0: log 2 = 0.693147;  v: z.w = 0, z.y = 0: log 2
    and where u is (y, x): y.x = 0, y.w = 1: log(1 + e) = 1.313262; v (z, w): z.w = 0, z.x = -1:
    log(1 + exp(-1)) = 0.313262.
    """
    log = tr.Interactions.from_columns(user_id=list("uuvv"), item_id=list("xyzw"))
    catalog = tr.Catalog.fit(log)
    model = tr.Siamese(dim=2, length=1, loss=tr.UncorrectedSoftmax(1.0)).adapt(log, catalog)
    vectors = {"x": [1.0, 0], "y": [0, 1.0], "z": [-1.0, 0], "w": [0, 1.0]}
    table = [[0.0, 0.0], *(vectors[item] for item in catalog.items.ids)]
    model.query_tower.features[0].table.embeddings.assign(table)
    x, y, z, w = (int(row) for row in catalog.items.encode(list("xyzw")))
    users = catalog.users.encode(["u", "v"])
    for halves, loss in (
        (([x, z], [y, w]), math.log(2)),
        (([y, z], [x, w]), (math.log(1 + math.e) + math.log(1 + math.exp(-1))) / 2),
    ):
        sides = [{"user": users, "history": np.array(half)[:, None]} for half in halves]
        batch = tf.nest.map_structure(tf.constant, dict(zip(("query", "item"), sides, strict=True)))
        assert float(model(batch)) == pytest.approx(loss, rel=1e-5)


def test_one_tower_and_both_halves_move_it(model, split, catalog):
    assert model.query_tower is model.item_tower
    batch = tf.nest.map_structure(tf.constant, model.batches(split.train, catalog, 32).at(0))
    other = {**batch["item"], "history": batch["item"]["history"][:, ::-1] * 0}
    assert float(model(batch)) != float(model({**batch, "item": other}))


def test_the_nearest_users_are_of_ones_taste(service, split, catalog):
    users = catalog.users.ids
    near, score = service.similar_users(users, k=20)
    assert near.shape == score.shape == (160, 20) and not (near == users[:, None]).any()
    taste = np.vectorize(lambda user: int(user[1:]) % 4)
    assert (taste(near) == taste(users)[:, None]).mean() > 0.99
    assert (np.diff(score) <= 0).all()
    vectors = tr.Siamese(dim=16, length=10).adapt(split.train, catalog).embed_catalog()
    best = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:21]
    assert (taste(users[best]) == taste(users)[:, None]).mean() < 0.9  # before it is trained


def by_loop(vector, own, model, catalog, seen, top, last):
    """What a user is recommended, by the formula: scores by item row."""
    vectors = model.embed_catalog()
    likeness = {v: float(vector @ vectors[v - 1]) for v in range(1, catalog.users.size) if v != own}
    scores = np.zeros(catalog.items.size)
    for other in sorted(likeness, key=lambda v: -likeness[v])[:top]:
        for item in catalog.histories.of(other)[-last:]:
            scores[item] += max(0, likeness[other])
    scores[list(seen)] = 0
    return scores


@pytest.mark.parametrize("top, last", [(20, 10), (7, 3)])
def test_against_a_loop(model, catalog, top, last):
    index = Exact()
    index.build(model.embed_catalog())
    service = NeighborService(
        model.query_tower, model.item_tower, index, catalog, 30, top=top, last=last
    )
    users = catalog.users.ids[:6]
    rows, score = service.recommend_rows(users, 30, exclude_seen=True)
    for at, user in enumerate(catalog.users.encode(users)):
        vector = model.embed_catalog()[user - 1]
        expected = by_loop(vector, user, model, catalog, catalog.seen.of(user), top, last)
        there = rows[at] > 0
        assert there.sum() == min(30, (expected > 0).sum())
        np.testing.assert_allclose(score[at][there], expected[rows[at][there]], rtol=1e-4)
        best = np.sort(expected)[::-1][: there.sum()]
        np.testing.assert_allclose(score[at][there], best, rtol=1e-4)


def test_requests(service, catalog):
    user, items = catalog.users.ids[0], ["g2_1", "g2_4", "g2_9"]
    known, stranger = service.recommend([user, "nobody"], 10, history=items)[0]
    assert known.tolist() == stranger.tolist()  # who they are is what they did
    assert {item[:2] for item in known} == {"g2"}
    kept, score = service.recommend(["nobody"], 30, history=items, exclude_seen=True)
    assert not set(kept[0]) & set(items) and ((kept == "") == (score == -np.inf)).all()
    plain, _ = service.recommend([user], 10)
    without, _ = service.recommend([user], 8, exclude=[plain[0][:2].tolist()])
    assert without[0].tolist() == plain[0][2:].tolist()
    some = [plain[0][[5, 2]].tolist(), ["nowhere"]]
    among, _ = service.recommend([user, user], 3, allow=some)
    assert among.tolist() == [[*plain[0][[2, 5]], ""], ["", "", ""]]
    alike, _ = service.similar(["g3_0"], 5)
    assert {item[:2] for item in alike[0]} == {"g3"} and "g3_0" not in alike[0]
    longer, _ = service.recommend(["nobody"], 5, history=["g0_1"] * 30 + items + ["no item"])
    assert set(longer[0]) - {""}


def test_reasons_are_users_like_you(service, catalog):
    user = catalog.users.ids[5]
    item = service.recommend([user], 1, exclude_seen=True)[0][0, 0]
    reasons = service.explain(user, item, num=100)
    near, score = service.similar_users([user], k=20)
    likes = {
        other: (catalog.histories.of(row)[-10:] == catalog.known_item(item)).sum()
        for other, row in zip(near[0], catalog.users.encode(near[0]), strict=True)
    }
    whole = sum(value * likes[other] for other, value in zip(near[0], score[0], strict=True))
    assert sum(each["share"] for each in reasons) == pytest.approx(1)
    for other, value in zip(near[0], score[0], strict=True):
        share = next((each["share"] for each in reasons if each["id"] == other), 0)
        assert share == pytest.approx(value * likes[other] / whole, abs=1e-6)
    assert {each["kind"] for each in reasons} == {"user"}
    assert service.explain("nobody", item, history=[item])


def test_a_loaded_export_answers_the_same(model, catalog, tmp_path):
    service = tr.Service.build(model, catalog, IVF(num_lists=4), k_max=20)
    served = tr.load(tr.save(service, tmp_path / "alike", model=model))
    user = catalog.users.ids[3]
    for given in ({}, {"history": [["g0_3"], []]}, {"exclude_seen": True, "exclude": ["g3_1"]}):
        ours = service.recommend([user, "nobody"], 15, **given)
        theirs = served.recommend([user, "nobody"], 15, **given)
        np.testing.assert_array_equal(theirs[0], ours[0])
        np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-5)
    near = [each.similar_users([user], 9)[0].tolist() for each in (service, served)]
    assert near[0] == near[1]
    item = service.recommend([user], 1)[0][0, 0]
    assert served.explain(user, item) == service.explain(user, item)
    again, same = tr.load_model(tmp_path / "alike/1/training/model.keras"), model.embed_catalog()
    assert again.query_tower is again.item_tower
    np.testing.assert_array_equal(again.embed_catalog(), same)


@pytest.mark.slow
def test_a_channel_beside_others_and_in_an_export(split, tmp_path):
    values = {
        "data": "synthetic",
        "split": "leave_last_out",
        "channels": {
            "alike": {
                "name": "u2u2i",
                "model": {"name": "siamese", "dim": 8, "top": 20},
                "train": {"epochs": 2, "batch_size": 128, "patience": None},
            },
            "user_cf": "user_cf",
        },
    }
    config = Config.from_dict(values)
    prepared = Prepared.of(config, Split(split.train, split.test, None))
    _, multi, models = run_channels(prepared, tmp_path / "checkpoints")
    assert isinstance(multi.channels["alike"], NeighborService)
    path = tr.save(multi, tmp_path / "both", model=models)
    served = tr.load(path)
    given = {"k": 10, "history": ["g1_2", "g1_5"], "exclude_seen": True}
    ours, theirs = (each.recommend(["nobody"], **given)[0][0].tolist() for each in (multi, served))
    assert ours == theirs and {item[:2] for item in ours} == {"g1"}
    reasons = served.explain("nobody", ours[0], history=["g1_2", "g1_5"])
    assert {each["channel"] for each in reasons} == {"alike", "user_cf"}
    assert all(each["reasons"][0]["kind"] == "user" for each in reasons)
    names = [each.name for each in Space.of(config).every()]
    assert {"channels.alike.model.top", "channels.alike.model.positives.per_user"} <= set(names)


def test_a_channel_of_another_model_is_refused():
    config = Config.from_dict(
        {"data": "synthetic", "split": "random", "channels": {"a": {"name": "u2u2i"}}}
    )
    (channel,) = config.make_channels().values()
    assert isinstance(channel, U2U2I) and channel.settings(config, "a").model["name"] == "siamese"
    with pytest.raises(ValueError, match="of two_tower are items: take model: siamese, or"):
        U2U2I(model="two_tower").settings(config, "a")
