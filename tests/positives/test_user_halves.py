"""Halves of histories: what they hold, drawn anew in each step, the same by seed and step."""

import numpy as np
import pytest

import tf_recall as tr
from tf_recall.features import Categorical
from tf_recall.features.needs import Needs
from tf_recall.positives import UserHalves
from tf_recall.positives.user_halves import halves

NEEDS = Needs("user", history=4)


@pytest.fixture(scope="module")
def log():
    """u0 ... u29 with 0 to 13 distinct items, some several times; u0 and u1 have no pair."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}", user * 100 + at)
        for user in range(30)
        for at, item in enumerate(rng.integers(0, 20, max(1, user // 2)))
    ]
    users, items, times = zip(*rows, strict=True)
    return tr.Interactions.from_columns(user_id=users, item_id=items, timestamp=times)


def test_halves_by_hand():
    """Items 5 3 5 9 7: the first 5 does not count; 3, 5, 9, 7 are dealt out two and two."""
    items = np.array([[0, 5, 3, 5, 9, 7], [0, 0, 0, 0, 0, 8], [0, 0, 0, 0, 4, 4]])
    dealt = set()
    for seed in range(60):
        one, other = halves(items, 3, np.random.default_rng(seed))
        assert one.shape == other.shape == (3, 3) and one.dtype == np.int32
        first, second = one[0][one[0] > 0].tolist(), other[0][other[0] > 0].tolist()
        assert sorted(first + second) == [3, 5, 7, 9] and len(first) == 2
        order = [3, 5, 9, 7]
        for half in (first, second):
            assert half == sorted(half, key=order.index)
        dealt.add(tuple(first))
        for line, item in ((1, 8), (2, 4)):
            assert sorted(np.concatenate([one[line], other[line]])) == [0] * 5 + [item]
    assert len(dealt) == 6  # all pairs of four


def test_each_row_is_one_user_in_two_halves(log):
    catalog = tr.Catalog.fit(log)
    batches = UserHalves(per_user=3).batches(log, catalog, NEEDS, 16)
    rows, seen = [], catalog.seen
    for step in range(batches.steps_per_epoch):
        batch = batches.at(step)
        query, item = batch["query"], batch["item"]
        np.testing.assert_array_equal(query["user"], item["user"])
        rows += query["user"].tolist()
        for user, one, other in zip(query["user"], query["history"], item["history"], strict=True):
            one, other = set(one) - {0}, set(other) - {0}
            latest = catalog.histories.of(user)[-8:]
            assert one and other and not one & other and one | other == set(latest)
            assert abs(len(one) - len(other)) <= 1
    counts = UserHalves(per_user=3).counts(log, catalog)["user"]
    expected = np.where(np.diff(seen.offsets) > 1, 3, 0)
    np.testing.assert_array_equal(counts, expected)
    assert set(np.unique(rows)) <= set(np.flatnonzero(expected))


def test_a_step_is_a_function_of_the_seed_and_halves_are_drawn_anew(log):
    catalog = tr.Catalog.fit(log)
    made = [UserHalves().batches(log, catalog, NEEDS, 64, seed) for seed in (0, 0, 1)]
    one, same, other = (batches.at(5) for batches in made)
    np.testing.assert_array_equal(one["query"]["history"], same["query"]["history"])
    assert (one["query"]["history"] != other["query"]["history"]).any()
    (later,) = made[0].dataset(5).take(1)
    np.testing.assert_array_equal(later["item"]["history"], one["item"]["history"])
    user = int(catalog.users.encode(["u29"])[0])
    drawn = set()
    for step in range(2 * made[0].steps_per_epoch):
        query = made[0].at(step)["query"]
        drawn |= {tuple(each) for each in query["history"][query["user"] == user]}
    assert len(drawn) > 5


def test_what_cannot_be_is_named(log):
    catalog = tr.Catalog.fit(log)
    alone = tr.Interactions.from_columns(user_id=["a", "b"], item_id=["x", "y"])
    with pytest.raises(ValueError, match="no user has two items"):
        UserHalves().batches(alone, tr.Catalog.fit(alone), NEEDS, 4)
    needs = NEEDS.also(context=(Categorical("device"),))
    with pytest.raises(ValueError, match="half a history is no event, and has no categorical_dev"):
        UserHalves().batches(log, catalog, needs, 4)
    with pytest.raises(ValueError, match="per_user"):
        UserHalves(0)
    with pytest.raises(ValueError, match="Siamese cannot learn from UserItem: .*take UserHalves"):
        tr.Siamese(dim=4, positives=tr.UserItem())
    with pytest.raises(ValueError, match="TwoTower cannot learn from UserHalves"):
        tr.TwoTower(positives=UserHalves())
