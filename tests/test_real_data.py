"""MovieLens latest-small from the zip file to an exported model that answers."""

import numpy as np
import pytest

import tf_recall as tr
from tf_recall.config import Config
from tf_recall.data.sources.movielens import movielens
from tf_recall.runs.measure import measure
from tf_recall.runs.model import fit, serve
from tf_recall.runs.prepared import Prepared


def test_movielens_beats_popularity_and_answers(shared_data, tmp_path):
    sets = [
        "data.variant=latest-small",
        f"data.manual_dir={shared_data / 'movielens'}",
        f"data.data_dir={tmp_path / 'tfds'}",
        "split={name: leave_last_out, validation: true}",
        "train.epochs=2",
        "train.refit=false",
    ]
    trained = tr.train(Config.load("two_tower_movielens", sets), tmp_path)
    counts = trained.report.counts
    # a last film for every user
    assert (counts["cases"], counts["pairs"], counts["items"]) == (
        610,
        610,
        9742,
    )
    for metric in ("recall@20", "ndcg@20", "recall@100"):
        assert trained.report.metrics[metric] > 1.3 * trained.report.baseline[metric]
    served = tr.load(trained.path)
    items, scores = served.recommend(["1", "a stranger"], k=10, exclude_seen=True)
    assert items.shape == scores.shape == (2, 10) and len(set(items[0])) == 10
    seen = trained.service.catalog.seen.of(int(trained.service.catalog.users.encode(["1"])[0]))
    assert not set(trained.service.catalog.items.decode(seen)) & set(items[0])


@pytest.mark.slow
def test_the_correction_and_hard_negatives_help_on_movielens(shared_data, tmp_path):
    recall = {}
    for name, changes in {
        "corrected": ["model.loss.temperature=0.2"],
        "uncorrected": [
            "model.loss={name: uncorrected_softmax, temperature: 0.2}",
            "model.negatives=in_batch",
        ],
    }.items():
        sets = [
            "data.variant=latest-small",
            f"data.manual_dir={shared_data / 'movielens'}",
            f"data.data_dir={tmp_path / 'tfds'}",
            "train.epochs=4",
            *changes,
        ]
        config = Config.load("two_tower_hard_movielens", sets)
        prepared = Prepared.of(config)
        service = serve(prepared, fit(prepared, tmp_path / name))
        report = measure(service, config.evaluate, prepared.split.test)
        recall[name] = report.metrics["recall@20"]
    assert recall["corrected"] > 1.3 * recall["uncorrected"]


@pytest.mark.slow
def test_baskets_beat_popularity_and_answer(shared_data, tmp_path):
    sets = [f"data.path={shared_data / 'online-retail'}", "train.epochs=5"]
    trained = tr.train(Config.load("item2vec_online_retail", sets), tmp_path)
    report = trained.report
    assert (report.counts["items"], report.counts["cases"] + report.counts["seen_cases"]) == (
        3665,
        2845,
    )
    for metric in ("recall@20", "ndcg@20", "recall@100"):
        assert report.metrics[metric] > 1.2 * report.baseline[metric]
    served = tr.load(trained.path)
    names = (
        tr.Config.load("item2vec_online_retail", sets)
        .make_data()
        .items.set_index("item_id")["description"]
    )
    found, scores = served.similar(["22423"], k=10)  # a cake stand
    assert "22423" not in found[0] and np.isfinite(scores).all()
    assert (
        names.loc[found[0]].str.contains("CAKE|TEA|PLATE|CUP|REGENCY|KITCHEN|TIN", regex=True).sum()
        >= 3
    )
    basket, _ = served.recommend([""], k=10, history=[["22423", "22699"]], exclude_seen=True)
    assert not {"22423", "22699"} & set(basket[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, epochs", [("graph_sage", 4), ("graph_sage_i2i", 4), ("pin_sage", 10)]
)
def test_graphs_of_films_beat_popularity(shared_data, tmp_path, name, epochs):
    sets = [
        "data.variant=latest-small",
        f"data.manual_dir={shared_data / 'movielens'}",
        f"data.data_dir={tmp_path / 'tfds'}",
        f"train.epochs={epochs}",
    ]
    trained = tr.train(Config.load(f"{name}_movielens", sets), tmp_path)
    assert trained.report.metrics["recall@20"] > 1.1 * trained.report.baseline["recall@20"]
    found, _ = tr.load(trained.path).similar(["1"], k=10)
    assert len(set(found[0])) == 10


@pytest.mark.slow
def test_counted_channels_beat_popularity_and_say_why(shared_data, tmp_path):
    films = movielens("latest-small", manual_dir=shared_data / "movielens", data_dir=tmp_path)
    split = tr.leave_last_out(films)
    catalog = tr.Catalog.fit(split.train)
    channels = {
        "items": tr.ItemCF(last=50),
        "circles": tr.Swing(last=50),
        "users": tr.UserCF(top=50),
    }
    channels = {name: channel.fit(split.train, catalog) for name, channel in channels.items()}
    multi = tr.MultiChannel(channels, catalog)
    cases = tr.cases_by_user(split.test, catalog)
    report = tr.compare(channels, multi, cases, catalog)
    popularity = tr.evaluate(multi, cases, catalog, ks=(100,)).baseline["recall@100"]
    for name, line in report.lines.items():
        assert line["recall"] > 1.3 * popularity, name
    user, (first, *_) = (
        catalog.users.ids[0],
        multi.recommend(catalog.users.ids[:1], k=3, exclude_seen=True)[0][0],
    )
    liked = set(catalog.items.decode(catalog.seen.of(int(catalog.users.encode([user])[0]))))
    found = {each["channel"]: each for each in multi.explain(user, first, exclude_seen=True)}
    assert min(each["rank"] for each in found.values() if each["rank"]) == 1
    assert {reason["id"] for reason in found["items"]["reasons"]} <= liked
