"""Views of items: what each leaves out, by its effect, by hand and by a loop."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.features import Categorical, Id, MultiValued
from tf_recall.features.views import (
    Complementary,
    CorrelatedMask,
    RandomMask,
    ValueDropout,
    group_size,
    mutual_information,
)

NUM = 400
NAMES = ("id", "brand", "tags", "size")


def codes_of(num=NUM):
    """Codes of four features, none of them 0 but for padding, and those of the unknown item."""
    rng = np.random.default_rng(0)
    tags = np.zeros((num, 6), np.int32)
    tags[:, :4] = rng.integers(1, 9, (num, 4))
    whole = {
        "id": np.arange(1, num + 1, dtype=np.int32),
        "brand": rng.integers(1, 9, num).astype(np.int32),
        "tags": tags,
        "size": rng.uniform(1, 2, (num, 1)).astype(np.float32),
    }
    unknown = {name: np.zeros_like(of_rows[0]) for name, of_rows in whole.items()}
    return whole, unknown


def changed(view, step=0):
    """Which features each view leaves out of each item, `[N, F]` each, and the codes."""
    whole, unknown = codes_of()
    view.adapt({name: np.concatenate([unknown[name][None], whole[name]]) for name in NAMES})
    tensors = tf.nest.map_structure(tf.constant, (whole, whole, unknown))
    pair = view.change(*tensors, tf.constant([7, step], tf.int64))
    pair = tf.nest.map_structure(np.asarray, pair)
    hidden = [
        np.stack([~codes[name].reshape(NUM, -1).any(axis=1) for name in NAMES], axis=1)
        for codes in pair
    ]
    return hidden, pair, whole


@pytest.mark.parametrize("view", [RandomMask(0.4), ValueDropout(0.4), Complementary()])
def test_a_seed_and_a_step_say_all(view):
    once, again, other = changed(view), changed(view), changed(view, step=1)
    for one, same in zip(tf.nest.flatten(once[1]), tf.nest.flatten(again[1]), strict=True):
        np.testing.assert_array_equal(one, same)
    steps = [changed(view, step)[1] for step in range(6)]
    assert any(
        (one != two).any()
        for step in steps
        for one, two in zip(tf.nest.flatten(step), tf.nest.flatten(other[1]), strict=True)
    )


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_a_random_mask_leaves_out_whole_features(rate):
    hidden, pair, whole = changed(RandomMask(rate))
    for of_view, codes in zip(hidden, pair, strict=True):
        for at, name in enumerate(NAMES):
            kept = ~of_view[:, at]
            np.testing.assert_array_equal(codes[name][kept], whole[name][kept])
        # all but the few that are kept lest an item has nothing: rate^4 of the items have one
        expected = rate - rate**4 / 4
        assert of_view.mean() == pytest.approx(expected, abs=0.04)
        assert not of_view.all(axis=1).any()
    expected = 2 * expected * (1 - expected)  # drawn apart
    assert (hidden[0] != hidden[1]).mean() == pytest.approx(expected, abs=0.06)


def test_dropout_leaves_out_values_of_lists_alone():
    hidden, pair, whole = changed(ValueDropout(0.6))
    for codes in pair:
        for name in ("id", "brand", "size"):
            np.testing.assert_array_equal(codes[name], whole[name])
        there, before = codes["tags"] > 0, whole["tags"] > 0
        np.testing.assert_array_equal(codes["tags"][there], whole["tags"][there])
        assert there.any(axis=1).all() and not there[~before].any()
        # of four values 0.4 * 4 are kept, and one where none would be: + 0.6^4
        assert there.sum(axis=1).mean() == pytest.approx(1.6 + 0.6**4, abs=0.1)
    assert (pair[0]["tags"] != pair[1]["tags"]).any()


def test_what_one_view_shows_the_other_leaves_out():
    seen = set()
    for step in range(40):
        (first, second), _, _ = changed(Complementary(), step)
        assert (first == first[0]).all() and (second == ~first).all() and first[0].sum() == 2
        seen.add(tuple(first[0]))
    assert len(seen) == 6  # all ways to choose two of four


def test_mutual_information_by_hand():
    """Four items of two colors and two shapes; a third feature is the color by other names.

    Color and shape are independent: 0. Color and name: log 2. With one item changed, joint shares
    (1/2, 1/4, 0, 1/4): 1/2 log(2/3 * 2) + 1/4 log(2/3) + 1/4 log(2) ... = 0.215762.
    """
    color, shape, name, close = ([0, 1, 1, 2, 2], [0, 1, 2, 1, 2], [0, 5, 5, 3, 3], [0, 1, 1, 1, 2])
    found = mutual_information([np.array(x, np.int32) for x in (color, shape, name, close)])
    assert found[0, 1] == pytest.approx(0, abs=1e-6)
    assert found[0, 2] == found[0, 0] == pytest.approx(math.log(2), rel=1e-6)
    # p(1,1) = 1/2, p(2,1) = 1/4, p(2,2) = 1/4; p(color) = 1/2 each, p(close) = 3/4, 1/4
    by_hand = 0.5 * math.log(0.5 / (0.5 * 0.75))
    by_hand += 0.25 * math.log(0.25 / (0.5 * 0.75)) + 0.25 * math.log(0.25 / (0.5 * 0.25))
    assert found[0, 3] == pytest.approx(by_hand, rel=1e-6) == pytest.approx(0.215762, rel=1e-5)


def test_mutual_information_against_a_loop():
    rng = np.random.default_rng(1)
    tags = rng.integers(0, 4, (60, 3)).astype(np.int32)
    brand = np.maximum(tags[:, 0], rng.integers(0, 3, 60)).astype(np.int32)
    found = mutual_information([tags, brand])

    def values(of_item):
        known = [value for value in np.atleast_1d(of_item) if value > 0]
        return known or [0]

    joint = {}
    for item in range(1, 60):
        pairs = list(itertools.product(values(tags[item]), values(brand[item])))
        for pair in pairs:
            joint[pair] = joint.get(pair, 0) + 1 / len(pairs) / 59
    left, right = {}, {}
    for (a, b), share in joint.items():
        left[a] = left.get(a, 0) + share
        right[b] = right.get(b, 0) + share
    expected = sum(p * math.log(p / (left[a] * right[b])) for (a, b), p in joint.items())
    assert found[0, 1] == pytest.approx(expected, rel=1e-5) == pytest.approx(found[1, 0], rel=1e-5)


def test_numbers_that_follow_from_one_another_are_tied():
    rng = np.random.default_rng(0)
    x, other = rng.uniform(size=(2, 3000, 1)).astype(np.float32)
    found = mutual_information([x, 3 * x**3, other])
    assert found[0, 1] > 10 * found[0, 2] > 0


def test_features_that_are_tied_are_left_out_together():
    """Brand and maker are one and the same; so are color and hue: no view has one of a pair."""
    rng = np.random.default_rng(0)
    brand, color = rng.integers(1, 5, (2, NUM + 1)).astype(np.int32)
    whole = {"brand": brand, "color": color, "maker": 9 - brand, "hue": 9 - color}
    for of_rows in whole.values():
        of_rows[0] = 0
    view = CorrelatedMask()
    view.adapt(whole)
    tensors = {name: tf.constant(of_rows[1:]) for name, of_rows in whole.items()}
    unknown = {name: tf.constant(0) for name in whole}
    firsts = set()
    for step in range(40):
        pair = view.change(tensors, tensors, unknown, tf.constant([3, step], tf.int64))
        hidden = [[not np.asarray(codes[name]).any() for name in whole] for codes in pair]
        assert hidden[0] == [not each for each in hidden[1]]
        assert sum(hidden[0]) == group_size(4) == 3
        (kept,) = np.flatnonzero(~np.array(hidden[0]))
        firsts.add(int(kept))
    # the feature that is not in the group is never the twin of the one drawn
    assert len(firsts) > 1
    assert [group_size(num) for num in (2, 3, 5, 6)] == [1, 2, 3, 4]


def test_who_has_nothing_to_leave_out():
    one, two = [Id(4)], [Id(4), Categorical("brand")]
    for view in (RandomMask, Complementary, CorrelatedMask):
        assert "several features" in view.unfit(one) and view.unfit(two) is None
    assert "MultiValued or Text" in ValueDropout.unfit(two)
    assert ValueDropout.unfit([MultiValued("tags")]) is None
    for kind in (RandomMask, ValueDropout):
        with pytest.raises(ValueError, match="rate must be above 0 and below 1, not 1"):
            kind(1)
