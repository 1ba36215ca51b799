"""Item CF by hand, against a loop over users and items, and its limits."""

import numpy as np
import pytest
from scipy import sparse

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.similarity import Cosine, Jaccard, WeightedCosine
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes


def world(seed=0, num_users=60, num_items=40, events=600):
    """Interactions with times and weights, popular items first, and the catalog."""
    rng = np.random.default_rng(seed)
    train = Interactions.from_columns(
        user_id=[f"u{at}" for at in rng.integers(0, num_users, events)],
        item_id=[f"i{at}" for at in np.minimum(rng.geometric(0.07, events), num_items)],
        timestamp=rng.permutation(events) * 3600,
        weight=rng.integers(1, 6, events).astype(float),
    )
    return train, Catalog.fit(train)


class Given:
    """A similarity that is given."""

    def __init__(self, values):
        self.values = values

    def neighbors(self, likes, num):
        return sparse.csr_matrix(np.float32(self.values))


def test_the_worked_example():
    """Likes (2, 1, 4, 3) and similarities (0.1, 0.4, 0.2, 0.6): 0.2 + 0.4 + 0.8 + 1.8 = 3.2."""
    train = Interactions.from_columns(
        user_id=["u"] * 4 + ["v"],
        item_id=["a", "b", "c", "d", "e"],
        weight=[2.0, 1.0, 4.0, 3.0, 1.0],
    )
    catalog = Catalog.fit(train)
    rows = dict(zip("abcde", catalog.items.encode(list("abcde")), strict=True))
    values = np.zeros((6, 6))
    for item, value in zip("abcd", (0.1, 0.4, 0.2, 0.6), strict=True):
        values[rows[item], rows["e"]] = value
    channel = ItemCF(Given(values)).fit(train, catalog)
    item_id, score = channel.recommend(["u"], k=2)
    assert item_id.tolist() == [["e", ""]]
    np.testing.assert_allclose(score, [[3.2, -np.inf]], rtol=1e-6)
    reasons = channel.explain("u", "e", num=2)
    assert [(reason["kind"], reason["id"]) for reason in reasons] == [("item", "d"), ("item", "c")]
    np.testing.assert_allclose(
        [reason["share"] for reason in reasons], [1.8 / 3.2, 0.8 / 3.2], rtol=1e-6
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "settings", [{}, {"top": 3}, {"last": 2}, {"user_limit": 4}, {"half_life": 5, "last": 6}]
)
def test_against_a_loop(seed, settings):
    train, catalog = world(seed)
    channel = ItemCF(WeightedCosine(), **settings).fit(train, catalog)
    likes = Likes.fit(train, catalog, settings.get("half_life"))
    counted, kept = (likes.last(settings.get(name)).toarray() for name in ("user_limit", "last"))
    length = np.sqrt((counted**2).sum(0))
    rows, score = channel.recommend_rows(catalog.users.ids, k=40, exclude_seen=True)
    for user in range(1, catalog.users.size):
        expected = np.zeros(catalog.items.size)
        for j in np.flatnonzero(kept[user]):
            similar = {
                i: counted[:, i] @ counted[:, j] / (length[i] * length[j])
                for i in range(1, catalog.items.size)
                if i != j and counted[:, i] @ counted[:, j] > 0
            }
            for i in sorted(similar, key=lambda i: -similar[i])[: settings.get("top", 100)]:
                expected[i] += kept[user, j] * similar[i]
        expected[catalog.seen.of(user)] = 0
        line, values = rows[user - 1], score[user - 1]
        there = line > 0
        assert there.sum() == (expected > 0).sum()
        np.testing.assert_allclose(values[there], np.sort(expected)[::-1][: there.sum()], rtol=1e-4)
        np.testing.assert_allclose(values[there], expected[line[there]], rtol=1e-4)


def test_a_candidate_gets_the_whole_sum_not_that_of_the_neighbor_who_found_it():
    # both a and b have c among their similar items; c's score is the sum over both, and beats d's
    log = [
        ("u", "a"),
        ("u", "b"),
        *((v, i) for v in ("v", "w") for i in "abc"),
        ("x", "a"),
        ("x", "d"),
    ]
    users, items = zip(*log, strict=True)
    train = Interactions.from_columns(user_id=list(users), item_id=list(items))
    channel = ItemCF().fit(train, Catalog.fit(train))
    item_id, score = channel.recommend(["u"], k=2, exclude_seen=True)
    # sim(a, c) = 2 / sqrt(4 * 2), sim(b, c) = 2 / sqrt(3 * 2); sim(a, d) = 1 / sqrt(4 * 1)
    assert item_id.tolist() == [["c", "d"]]
    np.testing.assert_allclose(score, [[2 / np.sqrt(8) + 2 / np.sqrt(6), 0.5]], rtol=1e-6)


def test_very_active_users_decide_less():
    # a robot takes everything; two people take a and b together
    robot = [("robot", f"i{at}") for at in range(50)] + [("robot", "a"), ("robot", "z")]
    log = [*robot, ("p", "a"), ("p", "b"), ("q", "a"), ("q", "b"), ("r", "z")]
    users, items = zip(*log, strict=True)
    train = Interactions.from_columns(user_id=list(users), item_id=list(items))
    catalog = Catalog.fit(train)
    assert "i7" in ItemCF(top=60).fit(train, catalog).similar(["a"], k=52)[0]
    item_id, _ = ItemCF(top=60, user_limit=2).fit(train, catalog).similar(["a"], k=4)
    assert item_id.tolist() == [["b", "z", "", ""]]


def test_similar():
    train, catalog = world()
    channel = ItemCF(Jaccard(), top=5).fit(train, catalog)
    item_id, score = channel.similar(["i1", "unheard of"], k=6)
    assert item_id.shape == (2, 6) and "i1" not in item_id[0] and (np.diff(score[0][:5]) <= 0).all()
    assert item_id[0, 5] == "" and set(item_id[1]) == {""} and (score[1] == -np.inf).all()
    with pytest.raises(ValueError, match="item 'unheard of' is unknown"):
        channel.similar("unheard of", k=6)
    assert channel.similar("i1", k=2)[0].tolist() == [item_id[0, :2].tolist()]
    with pytest.raises(ValueError, match="k must be a whole number from 1 to"):
        channel.similar(["i1"], k=1000)


@pytest.mark.parametrize("name", ["top", "last", "user_limit"])
@pytest.mark.parametrize("value", [0, -3, 2.5])
def test_settings_that_cannot_be(name, value):
    with pytest.raises(ValueError, match=f"{name} is a whole number of at least 1, got {value}"):
        ItemCF(**{name: value})


def test_cosine_is_what_is_not_chosen():
    train, catalog = world()
    one, other = (channel.fit(train, catalog) for channel in (ItemCF(), ItemCF(Cosine())))
    assert (one.right != other.right).nnz == 0


def test_an_item_given_twice_in_a_history_is_one():
    train, catalog = world()
    channel = ItemCF().fit(train, catalog)
    once, twice = (
        channel.recommend(["nobody"], 10, history=given)
        for given in (["i1", "i4"], ["i1", "i4", "i1"])
    )
    assert once[0].tolist() == twice[0].tolist()
    np.testing.assert_array_equal(once[1], twice[1])
