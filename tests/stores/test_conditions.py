import numpy as np
import pandas as pd
import pytest

from tf_recall.stores.conditions import expression, matches

TABLE = pd.DataFrame({"genre": ["a", "b", None], "year": [1990, np.nan, 2000]})


@pytest.mark.parametrize(
    ("where", "rows", "text"),
    [
        ({}, [True, True, True], ""),
        ({"genre": "a"}, [True, False, False], 'genre in ["a"]'),
        ({"genre": ["a", "b"]}, [True, True, False], 'genre in ["a", "b"]'),
        ({"year": {"min": 1995}}, [False, False, True], "year >= 1995"),
        (
            {"year": {"min": 1990, "max": 1999}, "genre": "a"},
            [True, False, False],
            'year >= 1990 and year <= 1999 and genre in ["a"]',
        ),
        ({"genre": 'a" or 1 == 1'}, [False] * 3, 'genre in ["a\\" or 1 == 1"]'),
    ],
)
def test_by_hand(where, rows, text):
    assert matches(TABLE, where).tolist() == rows
    assert expression(where) == text


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ({"price": 1}, "no column"),
        ({"year": {"above": 3}}, "a range is"),
        ({"year": {}}, "a range is"),
        ({"year": {"min": "x"}}, "a range is"),
        ({"genre": [["a"]]}, "a value"),
        ({"genre": None}, "a value"),
    ],
)
def test_other_forms(where, match):
    with pytest.raises(ValueError, match=match):
        matches(TABLE, where)
    if "price" not in where:
        with pytest.raises(ValueError, match=match):
            expression(where)
    with pytest.raises(ValueError, match="letters"):
        expression({"year) or (1": 1})
