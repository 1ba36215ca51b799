"""Each row's own negatives: only what its user rejected, drawn anew for each row."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.interactions import Interactions
from tf_recall.data.rejections import with_negatives

TAKEN = Interactions.from_columns(user_id=["u", "v", "u", "w"], item_id=["a", "a", "b", "c"])
REJECTED = Interactions.from_columns(user_id=["v", "u", "u", "x"], item_id=["d", "e", "f", "a"])


def test_by_hand():
    negatives = with_negatives(TAKEN, REJECTED, num=8).frame["negatives"]
    assert [sorted(row) for row in negatives] == [["e", "f"], ["d"], ["e", "f"], []]


def test_draws_are_even_and_repeatable():
    users = ["u"] * 30_000
    taken = Interactions.from_columns(user_id=users, item_id=["a"] * len(users))
    rejected = Interactions.from_columns(user_id=["u"] * 3, item_id=["d", "e", "f"])
    negatives = with_negatives(taken, rejected, num=1, seed=3).frame["negatives"]
    share = pd.Series([row[0] for row in negatives]).value_counts(normalize=True)
    np.testing.assert_allclose(share, 1 / 3, atol=4 * np.sqrt(2 / 9 / len(users)))
    assert negatives.equals(with_negatives(taken, rejected, num=1, seed=3).frame["negatives"])
    assert not negatives.equals(with_negatives(taken, rejected, num=1, seed=4).frame["negatives"])


def test_refuses_rejections_of_strangers():
    with pytest.raises(ValueError, match="do both name users in the same way"):
        with_negatives(TAKEN, Interactions.from_columns(user_id=["x"], item_id=["a"]))
