"""Ranks that are counted give the figures of the lists: over all that counts, with ties and all."""

import keras
import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.evaluation import RankMetrics, cases_by_row, cases_by_user, evaluate
from tf_recall.features import History, Id
from tf_recall.index import IVF, Exact
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.service import Service
from tf_recall.registry import make
from tf_recall.towers.features import FeatureTower

COUNTING = {"popularity": {}, "trending": {}, "operational": {"column": "year"}, "ease": {}}
COUNTING |= {"graph_filter": {"dim": 4}, "recent": {"column": "year"}}
SERVICES = ("service", "history", "coarse", "collapsed", "even")


class World:
    """Planted interactions, some of unknown items and some repeated, and what counts ranks."""

    def __init__(self):
        log = synthetic(90, 70, 2400, seed=3).interactions
        lines = np.random.default_rng(0).random(len(log)) < 0.2
        train, test = log.select(~lines), log.select(lines).frame
        strange = test.iloc[:9].assign(item_id="an item that nobody knows")
        users = pd.concat([test, strange, test.iloc[:20]], ignore_index=True)
        users.loc[users.index[:5], "user_id"] = "a user that nobody knows"
        self.train, self.test = train, Interactions.from_columns(**dict(users.items()))
        self.catalog = tr.Catalog.fit(train)
        self.made = {}

    def __call__(self, name):
        if name not in self.made:
            if name in COUNTING:
                self.made[name] = make("channel", name, **COUNTING[name])
                self.made[name].fit(self.train, self.catalog)
            else:
                self.made[name] = self.service(name)
        return self.made[name]

    def service(self, name, index=None):
        keras.utils.set_random_seed(0)
        features = [Id(4), *([History(4)] if name == "history" else [])]
        item = FeatureTower("item", [Id(4)], units=[4])
        model = TwoTower(FeatureTower("user", features, units=[4]), item)
        model.adapt(self.train, self.catalog)
        service = Service.build(model, self.catalog, index or Exact(), self.catalog.num_items)
        vectors = service.index.vectors_at(np.arange(self.catalog.num_items)).numpy()
        if name == "coarse":  # few vectors, so that many items have equal scores
            service.index.vectors.assign(vectors[np.arange(len(vectors)) % 9])
        if name == "collapsed":
            service.index.vectors.assign(np.ones_like(vectors))
        if name == "even":  # steps near those that count as ties
            steps = 1 + 7e-7 * np.arange(len(vectors), dtype=np.float32)
            service.index.vectors.assign(np.eye(1, 4, dtype=np.float32) * steps[:, None])
        return service


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(params=[*COUNTING, *SERVICES])
def made(request, world):
    assert world(request.param).counts_ranks
    return world(request.param)


def ranking(figures):
    return {
        key: value
        for key, value in figures.items()
        if key.partition("@")[0] not in ("coverage", "gini", "popularity_lift")
    }


@pytest.mark.parametrize(
    "cases_of, exclude_seen",
    [
        (cases_by_user, True),
        (cases_by_row, False),
        # each with the other
        pytest.param(cases_by_user, False, marks=pytest.mark.slow),
        pytest.param(cases_by_row, True, marks=pytest.mark.slow),
    ],
)
def test_the_figures_of_the_lists(world, made, cases_of, exclude_seen):
    cases = cases_of(world.test, world.catalog)
    for ks in ((1, 4, 9), (5, 69), (20, 1000)):
        listed = evaluate(made, cases, world.catalog, ks, exclude_seen)
        counted = evaluate(made, cases, world.catalog, ks, exclude_seen, 17, lists=False)
        assert counted.metrics == pytest.approx(ranking(listed.metrics), rel=1e-12)
        assert counted.baseline == pytest.approx(ranking(listed.baseline), rel=1e-12)
        assert counted.counts == listed.counts
        for name, part in listed.slices.items():
            assert counted.slices[name]["cases"] == part["cases"]
            expected = pytest.approx(part["metrics"], rel=1e-12)
            assert counted.slices[name]["metrics"] == expected


def test_lists_are_made_for_near_ties_alone(world, monkeypatch):
    asked = {}
    for name in ("service", "coarse", "collapsed", "graph_filter", "popularity"):
        made, asked[name] = world(name), []
        whole = made._once
        with monkeypatch.context() as patch:
            patch.setattr(
                made, "_once", lambda r, k, n=name, f=whole: asked[n].append(len(r)) or f(r, k)
            )
            cases = cases_by_user(world.test, world.catalog)
            RankMetrics(made, cases, world.catalog, [10], batch_size=30).metrics()
    assert not asked["service"] and not asked["popularity"] and not asked["graph_filter"]
    assert sum(asked["coarse"]) > 40 and sum(asked["collapsed"]) == len(
        cases.without_seen(world.catalog)
    )


def test_what_answers_with_lists_is_judged_by_them(world):
    cases = cases_by_user(world.test, world.catalog)
    rough = world.service("service", IVF(num_lists=20, num_probes=1, min_recall=0.1))
    merged = tr.MultiChannel(
        {"a": world("popularity"), "b": world("service")},
        world.catalog,
        make("merge", "round_robin"),
    )
    for made in (rough, merged, make("channel", "item_cf").fit(world.train, world.catalog)):
        assert not made.counts_ranks
        listed = evaluate(made, cases, world.catalog, (10, 30))
        counted = evaluate(made, cases, world.catalog, (10, 30), lists=False)
        assert counted.metrics == ranking(listed.metrics)
    exact = evaluate(world("service"), cases, world.catalog, (30,), lists=False)
    rough = evaluate(rough, cases, world.catalog, (30,), lists=False)
    assert rough.metrics["recall@30"] != exact.metrics["recall@30"]  # it misses some


def test_metrics_again_and_again(world):
    service, cases = world.service("service"), cases_by_user(world.test, world.catalog)
    metrics = RankMetrics(service, cases, world.catalog, (5, 100), batch_size=16)
    first = metrics.metrics()
    assert first == ranking(evaluate(service, cases, world.catalog, (5, 100)).metrics)
    vectors = service.index.vectors
    vectors.assign(-vectors)
    second = metrics.metrics()
    assert second == ranking(evaluate(service, cases, world.catalog, (5, 100)).metrics) != first


def test_what_is_refused(world):
    service, item = world("service"), np.array([1])
    request = service.request_for_users(["u1"], allow=["i1"])
    with pytest.raises(ValueError, match="among all items; the request has an allow list"):
        service.answer_ranks(request, item * 0, item, 5)
    channel = make("channel", "item_cf").fit(world.train, world.catalog)
    with pytest.raises(ValueError, match="ItemCF answers with lists, and counts no ranks"):
        channel.answer_ranks(channel.request_for_users(["u1"]), item * 0, item, 5)


@pytest.mark.parametrize("which", ["one item", "all queries"])
def test_nan_is_an_error_as_of_lists(world, which):
    service, cases = world.service("service"), cases_by_user(world.test, world.catalog)
    if which == "one item":
        vectors = service.index.vectors.numpy()
        vectors[3] = np.nan
        service.index.vectors.assign(vectors)
    else:
        for weight in service.query_tower.trainable_variables:
            weight.assign(weight * np.nan)
    with pytest.raises(ValueError, match="NaN"):
        evaluate(service, cases, world.catalog, (5,), lists=False)


def test_what_is_left_out_is_no_hit(world):
    for name in (*COUNTING, "service"):
        made = world(name)
        best, _ = made.recommend_rows(["u1", "u2"], 3)
        ids = world.catalog.items.decode(best)
        request = made.request_for_users(["u1", "u2"], exclude=ids[:, :2].tolist())
        above, near = made.answer_ranks(request, np.repeat([0, 1], 3), best.ravel(), 20)
        assert above[[0, 1, 3, 4]].min() >= 20 and above[[2, 5]].tolist() == [0, 0]
        assert not near.any()
