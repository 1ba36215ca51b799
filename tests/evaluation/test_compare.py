"""Channels side by side: marginal recall and overlap by hand, against loops over lists, and what is
written.
"""

import json
import sys

import numpy as np
import pytest

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.evaluation.compare import compare
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

ITEMS = "abcdefgh"


class Lists(Recommender):
    """Recommends what is written down for each user, with given scores or falling ones; remembers
    what it was asked.
    """

    def __init__(self, catalog, lists, scores=None, k_max=None):
        self.catalog, self.lists, self.scores, self.asked = catalog, lists, scores, []
        self.most = k_max or catalog.num_items

    @property
    def k_max(self):
        return self.most

    def _recommend(self, request, k):
        known = {"user_id", "exclude", "allow", "exclude_seen"}
        context = sorted(set(request.arrays) - known)
        self.asked.append((len(request), k, request.exclude_seen.all(), context))
        rows, score = np.zeros((len(request), k), np.int32), np.full((len(request), k), -np.inf)
        for line, user in enumerate(request.ids.tolist()):
            items = (
                self.catalog.items.encode(list(self.lists[user]))[:k]
                if self.lists.get(user)
                else []
            )
            rows[line, : len(items)] = items
            score[line, : len(items)] = (
                self.scores[: len(items)] if self.scores else 1 / np.arange(1, len(items) + 1)
            )
        return rows, score


@pytest.fixture(scope="module")
def catalog():
    return Catalog.fit(Interactions.from_columns(user_id=["old"] * 8, item_id=list(ITEMS)))


@pytest.fixture(scope="module")
def cases(catalog):
    """ann takes a b c and something nobody knows, bob d."""
    test = Interactions.from_columns(
        user_id=["ann"] * 4 + ["bob"], item_id=["a", "b", "c", "zz", "d"]
    )
    return cases_by_user(test, catalog)


@pytest.fixture(scope="module")
def report(catalog, cases):
    channels = {
        "one": Lists(catalog, {"ann": "abe", "bob": "efg"}),  # a, b of ann's four
        "two": Lists(catalog, {"ann": "bcf", "bob": "ef"}),  # b, c
        "three": Lists(catalog, {"ann": "hgc", "bob": "gdd"}),  # c is third; d of bob's one
        "none": Lists(catalog, {}),
    }
    return compare(channels, MultiChannel(channels, catalog, depth=2), cases, catalog, k=2)


def test_by_hand(report):
    assert (report.k, report.cases) == (2, 2)
    recall = {name: line["recall"] for name, line in report.lines.items()}
    # ann's two of four; the same; bob's one of one; of the merge see below.
    assert recall == {
        "one": 1 / 4,
        "two": 1 / 4,
        "three": 1 / 2,
        "none": 0,
        "merged": recall["merged"],
    }
    # Together a b c of ann's four, and d: (3/4 + 1) / 2. Only one has a: 1/8; only two c; only
    # three d: 1/2.
    assert report.union == 7 / 8
    marginal = {name: line["marginal"] for name, line in report.lines.items()}
    assert marginal == {"one": 1 / 8, "two": 1 / 8, "three": 1 / 2, "none": 0, "merged": None}
    # a b e f; b c e f; h g and g d.
    coverage = {name: line["coverage"] for name, line in report.lines.items()}
    assert coverage == {
        "one": 4 / 8,
        "two": 4 / 8,
        "three": 3 / 8,
        "none": 0,
        "merged": coverage["merged"],
    }


def test_overlap_by_hand(catalog, cases, report):
    # ann: a b and b c share b; bob: both have e f.
    assert report.overlap["one"]["two"] == (1 / 2 + 1) / 2 == report.overlap["two"]["one"]
    assert report.overlap["one"]["three"] == 0 and report.overlap["one"]["one"] == 1
    assert report.overlap["one"]["none"] == 0 and set(report.overlap["none"].values()) == {None}
    # Of unequal lists it is not symmetric: a of a b c is a third, of a alone everything.
    lists = {"long": Lists(catalog, {"ann": "abc"}), "short": Lists(catalog, {"ann": "a"})}
    overlap = compare(lists, lists["long"], cases, catalog, k=3).overlap
    # bob has neither, and does not count
    assert (overlap["long"]["short"], overlap["short"]["long"]) == (
        1 / 3,
        1,
    )
    assert overlap["merged"] == {"long": 1, "short": 1 / 3, "merged": 1}


def test_ties_are_no_hits(catalog, cases):
    # Scores 2 1 1 1: what stands second ties with what stands outside.
    tied = Lists(catalog, {"ann": "eabc", "bob": "efgd"}, scores=[2, 1, 1, 1])
    lucky = Lists(catalog, {"ann": "eabc", "bob": "efgd"})
    found = compare({"tied": tied, "lucky": lucky}, tied, cases, catalog, k=2)
    assert [found.lines[name]["recall"] for name in ("tied", "lucky", "merged")] == [0, 1 / 8, 0]
    assert [found.lines[name]["marginal"] for name in ("tied", "lucky")] == [0, 1 / 8]


def test_what_stands_behind_the_list_is_not_found(catalog, cases):
    # c is the last of the whole catalog, which is asked for to see ties.
    found = compare(
        {"one": Lists(catalog, {"ann": "efghadbc"})}, Lists(catalog, {}), cases, catalog, k=7
    )
    assert found.union == found.lines["one"]["recall"] == (2 / 4 + 0) / 2


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_against_evaluate_and_loops(exclude_seen):
    rng = np.random.default_rng(1)
    share = 1 / np.arange(1, 51)
    users, items = rng.integers(0, 90, 1500), rng.choice(50, 1500, p=share / share.sum())
    log = Interactions.from_columns(user_id=[f"u{user}" for user in users], item_id=items)
    held = rng.random(1500) < 0.3
    catalog = Catalog.fit(log.select(~held))
    cases = cases_by_user(log.select(held), catalog)
    shuffled = {
        name: {user: rng.permutation(50)[: rng.integers(0, 30)].tolist() for user in cases.user_id}
        for name in "ab"
    }
    channels = {name: Lists(catalog, lists) for name, lists in shuffled.items()}
    channels["popular"] = Popularity().fit(log.select(~held), catalog)
    multi = MultiChannel(channels, catalog)
    report = compare(channels, multi, cases, catalog, k=8, exclude_seen=exclude_seen, batch_size=32)
    for name, each in {**channels, "merged": multi}.items():
        metrics = evaluate(each, cases, catalog, ks=[8], exclude_seen=exclude_seen).metrics
        line = report.lines[name]
        assert (
            line["recall"] == pytest.approx(metrics["recall@8"])
            and line["coverage"] == metrics["coverage@8"]
        )
    asked = cases.without_seen(catalog) if exclude_seen else cases
    lists = {
        name: [
            set(rows[rows > 0])
            for rows in each.recommend_rows(asked.user_id, 8, exclude_seen=exclude_seen)[0]
        ]
        for name, each in {**channels, "merged": multi}.items()
    }

    def together(names):
        """Recall of the union of some lists."""
        shares = []
        for case in range(len(asked)):
            relevant = asked.rows[asked.offsets[case] : asked.offsets[case + 1]]
            hits = sum(any(row in lists[name][case] for name in names) for row in relevant)
            shares.append(hits / (len(relevant) + asked.num_unknown[case]))
        return np.mean(shares)

    assert (
        report.union == pytest.approx(together(channels))
        and report.union >= report.lines["merged"]["recall"]
    )
    for name in channels:
        lost = together(channels) - together(set(channels) - {name})
        assert report.lines[name]["marginal"] == pytest.approx(lost)
    for one in lists:
        for other in lists:
            pairs = [(a, b) for a, b in zip(lists[one], lists[other], strict=True) if a]
            assert report.overlap[one][other] == pytest.approx(
                np.mean([len(a & b) / len(a) for a, b in pairs])
            )


def test_each_channel_is_asked_once_for_a_batch(catalog):
    users = [f"u{number}" for number in range(50)]
    cases = cases_by_user(
        Interactions.from_columns(user_id=users, item_id=["a"] * 50, device=["tv"] * 50), catalog
    )
    channel, merged = Lists(catalog, {}), Lists(catalog, {})
    report = compare({"one": channel}, merged, cases, catalog, k=3, batch_size=20)
    for each in (channel, merged):
        assert [count for count, *_ in each.asked if count > 1] == [20, 20, 10]
        assert len(each.asked) == 3 + 21  # once to warm up, and twenty users alone
        assert {tuple(rest[:2]) for _, *rest in each.asked} == {(4, True)}  # one more, to see ties
        assert not any(context for *_, context in each.asked)  # it knows no columns
    line = report.lines["one"]
    assert 0 < line["ms_batch"] < 1000 and 0 < line["ms_one"] < 1000


def test_for_reading_and_for_machines(report):
    text = str(report)
    assert "2 cases, lists of 2" in text and "union of the channels" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["one", "0.2500", "0.1250", "0.5000"] in [line[:4] for line in lines]
    assert ["one", "1.00", "0.75", "0.00", "0.00"] in [line[:5] for line in lines]
    assert ["none", "-", "-", "-", "-", "-"] in lines
    assert json.loads(json.dumps(report.to_dict()))["lines"]["two"]["marginal"] == 1 / 8
    frame = report.to_frame()
    assert frame.index.tolist() == ["one", "two", "three", "none", "merged"]
    assert frame.loc["one", "overlap_two"] == 3 / 4 and frame.loc["three", "marginal"] == 1 / 2
    assert np.isnan(frame.loc["merged", "marginal"]) and frame.dtypes.eq(float).all()


def test_plot(report, tmp_path):
    pytest.importorskip("matplotlib")
    report.plot(tmp_path / "channels.png")
    written = (tmp_path / "channels.png").read_bytes()
    assert written.startswith(b"\x89PNG\r\n") and len(written) > 10_000
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_plot_without_matplotlib(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'tf-recall\[plot\]'"):
        report.plot(tmp_path / "channels.png")


def test_refused(catalog, cases):
    one = Lists(catalog, {})
    seen = cases_by_user(Interactions.from_columns(user_id=["old"], item_id=["a"]), catalog)
    for arguments, message in [
        (({}, one, cases, catalog), "one channel or more"),
        (({"merged": one}, one, cases, catalog), "none of them called 'merged'"),
        (({"one": one}, one, cases, catalog, 0), r"ks are \[0\]; give list lengths"),
        (({"one": one}, one, seen, catalog, 2), "in its user's training part already"),
        (
            ({"one": Lists(catalog, {}, k_max=5)}, one, cases, catalog, 5),
            "lists of 6, .* k_max of 'one' is 5",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(*arguments)


def test_a_k_beyond_the_catalog_means_all_of_it_and_keeps_its_name(catalog, cases):
    channels = {"one": Lists(catalog, {"ann": "abcdefgh", "bob": "d"})}
    report = compare(channels, channels["one"], cases, catalog, k=100)
    assert report.k == 100 and "recall@100" in str(report)
    assert report.lines["one"]["recall"] == (3 / 4 + 1) / 2  # one of ann's four is unknown
