"""Requests of any junk: each is answered as what it plainly says, or refused by one line."""

import decimal
import math
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.rankings import Popularity

ITEMS = tf.TensorSpec([None, None], tf.string)
INPUTS = {
    "user_id": tf.TensorSpec([None], tf.string),
    "age": tf.TensorSpec([None], tf.float64),
    "city": tf.TensorSpec([None], tf.string),
    "taste": tf.TensorSpec([None, 2], tf.float32),
    "exclude": ITEMS,
    "allow": ITEMS,
    "history": ITEMS,
    "exclude_seen": tf.TensorSpec([None], tf.bool),
}
WHOLE = {"user_id": tf.TensorSpec([None], tf.int64)}
WHOLE["exclude"] = tf.TensorSpec([None, None], tf.int64)

text = st.text("ab,\0é\ud800", max_size=2)
leaf = st.one_of(
    text,
    text.map(lambda each: each.encode("utf-8", "surrogatepass")),
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 7, 2**53, 2**63, -(2**63), 10**400]),
    st.sampled_from([0.0, 1.0, 1.5, -1.0, 1e40, math.nan, math.inf, 2.0**60]),
    st.sampled_from([np.int64(3), np.float32(2), np.bool_(True), np.str_("a"), pd.NA, pd.NaT]),
    st.sampled_from(
        [decimal.Decimal(2), 1 + 2j, datetime(2024, 1, 31), np.timedelta64(1, "s"), object]
    ),
)


def as_objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def wrapped(inner):
    some = st.lists(inner, max_size=3)
    return st.one_of(
        some,
        some.map(tuple),
        some.map(lambda values: pd.Series(values, index=range(len(values), 0, -1), dtype=object)),
        st.lists(leaf, max_size=3).map(as_objects),
        st.sets(text, max_size=3),
        st.dictionaries(text, inner, max_size=2),
        some.map(iter),
    )


junk = st.recursive(leaf, wrapped, max_leaves=8)
texts = st.lists(text, max_size=3)
likely = st.one_of(junk, texts, st.lists(texts, min_size=2, max_size=2), st.lists(leaf, max_size=2))
settings.register_profile("junk", max_examples=250, deadline=None)


def tried(inputs, name, value):
    """The array of an argument of a request for two users; None where it is refused."""
    request = {"user_id": ["a", "b"] if inputs is INPUTS else [1, 2]}
    try:
        return batch(inputs, "user_id", {**request, name: value})[name]
    except (TypeError, ValueError) as error:
        assert "\n" not in str(error) and name in str(error) and len(str(error)) < 2000
        return None


def listed(value, sets=False):
    """The elements of what is a list here; None for all else."""
    if isinstance(value, (list, tuple, np.ndarray, pd.Series)):
        return list(value)
    return sorted(value, key=repr) if sets and isinstance(value, set) else None


def is_text(value):
    """Whether a value is a text id, in str or in bytes."""
    try:
        return bool((value.encode if isinstance(value, str) else value.decode)() or True)
    except (AttributeError, UnicodeError):
        return False


def is_whole(value):
    if isinstance(value, (float, np.floating)):
        return math.isfinite(value) and value == int(value) and abs(value) < 2**53
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))
    return whole and -(2**63) <= value < 2**63


def plain(value):
    return value.decode() if isinstance(value, bytes) else value


def without_padding(lines, padding):
    return [[each for each in line if each != padding] for line in lines]


def lists_by_hand(value, is_id, sets):
    """What lists of ids for two users plainly say; None where they say nothing plain."""
    if value is None:
        return [[], []]
    lists = listed(value, sets)
    if lists is not None and all(map(is_id, lists)):
        lists = [lists, lists]
    elif lists is not None:
        lists = [listed(each, sets) for each in lists]
    if lists is None or len(lists) != 2 or any(each is None for each in lists):
        return None
    if not all(is_id(each) for line in lists for each in line):
        return None
    return [[plain(each) for each in line] for line in lists]


@pytest.mark.parametrize("name", ["exclude", "history"])
@settings(settings.get_profile("junk"))
@given(value=likely)
@example(value=[["i1"], "i2"])
@example(value=["i1\0", "i2"])
@example(value={"i1": 1})
@example(value={"i1"})
def test_lists_of_text_ids(name, value):
    expected = lists_by_hand(value, is_text, sets=name == "exclude")
    found = tried(INPUTS, name, value)
    if found is not None:
        found = without_padding(found.tolist(), "")
        assert expected is not None
        if isinstance(value, set) or any(isinstance(each, set) for each in listed(value) or []):
            found, expected = map(sorted, found), map(sorted, expected)
        assert list(found) == without_padding(list(expected), "")
    elif expected is not None:  # refused for no reason but ids in str beside ids in bytes
        assert any(isinstance(one, bytes) for one in flattened(value))


def flattened(value):
    lists = listed(value, sets=True)
    return [value] if lists is None else [one for each in lists for one in flattened(each)]


@settings(settings.get_profile("junk"))
@given(value=likely)
@example(value=[1, True])
@example(value=[[1], 2])
def test_lists_of_whole_ids(value):
    expected = lists_by_hand(value, is_whole, sets=True)
    found = tried(WHOLE, "exclude", value)
    if found is not None:
        assert without_padding(found.tolist(), -1) == without_padding(expected, -1)
    elif expected is not None:  # a float makes floats of all, and one of these is too large
        assert any(isinstance(one, (float, np.floating)) for one in flattened(value))


@settings(settings.get_profile("junk"))
@given(value=junk)
@example(value=[["a"], ["b"]])
@example(value="u1\0")
def test_users(value):
    try:
        found = batch(INPUTS, "user_id", {"user_id": value})["user_id"].tolist()
    except (TypeError, ValueError) as error:
        assert "\n" not in str(error) and "user_id" in str(error)
        return
    ids = [value] if listed(value) is None else listed(value)
    assert found == [plain(one) if isinstance(one, (str, bytes)) else "" for one in ids]
    assert all(is_text(one) or pd.isna(one) for one in ids)


def one_or_each(value):
    """The values for two users, of one or of a list of two; None for another form."""
    values = [value, value] if listed(value) is None else listed(value)
    return values if len(values) == 2 else None


@settings(settings.get_profile("junk"))
@given(value=st.one_of(junk, st.lists(st.booleans(), min_size=2, max_size=2)))
@example(value="false")
@example(value=[1, 0])
def test_flags(value):
    values = [False, False] if value is None else one_or_each(value)
    flags = values is not None and all(isinstance(each, (bool, np.bool_)) for each in values)
    found = tried(INPUTS, "exclude_seen", value)
    assert (found is not None) == flags
    assert found is None or found.tolist() == values


@settings(settings.get_profile("junk"))
@given(value=st.one_of(junk, st.lists(leaf, min_size=2, max_size=2)))
@example(value=[["phone"], ["tv"]])
def test_a_column_of_text(value):
    found = tried(INPUTS, "city", value)
    if found is None:
        return
    for one, given_value in zip(found.tolist(), one_or_each(value), strict=True):
        if isinstance(given_value, (str, bytes)):
            assert one == plain(given_value)
        elif given_value is None or pd.isna(given_value):
            assert one == ""
        else:
            assert isinstance(given_value, (bool, int, float, *SCALARS))
            assert one and not isinstance(given_value, type)


SCALARS = (np.number, np.bool_, decimal.Decimal, datetime)


@settings(settings.get_profile("junk"))
@given(value=st.one_of(junk, st.lists(leaf, min_size=2, max_size=2)))
@example(value=1e40)
@example(value=[[1], [2]])
def test_a_column_of_numbers(value):
    found = tried(INPUTS, "age", value)
    if found is None:
        return
    assert not np.isinf(found).any()
    for one, given_value in zip(found.tolist(), one_or_each(value), strict=True):
        if given_value is None or pd.isna(given_value):
            assert math.isnan(one)
        elif isinstance(given_value, (bool, int, float, np.number, np.bool_, decimal.Decimal)):
            small = abs(given_value) < 3.4e38  # in float32's range
            assert one == float(given_value) if small else math.isnan(one)
        elif isinstance(given_value, datetime):
            assert one == (given_value - datetime(1970, 1, 1)).total_seconds()
        else:
            assert given_value in ("", b"") and math.isnan(one)


@settings(settings.get_profile("junk"))
@given(value=st.one_of(junk, st.lists(st.lists(leaf, min_size=2, max_size=2), max_size=2)))
def test_a_column_of_vectors(value):
    found = tried(INPUTS, "taste", value)
    if found is None:
        return
    assert found.shape == (2, 2) and (np.isfinite(found).all(1) | np.isnan(found).all(1)).all()
    values = [value, value] if value is None else listed(value)
    if not any(listed(each) for each in values):
        values = [values, values] if any(each is not None for each in values) else [None, None]
    for one, given_value in zip(found, values, strict=True):
        numbers = [math.nan, math.nan] if given_value is None else listed(given_value)
        numbers = np.array([math.nan if each is None else float(each) for each in numbers])
        if (np.abs(numbers) < 3.4e38).all():
            np.testing.assert_array_equal(one, numbers.astype(np.float32))
        else:
            assert np.isnan(one).all()


@pytest.fixture(scope="module")
def popular():
    log = Interactions.from_columns(user_id=[*"aaab"], item_id=["a", "b", "a\0", "a"])
    return Popularity().fit(log, Catalog.fit(log))


@settings(settings.get_profile("junk"))
@given(exclude=likely, allow=likely, seen=st.one_of(st.booleans(), leaf), k=leaf)
def test_an_answer_is_that_of_the_plain_request(popular, exclude, allow, seen, k):
    users = ["a", "b"]
    lists = [lists_by_hand(value, is_text, sets=True) for value in (exclude, allow)]
    try:
        items, _ = popular.recommend(users, k, exclude=exclude, allow=allow, exclude_seen=seen)
    except (TypeError, ValueError) as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
        return
    assert isinstance(k, (int, np.integer)) and not isinstance(k, bool) and 1 <= k <= 3
    assert None not in lists and (seen is None or isinstance(seen, (bool, np.bool_)))
    had = {"a": ["a", "b", "a\0"], "b": ["a"]}
    order = popular.catalog.items.decode(popular.order[:3]).tolist()
    for user, line, out, only in zip(users, items, *lists, strict=True):
        out = [*out, *(had[user] if seen else [])]
        only = [each for each in only if each] or order
        expected = [each for each in order if each in only and each not in out][:k]
        assert line.tolist() == expected + [""] * (k - len(expected))
