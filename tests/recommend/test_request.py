"""Requests by hand: Python values become the arrays of an endpoint, and rows of a catalog."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.filters import Filter
from tf_recall.recommend.request import check_k

INPUTS = {
    "user_id": tf.TensorSpec([None], tf.string),
    "age": tf.TensorSpec([None], tf.float64),
    "city": tf.TensorSpec([None], tf.string),
    "taste": tf.TensorSpec([None, 2], tf.float32),
    "exclude": tf.TensorSpec([None, None], tf.string),
    "allow": tf.TensorSpec([None, None], tf.string),
    "exclude_seen": tf.TensorSpec([None], tf.bool),
}
NUMBERS = {
    "user_id": tf.TensorSpec([None], tf.int64),
    "exclude": tf.TensorSpec([None, None], tf.int64),
}


def test_what_is_not_given_says_nothing():
    arrays = batch(INPUTS, "user_id", {"user_id": ["a", "b"], "age": None})
    assert arrays["user_id"].tolist() == ["a", "b"]
    assert arrays["city"].tolist() == ["", ""] and arrays["exclude_seen"].tolist() == [False, False]
    assert np.isnan(arrays["age"]).all() and np.isnan(arrays["taste"]).all()
    shapes = {name: array.shape for name, array in arrays.items()}
    assert (
        shapes["age"] == (2,)
        and shapes["taste"] == (2, 2)
        and shapes["exclude"] == shapes["allow"] == (2, 0)
    )
    assert all(
        tf.constant(arrays[name], spec.dtype).shape.is_compatible_with(spec.shape)
        for name, spec in INPUTS.items()
    )


def test_single_values_count_for_every_row():
    given = {
        "user_id": ["a", "b"],
        "age": 30,
        "city": "Oslo",
        "taste": [1, 2],
        "exclude": ["x", "y"],
        "exclude_seen": True,
    }
    arrays = batch(INPUTS, "user_id", given)
    assert arrays["age"].tolist() == [30, 30] and arrays["city"].tolist() == ["Oslo", "Oslo"]
    assert arrays["taste"].tolist() == [[1, 2], [1, 2]] and arrays["exclude_seen"].tolist() == [
        True,
        True,
    ]
    assert arrays["exclude"].tolist() == [["x", "y"], ["x", "y"]]
    assert batch(INPUTS, "user_id", {"user_id": "a"})["user_id"].tolist() == ["a"]


def test_values_per_row():
    given = {
        "user_id": pd.Series(["a", None, "c"]),
        "age": [30, None, "41"],
        "city": pd.Series(["Oslo", None, 7]),
        "taste": np.eye(3, 2),
        "exclude": [["x"], [], np.array(["y", "z"])],
        "allow": [[], (), {"w"}],
        "exclude_seen": [True, False, True],
    }
    arrays = batch(INPUTS, "user_id", given)
    assert arrays["user_id"].tolist() == ["a", "", "c"] and arrays["city"].tolist() == [
        "Oslo",
        "",
        "7",
    ]
    np.testing.assert_array_equal(arrays["age"], [30, np.nan, 41])
    assert arrays["exclude"].tolist() == [["x", ""], ["", ""], ["y", "z"]]
    assert arrays["allow"].tolist() == [[""], [""], ["w"]]
    assert (
        arrays["exclude_seen"].tolist() == [True, False, True]
        and arrays["taste"].tolist() == np.eye(3, 2).tolist()
    )


def test_integer_ids_are_padded_with_minus_one():
    arrays = batch(
        NUMBERS, "user_id", {"user_id": np.array([4, 5], np.int32), "exclude": [[7, 8], [9]]}
    )
    assert arrays["user_id"].dtype == arrays["exclude"].dtype == np.int64
    assert arrays["exclude"].tolist() == [[7, 8], [9, -1]]
    assert batch(NUMBERS, "user_id", {"user_id": [None]})["user_id"].tolist() == [-1]


@pytest.mark.parametrize("inputs", [INPUTS, NUMBERS])
def test_an_empty_batch_has_empty_arrays_of_the_right_types(inputs):
    for name, array in batch(inputs, "user_id", {"user_id": [], "exclude": []}).items():
        assert array.shape[0] == 0
        assert tf.constant(array, inputs[name].dtype).dtype == inputs[name].dtype


@pytest.mark.parametrize(
    "given, error, says",
    [
        (
            {"user_id": ["a"], "aeg": 3},
            ValueError,
            "this model takes no aeg; it takes age, allow, city",
        ),
        ({"user_id": [1, 2]}, TypeError, "user_id must hold string ids"),
        ({"user_id": ["a"], "exclude": [[1]]}, TypeError, "exclude must hold string ids"),
        ({"user_id": ["a"], "exclude": "x"}, TypeError, "exclude must be a list of ids"),
        ({"user_id": ["a"], "exclude": 3}, TypeError, "exclude must be a list of ids"),
        (
            {"user_id": ["a", "b"], "exclude": [["x"]]},
            ValueError,
            "one list for each of the 2 rows, got 1",
        ),
        (
            {"user_id": ["a", "b"], "age": [1, 2, 3]},
            ValueError,
            "age must hold one value, or one for each of the 2 rows",
        ),
        (
            {"user_id": ["a", "b"], "exclude_seen": [True]},
            ValueError,
            "exclude_seen must hold one value",
        ),
        ({"user_id": ["a"], "taste": [1, 2, 3]}, ValueError, "taste must hold one value"),
        ({"user_id": ["a"], "age": "old"}, ValueError, "'age' must hold numbers"),
    ],
)
def test_mistakes_are_named(given, error, says):
    with pytest.raises(error, match=says):
        batch(INPUTS, "user_id", given)


@pytest.mark.parametrize("k", [0, -1, 21, 2.5, 3.0, "3", None, True, np.bool_(True), [3], 2**70])
def test_an_impossible_k_is_refused(k):
    check_k(20, 20)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 20"):
        check_k(k, 20)


class Plain(Recommender):
    """Takes what its attributes say; answers nothing."""

    def __init__(self, catalog, **attributes):
        self.catalog = catalog
        vars(self).update(attributes)


@pytest.fixture
def catalog():
    """Items a, b, c; u1 has seen a and b, u2 c."""
    log = Interactions.from_columns(user_id=["u1", "u1", "u2"], item_id=["a", "b", "c"])
    return Catalog.fit(log)


def test_rows_of_a_request(catalog):
    request = Plain(catalog, takes_history=True).request_for_users(
        ["u2", "new"], exclude=[["a", "x"], []], allow=[[], ["x"]], history=["c"]
    )
    assert len(request) == 2 and request.ids.tolist() == ["u2", "new"]
    assert request.rows.tolist() == [catalog.users.encode(["u2"])[0], 0]
    a, c = catalog.items.encode(["a", "c"])
    assert request.exclude.tolist() == [[a, 0], [0, 0]] and request.history.tolist() == [[c]] * 2
    # a list of unknown ids restricts, to nothing
    assert request.allow.tolist() == [[0], [0]] and request.restricted.tolist() == [False, True]
    assert request.exclude_seen.tolist() == [False, False]


def test_a_request_in_blocks(catalog):
    asked = Plain(catalog).request_for_users(list("abcde"), exclude_seen=[True, False] * 2 + [True])
    blocks = list(asked.blocks(2))
    assert [block.ids.tolist() for block in blocks] == [["a", "b"], ["c", "d"], ["e"]]
    assert blocks[2].exclude_seen.tolist() == [True]
    empty = Plain(catalog).request_for_users([])
    assert [len(block) for block in empty.blocks(2)] == [0]


def test_a_request_as_another_recommender_takes_it(catalog):
    age = {"age": tf.TensorSpec([None], tf.float64)}
    merge = Plain(catalog, takes_history=True, query_columns=age)
    request = merge.request_for_users(
        ["u1", "u2"], exclude=["a"], history=[["b"], ["c"]], exclude_seen=[True, False], age=3
    )
    same = request.to(merge)
    assert set(same.arrays) == set(request.arrays)
    # who takes no history leaves out its items, where that is asked for
    other = request.to(Plain(catalog)).arrays
    assert set(other) == {"user_id", "exclude", "allow", "exclude_seen"}
    assert other["exclude"].tolist() == [["a", "b"], ["a", ""]]
    assert set(request.to(Plain(catalog, filters=())).arrays) == {"user_id"}


def test_what_a_filter_lets_through(catalog):
    request = Plain(catalog).request_for_users(
        ["u1", "u1", "u2", "new"],
        exclude=[["b"], [], [], []],
        allow=[[], [], ["a", "c"], ["x"]],
        exclude_seen=[False, True, True, False],
    )
    rows = catalog.items.encode(["a", "b", "c"])
    found = Filter(request)(np.arange(4)[:, None], rows[None])
    assert found.tolist() == [
        [True, False, True],
        [False, False, True],
        [True, False, False],
        [False, False, False],
    ]
