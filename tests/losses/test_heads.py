"""Watch time and finish rates: by hand, calibrated on a planted world, kept, and served."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.splits import by_time
from tf_recall.export.load import load, restore
from tf_recall.export.write import save
from tf_recall.features import Id, Numeric
from tf_recall.losses.heads import FinishRate, WatchTime
from tf_recall.models.sasrec import SASRec
from tf_recall.models.two_tower import TwoTower
from tf_recall.positives import UserItem
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower


def planted(users=200, items=80, rows=16_000):
    """Who likes what, how long it is, and so how much of it they watch, with much noise."""
    generator = np.random.default_rng(0)
    length = np.exp(generator.normal(4.5, 0.8, items))
    likes = generator.normal(0, 1, (users, 2)) @ generator.normal(0, 1, (items, 2)).T
    user = generator.integers(0, users, rows)
    item = (likes[user] + generator.gumbel(size=(rows, items))).argmax(axis=1)
    share = 1 / (1 + np.exp(-(0.3 + 0.7 * likes[user, item] - length[item] / 200)))
    expected = share * length[item]
    return Interactions.from_columns(
        user_id=[f"u{each}" for each in user],
        item_id=item,
        timestamp=10**9 + np.arange(rows),
        seconds=expected * np.exp(generator.normal(0, 0.5, rows) - 0.125),
        expected=expected,
        items=pd.DataFrame({"item_id": np.arange(items), "length": length}),
    )


@pytest.fixture(scope="module")
def split():
    return by_time(planted(), test=0.2)


@pytest.fixture(scope="module")
def catalog(split):
    return Catalog.fit(split.train)


@pytest.fixture(scope="module")
def model(split, catalog):
    keras.utils.set_random_seed(0)
    heads = [WatchTime("seconds"), FinishRate("seconds", "length")]
    model = TwoTower(dim=16, predicts=heads).adapt(split.train, catalog)
    model.compile()
    batches = model.batches(split.train, catalog, batch_size=256)
    history = model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=12,
        verbose=0,
        shuffle=False,
    )
    assert set(history.history) == {"loss", "watch_time", "finish_rate"}
    losses = [history.history[name] for name in ("watch_time", "finish_rate")]
    assert all(each[-1] < each[0] for each in losses)
    return model


@pytest.fixture(scope="module")
def service(model, catalog):
    return Service.build(model, catalog)


def adapted(head, catalog, train):
    head.adapt(train, catalog, 2)
    return head


def test_losses_by_hand(split, catalog):
    z, rows = tf.constant([0.0, np.log(3.0), 1.0]), tf.constant([1, 2, 3])
    watch = adapted(WatchTime("seconds", unit=10.0), catalog, split.train)
    losses, known = watch.of_rows(z, rows, tf.constant([10.0, 30.0, np.nan]))
    # t 1: log 2 + log 2; t 3: 3 log(4 / 3) + log 4, the least there is since exp(z) = 3 = t
    expected = [2 * np.log(2), 3 * np.log(4 / 3) + np.log(4)]
    np.testing.assert_allclose(losses[:2], expected, rtol=1e-6)
    assert known.numpy().tolist() == [True, True, False]
    # (1 + t) times the cross-entropy of sigmoid(z) and t / (1 + t)
    t = np.array([1.0, 3.0])
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(t / (1 + t), z[:2].numpy().astype(float))
    np.testing.assert_allclose(losses[:2], (1 + t) * entropy, rtol=1e-6)
    finish = adapted(FinishRate("seconds", "length"), catalog, split.train)
    finish.lengths.assign([0, 20, 20] + [0] * (catalog.items.size - 3))
    losses, known = finish.of_rows(z, rows, tf.constant([10.0, 30.0, 1.0]))
    # half of it, at 1 / 2: log 2; all of it, at 3 / 4: log(4 / 3); of the third no length is known
    np.testing.assert_allclose(losses[:2], [np.log(2), np.log(4 / 3)], rtol=1e-6)
    assert known.numpy().tolist() == [True, True, False]


def test_the_loss_is_a_mean_over_labels_and_missing_ones_move_nothing(split, catalog):
    keras.utils.set_random_seed(1)
    head = adapted(WatchTime("seconds", units=[], weight=2.0), catalog, split.train)
    vectors = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    rows = tf.constant([1, 2, 3])
    labels = np.array([5.0, 70.0, np.nan], np.float32)
    loss = head.of(*vectors, rows, {"seconds": labels}).numpy()
    # a slow twin of the two rows that have a label
    scale, total = float(head.scale.numpy()), 0.0
    assert scale == pytest.approx(split.train.frame["seconds"].mean(), rel=1e-5)
    for query, item, label in zip(*vectors, labels, strict=True):
        if np.isnan(label):
            continue
        q, i = (2**0.5 * each / np.linalg.norm(each) for each in (query, item))
        z = np.concatenate([q, i, q * i]) @ head.last.kernel.numpy()[:, 0]
        total += label / scale * np.log1p(np.exp(-z)) + np.log1p(np.exp(z))
    assert loss == pytest.approx(2.0 * total / 2, rel=1e-5)
    vectors[:, 2] = 9.0
    assert head.of(*vectors, rows, {"seconds": labels}).numpy() == pytest.approx(loss)
    nothing = np.full(3, np.nan, np.float32)
    assert head.of(*vectors, rows, {"seconds": nothing}).numpy() == 0


def deciles(told, truth):
    """In each tenth by what is told: the mean of it beside that of the truth."""
    parts = np.array_split(np.argsort(told), 10)
    return np.array([told[part].mean() / truth[part].mean() for part in parts])


@pytest.mark.slow
def test_calibrated_on_days_to_come(service, split):
    frame = split.test.frame
    told = service.predict("watch_time", frame["user_id"], frame["item_id"])["watch_time"]
    truth = frame["expected"].to_numpy()
    assert np.corrcoef(told, truth)[0, 1] > 0.85
    assert 0.85 < told.mean() / truth.mean() < 1.1
    assert (abs(np.log(deciles(told, truth))) < np.log(1.35)).all()
    told = service.predict("finish_rate", frame["user_id"], frame["item_id"])
    length = split.train.items["length"].to_numpy()[frame["item_id"]]
    share = np.minimum(1, frame["seconds"].to_numpy() / length)
    assert 0.9 < told["finish_rate"].mean() / share.mean() < 1.1
    assert (abs(np.log(deciles(told["finish_rate"], share)[1:])) < np.log(1.3)).all()
    # the rate says how short a video is; the lift does not
    rate, lift = (np.corrcoef(told[name], length)[0, 1] for name in ("finish_rate", "lift"))
    assert rate < -0.3 and abs(lift) < 0.15 and abs(told["lift"].mean() - 1) < 0.1


def test_the_export_tells_the_same_and_so_does_a_restored_model(service, model, tmp_path):
    path = save(service, tmp_path / "videos", model=model)
    users, items = ["u1", "u2", "nobody"], [3, 4, 999]
    loaded = load(path)
    assert loaded.predictions == ("finish_rate", "watch_time")
    again = Service.build(*restore(path))
    graph = tf.saved_model.load(str(path)).signatures["watch_time"]  # as any server does
    plain = graph(user_id=tf.constant(users), item_id=tf.constant(items, tf.int64))
    for endpoint in loaded.predictions:
        expected = service.predict(endpoint, users, items)
        for other in (loaded, again):
            found = other.predict(endpoint, users, items)
            assert set(found) == set(expected)
            for name, values in expected.items():
                assert values.shape == (3,) and (values > 0).all()
                np.testing.assert_allclose(found[name], values, rtol=1e-5)
    expected = service.predict("watch_time", users, items)["watch_time"]
    np.testing.assert_allclose(plain["watch_time"], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="no head 'likes'; it has: finish_rate, watch_time"):
        loaded.predict("likes", users, items)


def test_heads_grow_with_their_model(model, split, catalog, service):
    frame = pd.concat([split.train.frame, split.test.frame.assign(seconds=1.0)])
    new = pd.DataFrame({"user_id": ["new"], "item_id": [1000], "timestamp": [2 * 10**9]})
    items = pd.concat([split.train.items, pd.DataFrame({"item_id": [1000], "length": [60.0]})])
    log = Interactions.from_frame(pd.concat([frame, new.assign(seconds=9.0)]), items=items)
    bigger = catalog.grown(log)
    grown = model.grown(log, bigger)
    users, known = ["u1", "u2", "u3"], [3, 4, 5]
    later = Service.build(grown, bigger)
    for endpoint, name in (("watch_time", "watch_time"), ("finish_rate", "finish_rate")):
        ours, theirs = (each.predict(endpoint, users, known)[name] for each in (service, later))
        np.testing.assert_allclose(theirs, ours, rtol=1e-5)  # whatever the unit of the later days
    lengths = grown.predicts[1].lengths.numpy()
    assert lengths[bigger.items.encode([1000])[0]] == 60
    batches = grown.batches(log, bigger, batch_size=256)
    history = grown.fit(batches.dataset(), steps_per_epoch=5, epochs=1, verbose=0, shuffle=False)
    assert np.isfinite(history.history["watch_time"]).all()


def test_a_step_of_validation_has_no_heads(model, split, catalog):
    batches = model.batches(split.train, catalog, batch_size=64)
    told = model.evaluate(batches.dataset(), steps=2, verbose=0, return_dict=True)
    assert set(told) == {"loss"}


def test_a_config_names_heads():
    heads = [{"name": "finish_rate", "column": "seconds", "length": "length", "units": [8]}]
    values = {"data": "synthetic", "split": "random", "model": {"name": "two_tower"}}
    values["model"]["predicts"] = heads
    model = Config.from_dict(values).make_model()
    assert model.predicts[0].length == "length" and model.needs().labels == ("seconds",)
    assert type(model).from_config(model.get_config()).get_config() == model.get_config()
    heads[0]["weight"] = 0
    with pytest.raises(ValueError, match=r"model.predicts\[0\].weight must be a number above"):
        Config.from_dict(values).make_model()


def test_what_does_not_go_together_is_refused(split, catalog):
    def refused(says, *heads, log=None, **given):
        with pytest.raises(ValueError, match=says):
            TwoTower(predicts=heads, **given).adapt(log or split.train, catalog)

    refused("'watch_time' is taken; give each head", WatchTime("seconds"), WatchTime("expected"))
    refused("'embed_item' is taken", WatchTime("seconds", endpoint="embed_item"))
    refused("learns from the column 'minutes'; the interactions have", WatchTime("minutes"))
    refused("the item table has no column 'size'", FinishRate("seconds", "size"))
    frame = split.train.frame
    for wrong, says in ((-1.0, "got -1.0 in row 0"), (0.0, "got nothing above 0")):
        log = Interactions(frame.assign(seconds=wrong), items=split.train.items)
        refused(f"seconds must hold numbers of at least 0, {says}", WatchTime("seconds"), log=log)
    with pytest.raises(ValueError, match="weight is a number above 0, got 0"):
        WatchTime("seconds", weight=0)
    with pytest.raises(ValueError, match="unit is a number above 0, got 0"):
        WatchTime("seconds", unit=0)
    with pytest.raises(
        ValueError, match="SASRec takes no predicts: a head learns from rows of a user"
    ):
        SASRec(dim=4, predicts=[WatchTime("seconds")])
    towers = [FeatureTower(side, [Id(4)]) for side in ("user", "item")]
    with pytest.raises(ValueError, match="learn from columns of the log, and Bare gives none"):
        TwoTower(*towers, positives=Bare(), predicts=[WatchTime("seconds")])


class Bare(UserItem):
    gives_labels = False


def test_a_column_of_both_sides_is_refused(catalog, split):
    users = pd.DataFrame({"user_id": split.train.frame["user_id"].unique()}).assign(length=1.0)
    log = Interactions(split.train.frame, items=split.train.items, users=users)
    towers = [
        FeatureTower(side, [Id(4), Numeric("length")], units=[4]) for side in ("user", "item")
    ]
    both = Catalog.fit(log)
    model = TwoTower(*towers, predicts=[WatchTime("seconds")]).adapt(log, both)
    with pytest.raises(ValueError, match="users and items both have a column 'length'"):
        Service.build(model, both)
