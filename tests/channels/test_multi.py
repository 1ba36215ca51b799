"""Several channels as one: sources, filters that nothing slips through, the same answer in any
batch.
"""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.merge import Quotas, RoundRobin
from tf_recall.channels.multi import MultiChannel
from tf_recall.channels.rank_fusion import MarginalRank, ReciprocalRank
from tf_recall.channels.user_cf import UserCF
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation import cases_by_row, cases_by_user, evaluate
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity


class Fixed(Recommender):
    """Recommends the same list to all, whatever the request filters out, and remembers it."""

    def __init__(self, catalog, ids, k_max=None, **attributes):
        self.catalog, self.rows, self.requests = catalog, catalog.items.encode(ids), []
        self.most = k_max or catalog.num_items
        vars(self).update(attributes)

    @property
    def k_max(self):
        return self.most

    def _recommend(self, request, k):
        self.requests.append({"k": k, **request.arrays})
        rows = np.zeros((len(request), k), np.int32)
        rows[:, : len(self.rows)] = self.rows[:k]
        return rows, np.where(rows > 0, 1 / np.arange(1, k + 1), -np.inf)


class Reasoned(Fixed):
    takes_history = True
    explains = True

    def _explain(self, request, item, num):
        items = request.arrays["history"][0].tolist() or ["none"]
        return [{"kind": "item", "id": one, "share": 0.5} for one in items][:num]


@pytest.fixture(scope="module")
def catalog():
    """Items a to h; ann has had a and b, bob c."""
    users, items = ["ann", "ann", "bob", *["cat"] * 8], [*"abc", *"abcdefgh"]
    return Catalog.fit(Interactions.from_columns(user_id=users, item_id=items))


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 61)
    users, items = rng.integers(0, 80, 1200), rng.choice(60, 1200, p=share / share.sum())
    log = Interactions.from_columns(
        user_id=[f"u{user}" for user in users], item_id=[f"i{item}" for item in items]
    )
    held = rng.random(1200) < 0.2
    train, test = log.select(~held), log.select(held)
    catalog = Catalog.fit(train)
    channels = {"item_cf": ItemCF(top=20), "user_cf": UserCF(top=20), "popular": Popularity()}
    return {name: channel.fit(train, catalog) for name, channel in channels.items()}, catalog, test


def both(catalog, **settings):
    """One has a b c d, two d a h."""
    one, two = Fixed(catalog, list("abcd")), Fixed(catalog, list("dah"))
    return MultiChannel({"one": one, "two": two}, catalog, **settings)


def test_by_hand(catalog):
    multi, users = both(catalog), [f"user {number}" for number in range(40)]
    item_id, score = multi.recommend(users, k=6)
    # One begins: a, d; b, h (d and a are taken); c. Two begins: d, a; h, b; c. Which of them is the
    # user's own.
    assert {"".join(line) for line in item_id} == {"adbhc", "dahbc"}
    assert score.tolist() == [np.float32([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, -np.inf]).tolist()] * 40
    ids, same, ranks = multi.recommend_sources(users, k=6)
    assert ids.tolist() == item_id.tolist() and (same == score).all()
    assert multi.sources == ("one", "two")
    sources = {"a": [1, 2], "b": [2, 0], "c": [3, 0], "d": [4, 1], "h": [0, 3], "": [0, 0]}
    assert ranks.tolist() == [[sources[one] for one in line] for line in item_id]


def test_each_channel_is_first_for_some_users(catalog):
    names = list("abcdefg")
    multi = MultiChannel({name: Fixed(catalog, [name]) for name in names}, catalog)
    item_id, _ = multi.recommend(np.array([f"user {number}" for number in range(2100)]), k=1)
    count = [np.count_nonzero(item_id == name) for name in names]
    assert sum(count) == 2100 and min(count) > 200  # of 300; a standard deviation is 16


def test_one_user(catalog):
    item_id, score = both(catalog).recommend("ann", 2)
    assert sorted(item_id[0]) == ["a", "d"] and score.shape == (1, 2)


@pytest.mark.parametrize("merge", [RoundRobin(), Quotas({"two": 2}), ReciprocalRank()])
def test_nothing_slips_through(catalog, merge):
    # These two channels heed no filter. ann has had a and b; bob brings d and has had c.
    multi = both(catalog, merge=merge, depth=8)
    users = ["ann", "bob", "nobody"]

    def sets(**request):
        return ["".join(sorted(line)) for line in multi.recommend(users, 8, **request)[0]]

    assert sets() == ["abcdh"] * 3
    assert sets(exclude_seen=True) == ["cdh", "abdh", "abcdh"]
    assert sets(exclude_seen=[False, True, True], history=[["d"], ["d"], ["a"]]) == [
        "abcdh",
        "abh",
        "bcdh",
    ]
    assert sets(exclude=["a", "x"]) == ["bcdh"] * 3
    assert sets(exclude=[["a"], ["d", "h"], []]) == ["bcdh", "abc", "abcdh"]
    assert sets(allow=[["a", "h", "e"], ["x"], []]) == ["ah", "", "abcdh"]
    assert sets(allow=[list("ach"), ["c"], []], exclude=["h"], exclude_seen=True) == [
        "c",
        "",
        "abcd",
    ]
    rows, _ = multi.recommend_rows(users, 8, exclude_seen=True)
    assert (np.diff((rows > 0).astype(int), axis=1) <= 0).all()  # no holes


def test_ranks_are_those_in_the_channels_lists(catalog):
    # Without a and b, c is still the third of one, h the third of two.
    item_id, _, ranks = both(catalog).recommend_sources(["ann"], 5, exclude_seen=True)
    assert dict(zip(item_id[0], ranks[0].tolist(), strict=True)) == {
        "d": [4, 1],
        "c": [3, 0],
        "h": [0, 3],
        "": [0, 0],
    }


def test_an_item_that_scores_nothing_is_not_there(catalog):
    class Short(Fixed):
        def _recommend(self, request, k):
            rows, score = super()._recommend(request, k)
            return rows, np.where(np.arange(k) < 2, score, -np.inf)

    assert MultiChannel({"one": Short(catalog, list("abcd"))}, catalog).recommend("ann", 3)[
        0
    ].tolist() == [["a", "b", ""]]


def test_everyone_is_asked_the_same(catalog):
    counted = Fixed(catalog, list("abc"), takes_history=True)
    trained = Fixed(catalog, list("abc"), k_max=3)
    multi = MultiChannel({"counted": counted, "trained": trained}, catalog)
    request = {"history": [["h"], ["g", "f"]], "exclude": ["e"], "allow": list("abcdefgh")}
    multi.recommend(["ann", "bob"], 5, exclude_seen=[True, False], **request)
    asked, other = counted.requests[0], trained.requests[0]
    assert asked["k"] == 5 and other["k"] == 3
    assert asked["history"].tolist() == [["h", ""], ["g", "f"]] and asked["exclude"].tolist() == [
        ["e"],
        ["e"],
    ]
    # Who takes no history leaves out what it holds, where that is asked.
    assert "history" not in other and other["exclude"].tolist() == [["e", "h", ""], ["e", "", ""]]
    for each in (asked, other):
        assert each["exclude_seen"].tolist() == [True, False] and each["allow"].shape == (2, 8)
    multi.recommend(["ann"], 2)
    for each in (counted.requests[1], trained.requests[1]):
        assert each["exclude_seen"].tolist() == [False]
        assert each["exclude"].shape == each["allow"].shape == (1, 0)
    MultiChannel({"counted": counted}, catalog, depth=100).recommend(["ann"], 2)
    assert counted.requests[2]["k"] == 8  # the catalog


def test_explain(catalog):
    channels = {
        "late": Reasoned(catalog, list("hga")),
        "mute": Fixed(catalog, list("ab")),
        "without": Reasoned(catalog, list("bc")),
        "silent": Fixed(catalog, list("bc")),
    }
    multi = MultiChannel(channels, catalog)
    reason = [{"kind": "item", "id": "none", "share": 0.5}]
    expected = [("mute", 1, []), ("late", 3, reason), ("without", None, reason)]
    found = multi.explain("ann", "a")
    assert [(each["channel"], each["rank"], each["reasons"]) for each in found] == expected
    found = multi.explain("ann", "a", num=1, history=["c", "d"])
    assert found[1]["reasons"] == [{"kind": "item", "id": "c", "share": 0.5}]
    shallow = MultiChannel(channels, catalog, depth=2)
    assert [each["rank"] for each in shallow.explain("ann", "a")] == [1, None, None]
    assert [each["rank"] for each in multi.explain("ann", "a", exclude_seen=True)] == [None, None]
    with pytest.raises(ValueError, match="item 'zz' is unknown"):
        multi.explain("ann", "zz")


def test_a_channel_that_only_fills_up_is_no_reason_beside_one_that_counts(catalog):
    channels = {"one": Fixed(catalog, list("ab")), "fills": Fixed(catalog, list("bc"))}
    multi = MultiChannel(channels, catalog, MarginalRank(weights={"fills": 0.0}))
    assert multi.recommend(["ann"], 3)[0].tolist() == [["a", "b", "c"]]
    assert [each["channel"] for each in multi.explain("ann", "b")] == ["one"]
    assert [each["channel"] for each in multi.explain("ann", "c")] == ["fills"]


@pytest.mark.parametrize("make", [cases_by_user, cases_by_row])
def test_a_merge_that_learns_finds_no_less_than_its_best_channel(world, make):
    channels, catalog, test = world
    multi = MultiChannel(channels, catalog, MarginalRank(), depth=40)
    cases = make(test, catalog)

    def recall(recommender, k):
        return evaluate(recommender, cases, catalog, ks=[k]).metrics[f"recall@{k}"]

    for k in (5, 10):
        assert multi.fit(cases, ks=[k]) is multi and set(multi.merge.weights) == set(channels)
        # on the cases that it learned from; that of a channel is a little less where scores tie
        assert recall(multi, k) >= max(recall(channel, k) for channel in channels.values())
    rows = multi.recommend_rows(cases.user_id[:9], 10)[0]
    alone = np.concatenate([multi.recommend_rows([each], 10)[0] for each in cases.user_id[:9]])
    np.testing.assert_array_equal(alone, rows)


def test_what_cannot_learn_is_told(world, catalog):
    channels, home, test = world
    cases = cases_by_user(test, home)
    with pytest.raises(ValueError, match="RoundRobin does not learn; MarginalRank does"):
        MultiChannel(channels, home).fit(cases)
    multi = MultiChannel(channels, home, MarginalRank())
    with pytest.raises(ValueError, match="list lengths"):
        multi.fit(cases, ks=[0])
    seen = cases_by_user(Interactions.from_columns(user_id=["ann"], item_id=["a"]), catalog)
    with pytest.raises(ValueError, match="no cases to learn from"):
        MultiChannel({"one": Fixed(catalog, ["a"])}, catalog, MarginalRank()).fit(seen)


def test_on_channels_that_count(world):
    channels, catalog, test = world
    multi = MultiChannel(channels, catalog, depth=12)
    cases = cases_by_user(test, catalog)
    users = cases.user_id[:40]
    rows, _ = multi.recommend_rows(users, 12, exclude_seen=True)
    item_id, _, ranks = multi.recommend_sources(users, 12, exclude_seen=True)
    np.testing.assert_array_equal(catalog.items.decode(rows), item_id)
    for at, channel in enumerate(channels.values()):
        alone, score = channel.recommend_rows(users, 12, exclude_seen=True)
        # a third each
        assert (alone[:, :4][:, :, None] == rows[:, None]).any(axis=2)[score[:, :4] > -np.inf].all()
        line, column = np.nonzero(ranks[..., at])
        np.testing.assert_array_equal(alone[line, ranks[line, column, at] - 1], rows[line, column])
    # What explains an item is what brought it.
    for user, item, rank in zip(users[:5], item_id[:, 3], ranks[:, 3], strict=False):
        found = multi.explain(user, item, exclude_seen=True)
        listed = {each["channel"]: each["rank"] for each in found if each["rank"]}
        assert listed == {name: at for name, at in zip(channels, rank, strict=True) if at}
        assert all(each["reasons"] for each in found)
    report = evaluate(multi, cases, catalog, ks=(10,))
    assert report.metrics["recall@10"] > 0


@pytest.mark.parametrize("merge", [RoundRobin(), Quotas({"popular": 3}), ReciprocalRank()])
def test_the_same_whatever_is_asked_beside_it_and_however_often(world, merge):
    channels, catalog, test = world
    multi = MultiChannel(channels, catalog, merge)
    users = [*catalog.users.decode(np.arange(1, 40)), "somebody new"]
    rows, score = multi.recommend_rows(users, 15, exclude_seen=True)
    some = [39, 4, 17, 4]
    again, scores = multi.recommend_rows([users[at] for at in some], 15, exclude_seen=True)
    np.testing.assert_array_equal(again, rows[some])
    np.testing.assert_array_equal(scores, score[some])


def test_numbers_for_ids():
    log = Interactions.from_columns(user_id=[1, 1, 2], item_id=[7, 8, 9])
    catalog = Catalog.fit(log)
    multi = MultiChannel({"popular": Popularity().fit(log, catalog)}, catalog)
    assert multi.recommend([1, 5], 3, exclude_seen=True, exclude=[8])[0].tolist() == [
        [9, -1, -1],
        [7, 9, -1],
    ]


def test_context_goes_to_the_channels_that_take_it(catalog):
    text, number = (tf.TensorSpec([None], dtype) for dtype in (tf.string, tf.float64))
    tv = Fixed(catalog, ["a"], query_columns={"device": text})
    both = Fixed(catalog, ["b"], query_columns={"device": text, "age": number})
    plain = Fixed(catalog, ["c"])
    multi = MultiChannel({"tv": tv, "both": both, "plain": plain}, catalog)
    assert set(multi.query_columns) == {"device", "age"}
    multi.recommend(["ann", "bob"], 3, device=["tv", "web"], age=30)
    assert tv.requests[0]["device"].tolist() == ["tv", "web"] and "age" not in tv.requests[0]
    assert both.requests[0]["age"].tolist() == [30, 30] and "device" not in plain.requests[0]
    with pytest.raises(ValueError, match="MultiChannel takes no weather; it takes age, allow, dev"):
        multi.recommend(["ann"], 3, weather="rain")
    other = Fixed(catalog, ["d"], query_columns={"device": number})
    with pytest.raises(ValueError, match="'tv' and 'other' take 'device' in different forms"):
        MultiChannel({"tv": tv, "other": other}, catalog)


def test_refused(catalog, world):
    channels, larger, _ = world
    fixed = {"one": Fixed(catalog, ["a"])}
    for make, message in [
        (lambda: MultiChannel({}, catalog), "no channel to merge"),
        (
            lambda: MultiChannel(fixed, catalog, Quotas({"tow": 3})),
            "names the channel 'tow'; there are: 'one'",
        ),
        (lambda: MultiChannel(fixed, catalog, depth=0), "depth is a whole number of at least 1"),
        (
            lambda: MultiChannel(channels, catalog),
            "the channel 'item_cf' and this catalog do not go together",
        ),
        (
            lambda: MultiChannel(fixed, catalog).recommend(["ann"], 9),
            "k must be a whole number from 1 to 8",
        ),
        (
            lambda: MultiChannel(fixed, catalog).recommend(["ann"], 0),
            "k must be a whole number from 1 to 8",
        ),
        (
            lambda: MultiChannel(fixed, catalog).recommend(["ann"], 1, exclude=[["a"], ["b"]]),
            "one list for each",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="string ids"):
        MultiChannel(fixed, catalog).recommend([7], 1)
