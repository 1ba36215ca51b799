"""Click rates from what another recommender showed: by hand, unbiased on planted logs, refusals."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation.logged import estimate, evaluate_logged
from tf_recall.recommend.rankings import Popularity

ITEMS = [f"i{at}" for at in range(6)]
RATE = np.array([0.1, 0.2, 0.1, 0.4, 0.3, 0.6])  # of clicks, at the first position
FALLS = np.array([1.0, 0.6, 0.3])  # of the second and the third


@pytest.fixture(scope="module")
def popular():
    """Recommends i5, i4, ... to everybody, and had trained on none of the users of a log."""
    items = [item for at, item in enumerate(ITEMS) for _ in range(at + 1)]
    log = Interactions.from_columns(user_id=[f"t{at}" for at in range(len(items))], item_id=items)
    return Popularity().fit(log, Catalog.fit(log))


def shown(generator, num, even=False):
    """Lists of 3 to `num` users, drawn one after the other by unequal chances, with positions."""
    taste = np.ones(6) if even else np.array([1, 2, 3, 1, 2, 1.0])
    lists = np.array(list(itertools.permutations(range(6), 3)))  # [120, 3]
    chances = np.ones(len(lists))
    for at in range(3):
        left = taste.sum() - taste[lists[:, :at]].sum(axis=1)
        chances *= taste[lists[:, at]] / left
    # of an item at a position, whatever stands before it: [3, 6]
    propensity = np.array([np.bincount(lists[:, at], chances, 6) for at in range(3)])
    items = lists[generator.choice(len(lists), num, p=chances)]
    clicked = generator.random(items.shape) < RATE[items] * FALLS
    columns = {
        "user_id": np.repeat([f"u{user}" for user in range(num)], 3),
        "item_id": np.array(ITEMS)[items].ravel(),
        "clicked": clicked.ravel().astype(int),
        "propensity": propensity[np.arange(3), items].ravel(),
        "position": np.tile([1, 2, 3], num),
    }
    return pd.DataFrame(columns)


def test_by_hand():
    # weights 2, 0, 4, 2: clicks of the first and the third, 6 / 4 = 1.5 and 6 / 8 = 0.75
    found = estimate([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.5], [1, 0, 1, 1])
    assert (found.ips, found.snips, found.logged, found.mean_weight) == (1.5, 0.75, 0.5, 2.0)
    assert found.effective == 8**2 / (4 + 16 + 4)
    # 2, 0, 4, 0 less 1.5: squares 0.25 + 2.25 + 6.25 + 2.25 = 11, times 4 / 3, its root by 4
    np.testing.assert_allclose(found.ips_error, (11 * 4 / 3) ** 0.5 / 4)
    # 2 * 0.25, 0, 4 * 0.25, 2 * -0.75, each by 2: 0.25, 0, 0.5, -0.75
    np.testing.assert_allclose(found.snips_error, (0.875 * 4 / 3) ** 0.5 / 4)
    # of two groups the sums are 0.25 and -0.25
    paired = estimate([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.5], [1, 0, 1, 1], ["a", "a", "b", "b"])
    assert paired.snips == found.snips
    np.testing.assert_allclose(paired.snips_error, (0.125 * 2) ** 0.5 / 4)


def test_unbiased_on_planted_logs_and_the_errors_are_true(popular):
    truth = (RATE[[5, 4, 3]] * FALLS).mean()
    generator = np.random.default_rng(0)
    found = [evaluate_logged(popular, shown(generator, 150), k=3) for _ in range(120)]
    for name in ("ips", "snips"):
        values = np.array([getattr(each, name) for each in found])
        errors = np.array([getattr(each, f"{name}_error") for each in found])
        assert abs(values.mean() - truth) < 3.5 * values.std() / len(found) ** 0.5
        np.testing.assert_allclose(errors.mean(), values.std(), rtol=0.2)
    assert sum(bool(each.warning) for each in found) < 4
    logged = np.mean([each.logged for each in found])
    assert abs(logged - truth) > 0.03  # what was shown says nothing of it
    assert np.mean([each.snips_error for each in found]) < np.mean(
        [each.ips_error for each in found]
    )


def test_without_positions_one_of_the_best_is_shown(popular):
    generator = np.random.default_rng(1)
    log = shown(generator, 6000, even=True)
    log = log[log["position"] == 1].drop(columns="position")
    found = evaluate_logged(popular, log, k=2)
    assert abs(found.snips - RATE[[5, 4]].mean()) < 4 * found.snips_error
    assert abs(found.mean_weight - 1) < 4 * found.mean_weight_error
    assert found.effective < found.lines == 6000 and "SNIPS" in str(found)


def test_propensities_that_are_wrong_are_told(popular):
    log = shown(np.random.default_rng(2), 2000)
    log["propensity"] = 1 / 6
    found = evaluate_logged(popular, log, k=3)
    assert "should be 1" in found.warning and found.warning in str(found)


def test_positions_beyond_the_list_do_not_count(popular):
    log = shown(np.random.default_rng(3), 300)
    first = log[log["position"] == 1]
    assert evaluate_logged(popular, log, k=1) == evaluate_logged(popular, first, k=1)


@pytest.mark.parametrize(
    "change, says",
    [
        (
            {"propensity": [0.5, 0, 0.5]},
            "propensity must be a probability above 0, got 0 in line 1",
        ),
        ({"propensity": [0.5, -0.1, 0.5]}, "got -0.1 in line 1"),
        ({"propensity": [0.5, 0.5, None]}, "got nan in line 2"),
        ({"propensity": [5, 0.5, 0.5]}, "got 5 in line 0"),
        ({"clicked": [0, 1, 2]}, "clicked must be 0 or 1, got 2 in line 2"),
        ({"clicked": [0, 1, None]}, "clicked must be 0 or 1, got nan"),
        ({"item_id": ["x", "y", "z"]}, "shows nothing of what the log shows"),
        ({"user_id": ["a", "a", "a"]}, "an error needs two users at least"),
        ({"position": [11, 12, 13]}, "the log has no position from 1 to 2"),
    ],
)
def test_what_says_nothing_is_refused(popular, change, says):
    given = {"user_id": ["a", "b", "c"], "item_id": ["i5", "i5", "i1"], "clicked": [0, 1, 1]}
    log = pd.DataFrame({**given, "propensity": 0.5, **change})
    with pytest.raises(ValueError) as refused:
        evaluate_logged(popular, log, k=2)
    assert says in str(refused.value)
    with pytest.raises(ValueError, match="the log has no column propensity; it has user_id, item"):
        evaluate_logged(popular, log.drop(columns="propensity"))
