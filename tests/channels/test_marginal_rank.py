"""What a merge learns from cases: planted channels, and the weighing by a slow twin."""

import numpy as np
import pytest
from scipy.special import logsumexp

from tf_recall.channels import weighing
from tf_recall.channels.rank_fusion import MarginalRank
from tf_recall.channels.weighing import Table, weigh

ITEMS, WIDE, K = 300, 40, 20


class World:
    """Cases of four relevant items; channels whose scores know them more or less."""

    def __init__(self, cases=240, seed=0):
        self.rng = np.random.default_rng(seed)
        self.rows = np.stack(
            [np.sort(self.rng.choice(ITEMS, 4, replace=False)) + 1 for _ in range(cases)]
        )
        self.offsets = 4 * np.arange(cases + 1)

    def channel(self, strength, known=slice(None), noise=1.0):
        """Lists and scores: normal noise, and `strength` more for the relevant items known."""
        score = self.rng.normal(0, noise, (len(self.rows), ITEMS + 1))
        line = np.arange(len(self.rows))[:, None]
        score[line, self.rows[:, known]] += strength
        score[:, 0] = -np.inf
        rows = np.argsort(-score, axis=1)[:, :WIDE]
        return rows, np.take_along_axis(score, rows, axis=1)

    def half(self, channels, lines):
        lists = {name: rows[lines] for name, (rows, _) in channels.items()}
        return lists, {name: scores[lines] for name, (_, scores) in channels.items()}

    def learned(self, channels, ks=(K,)):
        """The merge learned on the first half of the cases."""
        count = len(self.rows) // 2
        offsets, rows = self.offsets[: count + 1], self.rows[:count].ravel()
        return MarginalRank().fit(*self.half(channels, slice(count)), offsets, rows, ks)

    def recall(self, lists):
        """On the second half."""
        right = self.rows[len(self.rows) // 2 :]
        return np.mean([np.isin(each, rows[:K]) for each, rows in zip(right, lists, strict=True)])

    def recalls(self, merge, channels):
        """Of the merge and of each channel, on the second half."""
        lists, scores = self.half(channels, slice(len(self.rows) // 2, None))
        merged = merge.merge(lists, K, None, scores).rows
        return self.recall(merged), [self.recall(rows) for rows in lists.values()]


@pytest.mark.parametrize("seed", range(4))
def test_where_one_channel_knows_all_the_merge_is_that_channel(seed):
    world = World(seed=seed)
    channels = {"noise": world.channel(0), "good": world.channel(3), "other": world.channel(0)}
    merge = world.learned(channels)
    lists, scores = world.half(channels, slice(120, None))
    rows = merge.merge(lists, K, None, scores).rows
    assert merge.weights["good"] == 1
    found, (*_, noise) = world.recalls(merge, channels)
    assert found >= world.recall(lists["good"]) > 2 * noise
    same = (rows == lists["good"][:, :K]).mean()
    assert same > 0.9  # noise has no weight, or next to none


def test_two_that_know_different_things_find_more_together():
    world = World(seed=1)
    channels = {
        "first": world.channel(3, slice(0, 2)),
        "noise": world.channel(0),
        "last": world.channel(3, slice(2, 4)),
    }
    merge = world.learned(channels)
    found, (first, _, last) = world.recalls(merge, channels)
    assert found > 1.3 * max(first, last)
    assert min(merge.weights["first"], merge.weights["last"]) > 0.5 > 3 * merge.weights["noise"]


def test_scores_are_taken_where_they_tell_more_than_ranks():
    world = World(cases=400, seed=2)
    # each knows all relevant items of half of the cases, which it scores far above all else, and
    # nothing of the others: a rank says not which of the two it is
    knows = world.rng.random(400) < 0.5
    channels = {}
    for name, known in (("a", knows), ("b", ~knows)):
        rows, scores = world.channel(12)
        blind = world.channel(0)
        channels[name] = (
            np.where(known[:, None], rows, blind[0]),
            np.where(known[:, None], scores, blind[1]),
        )
    merge = world.learned(channels, [4])
    by_rank = MarginalRank(weights=merge.weights)
    assert merge.by == "scores"
    lists, scores = world.half(channels, slice(200, None))
    right = world.rows[200:]

    def recall(merge):
        rows = merge.merge(lists, 4, None, scores).rows
        return np.mean([np.isin(each, row) for each, row in zip(right, rows, strict=True)])

    assert recall(merge) > 1.2 * recall(by_rank)


def test_few_cases_teach_nothing_but_the_best_channel():
    world = World(cases=12)
    channels = {"a": world.channel(0), "b": world.channel(4), "c": world.channel(0.5)}
    assert world.learned(channels).weights == {"a": 0.0, "b": 1.0, "c": 0.0}
    assert world.learned({"b": channels["b"]}).weights == {"b": 1.0}


def test_where_nobody_finds_anything_all_count_alike():
    merge = MarginalRank(by="scores")
    lists = {"a": np.array([[1, 2]] * 9), "b": np.array([[3, 4]] * 9)}
    scores = {name: rows.astype(float) for name, rows in lists.items()}
    merge.fit(lists, scores, np.arange(10), np.full(9, 7), [2])
    assert merge.weights == {"a": 1.0, "b": 1.0} and merge.by == "ranks"


def test_a_channel_of_weight_0_fills_up_what_others_leave():
    merge = MarginalRank(weights={"a": 1.0, "b": 0.0})
    lists = {"a": np.array([[5, 6, 0]]), "b": np.array([[7, 5, 8]])}
    assert merge.merge(lists, 4).rows.tolist() == [[5, 6, 7, 8]]
    assert merge.counts("a") and not merge.counts("b") and merge.counts("c")


def test_by_scores_by_hand():
    # a: 9, 5, 1 are at 1, 0.5, 0; b: 4, 2 at 1, 0; c's are all equal: 1 each
    lists = {"a": [[1, 2, 3]], "b": [[2, 4, 0]], "c": [[3, 5, 0]]}
    scores = {"a": [[9, 5, 1]], "b": [[4, 2, -np.inf]], "c": [[7, 7, 0]]}
    merge = MarginalRank(weights={"a": 1.0, "b": 0.8, "c": 0.4}, by="scores")
    # 1: 1; 2: 0.5 + 0.8; 3: 0 + 0.4; 4: 0; 5: 0.4, after 3, whose rank in c is better
    assert merge.merge(lists, 5, None, scores).rows.tolist() == [[2, 1, 3, 5, 4]]
    # what is filtered out, a row of 0 amid a list, is no highest or lowest: 5 is at 1, 1 at 0
    lists["a"] = [[0, 2, 3]]
    assert merge.merge(lists, 5, None, scores).rows.tolist() == [[2, 3, 5, 4, 0]]


@pytest.mark.parametrize("by", ["ranks", "scores"])
def test_the_table_agrees_with_a_loop(by):
    world = World(cases=30, seed=3)
    channels = {"a": world.channel(1), "b": world.channel(2)}
    lists, scores = world.half(channels, slice(None))
    lists["a"][3, 5:] = 0
    table = Table.of(lists, scores, 60, world.offsets, world.rows.ravel())
    weights = np.array([0.3, 1.0])
    expected = np.zeros((2, 30))
    for case in range(30):
        total = {}
        for weight, name in zip(weights, "ab", strict=True):
            rows = lists[name][case]
            there = scores[name][case][rows > 0]
            for rank, row in enumerate(rows[rows > 0], start=1):
                level = (there[rank - 1] - there.min()) / (there.max() - there.min())
                term = 61 / (60 + rank) if by == "ranks" else level
                total[row] = total.get(row, 0) + weight * term
        best = sorted(total, key=lambda row: -total[row])
        for number, k in enumerate((5, 20)):
            expected[number, case] = np.isin(world.rows[case], best[:k]).mean()
    np.testing.assert_allclose(table.recalls(table.terms[by] @ weights, (5, 20)), expected)


def test_the_likelihood_has_its_top_where_the_weights_are():
    world = World(cases=60, seed=4)
    channels = {"a": world.channel(1.5), "b": world.channel(2), "c": world.channel(0)}
    table = Table.of(*world.half(channels, slice(None)), 60, world.offsets, world.rows.ravel())
    terms, used = table.terms["scores"].astype(float), np.arange(60) % 3 > 0

    def loss(weights):
        whole = weighing.L2 / 2 * weights @ weights
        for case in np.flatnonzero(used):
            score, right = terms[table.case == case] @ weights, table.relevant[table.case == case]
            if right.any():
                whole -= (score[right] - logsumexp(score)).mean()
        return whole

    learned = weighing._learned(table, terms, used)
    assert learned.sum() == pytest.approx(1) and (learned >= 0).all()
    sizes = np.linspace(0.1, 12, 200)
    scaled = min(sizes, key=lambda size: loss(size * learned)) * learned
    for step in np.vstack([np.eye(3), -np.eye(3)]) * 0.3:
        assert loss(scaled) < loss(np.maximum(scaled + step, 0)) + 1e-9


def test_what_is_learned_by_heart_gains_nothing():
    """Noise channels, as many as cases nearly: the best one is kept, or found no worse."""
    world = World(cases=80, seed=5)
    channels = {f"noise{n}": world.channel(0) for n in range(15)} | {"good": world.channel(2)}
    merge = world.learned(channels)
    found, recalls = world.recalls(merge, channels)
    assert found >= 0.95 * recalls[-1] and merge.weights["good"] == 1


def agreeing(gains, losses):
    """100 cases, where a list of one item is asked: of a and b, or of what both have second.

    Alone a finds all but the gains, b fewer; added up, their second item comes before their first
    ones, 2 * 61 / 62 against 1: so the gains are found, and the losses are not.
    """
    a, b, right = np.tile([1, 2], (100, 1)), np.tile([1, 3], (100, 1)), np.ones(100, int)
    b[: gains + losses] = [3, 2]
    right[:gains] = 2
    lists = {"a": a, "b": b}
    scores = {name: -np.tile([1.0, 2.0], (100, 1)) for name in lists}
    return MarginalRank().fit(lists, scores, np.arange(101), right, [1]).weights


def test_a_gain_within_its_error_is_none(monkeypatch):
    monkeypatch.setattr(weighing, "_learned", lambda table, terms, used: np.array([0.5, 0.5]))
    # 2 - 1 of 100: 0.01 +- 0.017; 9 - 1 of 100: 0.08 +- 0.031
    assert agreeing(2, 1) == {"a": 1.0, "b": 0.0}
    assert min(agreeing(9, 1).values()) > 0


def test_a_gain_counts_on_cases_that_were_not_learned_from(monkeypatch):
    def by_heart(table, terms, used):
        return np.array([0.5, 0.5] if used.all() else [1.0, 0.0])

    monkeypatch.setattr(weighing, "_learned", by_heart)
    assert agreeing(9, 1) == {"a": 1.0, "b": 0.0}


def test_no_length_may_lose():
    world = World(seed=6)
    channels = {"first": world.channel(3, slice(0, 2)), "last": world.channel(3, slice(2, 4))}
    lists, scores = world.half(channels, slice(None))
    table = Table.of(lists, scores, 60, world.offsets, world.rows.ravel())
    single = max(table.recall((ranks > 0) & (ranks <= 5)).mean() for ranks in table.ranks.T)
    for ks in ([5], [5, 20], [40]):
        weights, by = weigh(table, ks)
        found = table.recalls(table.terms[by] @ weights, [5])[0].mean()
        assert weights.max() == 1 and (5 not in ks or found >= single)
