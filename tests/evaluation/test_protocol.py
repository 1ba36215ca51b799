"""The whole evaluation: planted answers, chance, effects that must not matter, and a twin that sees
every score.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.evaluation import Cases, cases_by_row, cases_by_user, evaluate
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

NAMES = ("recall", "hit_rate", "ndcg", "mrr", "precision", "map")


class Scores(Recommender):
    """Recommends by a matrix of scores, `[user rows, items]`; `order` settles ties in the lists, as
    an index would.
    """

    def __init__(self, catalog, scores, order=None, k_max=None, columns=()):
        self.catalog, self.scores = catalog, np.asarray(scores)
        self.order = np.arange(catalog.num_items) if order is None else order
        self.most = k_max or catalog.num_items
        self.query_columns = {name: tf.TensorSpec([None], tf.float64) for name in columns}
        self.asked = []

    @property
    def k_max(self):
        return self.most

    def _recommend(self, request, k):
        context = [name for name in self.query_columns if (request.arrays[name] >= 0).all()]
        self.asked.append((len(request), k, context))
        scores = self.scores[request.rows].astype(np.float64)
        for line, user, exclude_seen in zip(
            scores, request.rows, request.exclude_seen, strict=True
        ):
            if exclude_seen:
                line[self.catalog.seen.of(user) - 1] = -np.inf
        best = self.order[np.argsort(-scores[:, self.order], axis=1, kind="stable")[:, :k]]
        score = np.take_along_axis(scores, best, axis=1)
        return np.where(score > -np.inf, best + 1, 0), score


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 201)
    users, items = rng.integers(0, 300, 6000), rng.choice(200, 6000, p=share / share.sum())
    held = rng.random(6000) < 0.2
    log = Interactions.from_columns(
        user_id=users,
        item_id=items,
        timestamp=np.arange(6000),
        items=pd.DataFrame({"item_id": np.arange(210)}),
    )
    catalog = Catalog.fit(log.select(~held))
    return catalog, log.select(held)


def random_scores(catalog, seed=0, levels=None):
    rng, shape = np.random.default_rng(seed), (catalog.users.size, catalog.num_items)
    return rng.random(shape) if levels is None else rng.integers(1, levels, shape).astype(float)


def test_by_hand():
    # Catalog by falling count: a 1, b 2, c 3, d 4 with counts 4, 2, 1, 0.
    train = Interactions.from_columns(
        user_id=["u", "u", "v", "w", "w", "x", "x"],
        item_id=["a", "b", "a", "a", "b", "a", "c"],
        items=pd.DataFrame({"item_id": ["a", "b", "c", "d"], "color": 1}),
    )
    catalog = Catalog.fit(train)
    # u has had a. Left: c, d.           v: b and one item nobody knows.        w had b: nothing
    # left, dropped.
    test = Interactions.from_columns(
        user_id=["u", "u", "u", "v", "v", "w"], item_id=["c", "d", "a", "b", "zz", "b"]
    )
    scores = np.zeros((5, 4))
    scores[catalog.users.encode(["u"])[0]] = [9, 8, 1, 2]  # without a, b: d, c
    scores[catalog.users.encode(["v"])[0]] = [9, 5, 7, 6]  # without a: c, d, b
    report = evaluate(Scores(catalog, scores), cases_by_user(test, catalog), catalog, ks=(1, 2))
    assert report.counts == {
        "cases": 2,
        "pairs": 4,  # c, d of u; b, zz of v
        "unreachable": 1,
        "unreachable_share": 0.25,
        "seen_pairs": 2,  # a of u, b of w
        "seen_cases": 1,
        "items": 4,
    }
    # u finds d, then c; v finds nothing in two.
    expected = {
        "recall@1": (1 / 2 + 0) / 2,
        "ndcg@1": 1 / 2,
        "map@2": 1 / 2,
        "precision@2": 1 / 2,
        "coverage@1": 2 / 4,
    }
    # At 1: d to u, c to v, counts 0 and 1 to mean 1/2; relevant c, d, b have counts 1, 0, 2 of mean
    # 1.
    expected |= {"popularity_lift@1": 0.5, "coverage@2": 2 / 4}
    assert expected.items() <= report.metrics.items()
    # Popularity: to u c, d; to v b, c. v finds b first, one of two.
    log = 1 / math.log2(3)
    expected = {
        "recall@1": 1 / 2,
        "recall@2": (1 + 1 / 2) / 2,
        "ndcg@2": (1 + 1 / (1 + log)) / 2,
        "mrr@2": 1,
    }
    expected |= {"coverage@1": 2 / 4, "coverage@2": 3 / 4}
    assert {name: report.baseline[name] for name in expected} == pytest.approx(expected)
    # Half of the 7 interactions is 3.5: a alone (4) is the head. All users are cold. d is the cold
    # item.
    sizes = {name: (part["cases"], part["pairs"]) for name, part in report.slices.items()}
    assert sizes == {
        "cold_items": (1, 1),
        "cold_users": (2, 4),
        "head_items": (0, 0),
        "tail_items": (2, 3),
    }
    assert report.slices["cold_items"]["metrics"]["recall@1"] == 1
    assert report.slices["cold_items"]["baseline"]["recall@1"] == 0
    assert report.slices["cold_items"]["baseline"]["mrr@2"] == 1 / 2
    assert report.slices["head_items"]["metrics"] == {}
    assert report.slices["tail_items"]["metrics"]["recall@2"] == (2 / 2 + 0 / 1) / 2


def test_half_of_the_interactions_exactly():
    # Counts 2, 1, 1: the first alone is half, so the second is tail.
    train = Interactions.from_columns(user_id=[1, 2, 3, 4], item_id=[7, 7, 8, 9])
    catalog = Catalog.fit(train)
    cases = cases_by_row(Interactions.from_columns(user_id=[3, 1, 1], item_id=[7, 8, 9]), catalog)
    report = evaluate(Popularity().fit(None, catalog), cases, catalog, ks=[1])
    assert (report.slices["head_items"]["pairs"], report.slices["tail_items"]["pairs"]) == (1, 2)


def test_a_cold_user_has_fewer_than_five():
    train = Interactions.from_columns(
        user_id=["four"] * 4 + ["five"] * 5, item_id=[1, 2, 3, 4, 1, 2, 3, 4, 5]
    )
    catalog = Catalog.fit(train)
    test = Interactions.from_columns(
        user_id=["four", "five", "none", "none"], item_id=[5, 99, 1, 98]
    )
    report = evaluate(
        Popularity().fit(None, catalog), cases_by_user(test, catalog), catalog, ks=[2]
    )
    assert (report.slices["cold_users"]["cases"], report.slices["cold_users"]["pairs"]) == (2, 3)


def test_oracle(world):
    catalog, test = world
    cases = cases_by_user(test, catalog).without_seen(catalog)
    scores = random_scores(catalog)
    relevant = np.zeros_like(scores)
    relevant[catalog.users.encode(cases.user_id)[cases.owner], cases.rows - 1] = 1
    num_relevant = np.diff(cases.offsets) + cases.num_unknown
    report = evaluate(Scores(catalog, scores + relevant), cases, catalog, ks=(1, 3, 50))
    for k in (1, 3, 50):
        assert report.metrics[f"recall@{k}"] == pytest.approx(
            np.mean(np.minimum(np.diff(cases.offsets), k) / num_relevant)
        )
        assert report.metrics[f"precision@{k}"] == pytest.approx(
            np.mean(np.minimum(np.diff(cases.offsets), k) / k)
        )
        for name in ("hit_rate", "ndcg", "mrr", "map"):
            assert report.metrics[f"{name}@{k}"] == pytest.approx(
                1 if cases.num_unknown.sum() == 0 else None
            )


def test_random_scores_find_what_chance_would(world):
    catalog, test = world
    cases = cases_by_row(test, catalog)
    recall = np.mean(
        [
            evaluate(
                Scores(catalog, random_scores(catalog, seed)),
                cases,
                catalog,
                [20],
                exclude_seen=False,
            ).metrics["recall@20"]
            for seed in range(8)
        ]
    )
    share = 20 / catalog.num_items
    assert abs(recall - share) < 5 * math.sqrt(share * (1 - share) / (8 * len(cases)))


def test_popularity_is_its_own_baseline(world):
    catalog, test = world
    report = evaluate(
        Popularity().fit(None, catalog), cases_by_user(test, catalog), catalog, ks=(5, 20)
    )
    assert report.metrics == report.baseline
    assert report.baseline["recall@20"] > 2 * 20 / catalog.num_items
    assert report.baseline["popularity_lift@5"] > 1


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("levels", [None, 40, 4])
def test_one_relevant_item_against_the_whole_matrix(world, levels, exclude_seen):
    """rank = how many other items score as much or more; no lists, no runs."""
    catalog, test = world
    cases = cases_by_row(test, catalog)
    cases = cases.without_seen(catalog) if exclude_seen else cases
    scores = random_scores(catalog, 1, levels)
    ranks = []
    for user, row in zip(catalog.users.encode(cases.user_id), cases.rows, strict=True):
        line = scores[user].copy()
        if exclude_seen:
            line[catalog.seen.of(user) - 1] = -np.inf
        ranks.append((line >= line[row - 1]).sum() - 1)
    ranks = np.array(ranks)
    report = evaluate(
        Scores(catalog, scores),
        cases,
        catalog,
        ks=(7, 30),
        exclude_seen=exclude_seen,
        batch_size=64,
    )
    for k in (7, 30):
        hit = ranks < k
        expected = [
            hit,
            hit,
            hit / np.log2(ranks + 2),
            hit / (ranks + 1),
            hit / k,
            hit / (ranks + 1),
        ]
        for name, values in zip(NAMES, expected, strict=True):
            assert report.metrics[f"{name}@{k}"] == pytest.approx(values.mean(), abs=1e-12), (
                name,
                k,
            )


@pytest.mark.parametrize("order", ["rows", "relevant first"])
def test_collapsed_scores_never_beat_chance(world, order):
    catalog, test = world
    cases = cases_by_user(test, catalog)
    popular = np.bincount(cases.rows - 1, minlength=catalog.num_items)
    order = np.arange(catalog.num_items) if order == "rows" else np.argsort(-popular, kind="stable")
    collapsed = np.full((catalog.users.size, catalog.num_items), 0.3)
    report = evaluate(Scores(catalog, collapsed, order), cases, catalog, ks=(10, 50))
    for name in NAMES:
        assert report.metrics[f"{name}@50"] == 0
    # A handful of values for all items: still at most chance, however luckily the ties are ordered.
    coarse = random_scores(catalog, 3, levels=4)
    report = evaluate(Scores(catalog, coarse, order), cases, catalog, ks=(10, 50))
    assert report.metrics["recall@50"] <= 50 / (catalog.num_items - 40)


def test_the_order_of_ties_does_not_matter(world):
    catalog, test = world
    cases, scores = cases_by_user(test, catalog), random_scores(catalog, 5, levels=30)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(catalog.num_items) for _ in range(3)]
    reports = [
        evaluate(Scores(catalog, scores, order), cases, catalog, ks=(5, 30)) for order in orders
    ]
    for name in NAMES:
        # Which members of a run that leaves the list are in it is the order's choice; none of them
        # counts.
        assert len({report.metrics[f"{name}@5"] for report in reports}) == 1


def test_a_monotone_transform_changes_nothing(world):
    catalog, test = world
    cases, scores = cases_by_user(test, catalog), random_scores(catalog, 6, levels=60)
    plain = evaluate(Scores(catalog, scores), cases, catalog, ks=(5, 30))
    for transform in (lambda s: s**3, lambda s: -1 / s, lambda s: 1e-6 * s - 1e-5, np.log):
        assert evaluate(Scores(catalog, transform(scores)), cases, catalog, ks=(5, 30)) == plain


def test_the_order_and_batches_of_cases_change_nothing(world):
    catalog, test = world
    model = Scores(catalog, random_scores(catalog, 7, levels=60))
    shuffled = test.select(np.random.default_rng(0).permutation(len(test)))
    plain = evaluate(model, cases_by_user(test, catalog), catalog, ks=(5, 30)).to_dict()
    other = evaluate(
        model, cases_by_user(shuffled, catalog), catalog, ks=(5, 30), batch_size=17
    ).to_dict()
    assert _flat(plain) == pytest.approx(_flat(other), rel=1e-12)


def _flat(values, path=""):
    if isinstance(values, dict):
        return {
            name: value
            for key, inner in values.items()
            for name, value in _flat(inner, f"{path}/{key}").items()
        }
    return {path: values}


class Repeating(Scores):
    """Gives each item as often as `times` says, one copy behind the other."""

    def __init__(self, *args, times):
        super().__init__(*args)
        self.times = times

    def _recommend(self, request, k):
        rows, scores = super()._recommend(request, self.catalog.num_items)
        answers = [
            [np.repeat(part, self.times[row])[:k] for part in (row, score)]
            for row, score in zip(rows, scores, strict=True)
        ]
        return tuple(np.stack(part) for part in zip(*answers, strict=True))


@pytest.mark.parametrize("levels", [None, 40])
def test_repeated_items_change_no_figure(world, levels):
    catalog, test = world
    cases, scores = cases_by_user(test, catalog), random_scores(catalog, 8, levels)
    times = np.random.default_rng(1).integers(1, 4, catalog.num_items + 1)
    plain = evaluate(Scores(catalog, scores), cases, catalog, ks=(5, 20))
    assert evaluate(Repeating(catalog, scores, times=times), cases, catalog, ks=(5, 20)) == plain


def test_padding_and_items_at_minus_infinity_never_count():
    train = Interactions.from_columns(user_id=[1, 1, 2], item_id=[5, 6, 7])
    catalog = Catalog.fit(train)
    cases = cases_by_user(Interactions.from_columns(user_id=[1, 2], item_id=[7, 5]), catalog)

    class Stubborn(Recommender):
        def __init__(self, catalog):
            self.catalog = catalog

        def _recommend(self, request, k):
            rows = np.tile(np.array([2, 3, 1]), (len(request), 1))[:, :k]
            return rows, np.tile([1.0, -np.inf, -np.inf], (len(request), 1))[:, :k]

    report = evaluate(Stubborn(catalog), cases, catalog, ks=[3])
    assert report.metrics["recall@3"] == 0 and report.metrics["coverage@3"] == 1 / 3


def test_ks_up_to_the_whole_catalog(world):
    catalog, test = world
    cases = cases_by_row(test, catalog).without_seen(catalog)
    collapsed = Scores(catalog, np.zeros((catalog.users.size, catalog.num_items)))
    every = evaluate(Scores(catalog, random_scores(catalog)), cases, catalog, [catalog.num_items])
    assert every.metrics[f"recall@{catalog.num_items}"] == 1
    report = evaluate(collapsed, cases, catalog, [catalog.num_items - 1], exclude_seen=False)
    assert report.metrics[f"recall@{catalog.num_items - 1}"] == 0


def test_what_the_recommender_is_asked(world):
    catalog, test = world
    cases = cases_by_user(test, catalog)
    model = Scores(catalog, random_scores(catalog), columns=["timestamp"])
    evaluate(model, cases, catalog, ks=(10, 3), batch_size=100)
    assert {(k, tuple(context)) for _, k, context in model.asked} == {(11, ("timestamp",))}
    assert max(size for size, _, _ in model.asked) == 100
    model = Scores(catalog, random_scores(catalog), columns=["age"])
    evaluate(model, cases, catalog, ks=(10, 3))
    assert {tuple(context) for _, _, context in model.asked} == {()}


def test_context_comes_with_its_case(world):
    catalog, test = world

    class Timed(Scores):
        def _recommend(self, request, k):
            assert request.arrays["timestamp"].tolist() == [first[user] for user in request.ids]
            return super()._recommend(request, k)

    first = test.frame.groupby("user_id")["timestamp"].min()
    evaluate(
        Timed(catalog, random_scores(catalog), columns=["timestamp"]),
        cases_by_user(test, catalog),
        catalog,
        ks=[5],
        batch_size=50,
    )


def test_planted_ranking_beats_popularity_which_beats_chance():
    planted = synthetic(num_users=300, num_items=400, num_interactions=12_000, seed=0)
    log = planted.interactions
    held = np.random.default_rng(0).random(len(log)) < 0.15
    train, test = log.select(~held), log.select(held)
    catalog = Catalog.fit(train)
    # column n is the item of the table's line n
    scores = planted.scores(catalog.users.ids.tolist())
    lines = pd.Index(log.items["item_id"]).get_indexer(catalog.items.ids)
    scores = np.concatenate([scores.mean(0, keepdims=True), scores])[:, lines]
    report = evaluate(
        Scores(catalog, np.exp(scores)), cases_by_user(test, catalog), catalog, ks=[20]
    )
    chance = 20 / catalog.num_items
    assert report.metrics["recall@20"] > report.baseline["recall@20"] > 1.5 * chance
    assert report.metrics["coverage@20"] > report.baseline["coverage@20"]


def test_report_is_readable_and_json(world):
    catalog, test = world
    report = evaluate(
        Scores(catalog, random_scores(catalog)), cases_by_user(test, catalog), catalog, ks=(5, 20)
    )
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(values) == ["metrics", "baseline", "slices", "counts"]
    assert values["metrics"].keys() == values["baseline"].keys()
    lines = str(report).splitlines()
    assert f"{report.counts['cases']:,} cases" in lines[0]
    found = next(line.split() for line in lines if line.startswith("recall@20"))
    assert found == [
        "recall@20",
        f"{report.metrics['recall@20']:.4f}",
        f"{report.baseline['recall@20']:.4f}",
    ]
    assert all(any(line.startswith(name) for line in lines) for name in report.slices)


def test_undefined_figures_are_shown_as_such():
    train = Interactions.from_columns(
        user_id=[1, 2], item_id=[5, 6], items=pd.DataFrame({"item_id": [5, 6, 7]})
    )
    catalog = Catalog.fit(train)
    cases = cases_by_user(Interactions.from_columns(user_id=[1], item_id=[7]), catalog)
    report = evaluate(Popularity().fit(None, catalog), cases, catalog, ks=[2])
    assert report.metrics["popularity_lift@2"] is None
    assert next(
        line for line in str(report).splitlines() if line.startswith("popularity_lift")
    ).split()[1:] == [
        "-",
        "-",
    ]


def test_errors(world):
    catalog, test = world
    cases = cases_by_user(test, catalog)
    model = Scores(catalog, random_scores(catalog))
    for ks in ([0, 5], [-1], [], [2.5], [True], ["10"], "10", 10, None):
        with pytest.raises(ValueError, match=r"give list lengths, whole numbers of at least 1"):
            evaluate(model, cases, catalog, ks=ks)
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="there are no cases"):
        evaluate(model, Cases(none, {}, np.zeros(1, np.int64), none, none), catalog)
    history = Interactions.from_columns(
        user_id=catalog.users.ids[:1], item_id=catalog.items.ids[catalog.seen.of(1)[:1] - 1]
    )
    with pytest.raises(
        ValueError, match="every held-out item is in its user's training part already"
    ):
        evaluate(model, cases_by_user(history, catalog), catalog)
    assert (
        evaluate(model, cases_by_user(history, catalog), catalog, exclude_seen=False).counts[
            "cases"
        ]
        == 1
    )
    model = Scores(catalog, random_scores(catalog), k_max=20)
    with pytest.raises(
        ValueError, match="asks for lists of 21, one more to see ties; the k_max of 'model' is 20"
    ):
        evaluate(model, cases, catalog, ks=[20])
    evaluate(model, cases, catalog, ks=[19])


def test_ks_in_any_order_and_beyond_the_catalog_keep_their_names(world):
    catalog, test = world
    model, cases = Scores(catalog, random_scores(catalog)), cases_by_user(test, catalog)
    whole = catalog.num_items
    plain = evaluate(model, cases, catalog, ks=(5, 20, whole))
    report = evaluate(model, cases, catalog, ks=np.array([1000, 20, 5, 20, 500]))
    assert list(report.metrics)[::9] == ["recall@5", "recall@20", "recall@500", "recall@1000"]
    assert set(report.metrics) == set(report.baseline)
    for figures, others in [
        (report.metrics, plain.metrics),
        (report.baseline, plain.baseline),
        (report.slices["head_items"]["metrics"], plain.slices["head_items"]["metrics"]),
    ]:
        for name in ("recall", "ndcg", "precision"):
            assert figures[f"{name}@1000"] == figures[f"{name}@500"] == others[f"{name}@{whole}"]
            assert figures[f"{name}@5"] == others[f"{name}@5"]


@pytest.mark.parametrize("num_items", [1, 2, 3, 10])
def test_small_catalogs_by_hand(num_items):
    """Each user is asked for the one item, of the largest score, that they have not had."""
    items = np.arange(num_items)
    table = pd.DataFrame({"item_id": items})
    train = Interactions.from_columns(user_id=[100] * 2, item_id=[0, 0], items=table)
    catalog = Catalog.fit(train)
    cases = cases_by_user(Interactions.from_columns(user_id=items, item_id=items), catalog)
    scores = np.zeros((catalog.users.size, num_items))
    scores[0] = np.arange(num_items, 0, -1)  # nobody is known: to each item 0 is the best
    report = evaluate(Scores(catalog, scores), cases, catalog)
    assert set(report.metrics) == set(report.baseline)
    assert report.metrics["recall@100"] == report.metrics["recall@10"] == 1
    assert report.metrics["mrr@20"] == pytest.approx(np.mean(1 / (1 + items)))
    assert report.metrics["precision@10"] == 1 / num_items  # of the items that there are


def test_all_that_is_held_out_is_unknown():
    catalog = Catalog.fit(Interactions.from_columns(user_id=["u", "v"], item_id=["a", "b"]))
    test = Interactions.from_columns(user_id=["u", "w", "w"], item_id=["x", "x", "y"])
    for cases in (cases_by_user(test, catalog), cases_by_row(test, catalog)):
        report = evaluate(Popularity().fit(None, catalog), cases, catalog, ks=[1, 9])
        assert report.counts["unreachable_share"] == 1 and report.counts["pairs"] == 3
        assert {report.metrics[f"{name}@{k}"] for name in NAMES for k in (1, 9)} == {0}
        assert report.metrics["popularity_lift@9"] is None
        assert json.loads(json.dumps(report.to_dict(), allow_nan=False))
