"""Negatives that share an attribute with the positive: log q by hand, draws against log q, whose
group it is.
"""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.negatives import SameGroup

COUNTS = np.array([0, 50, 10, 40, 20, 5, 25, 0, 30])
TABLE = pd.DataFrame(
    {
        "city": ["a", "a", "b", "b", "b", None, "", "c"],
        "zip": [1, 1, 2, 2, 2, 3, 3, 1],
        "genres": ["x|y", "x", "y | z", "z", "x|y|z", "", None, "w|"],
        "lists": [
            ["x", "y"],
            ["x"],
            ("y", "z"),
            ["z"],
            ["x", "y", "z", "x"],
            [],
            None,
            np.array(["w"]),
        ],
    }
)
CASES = {
    "one value": ("city", None),
    "numbers": ("zip", None),
    "several": ("genres", "|"),
    "lists": ("lists", None),
}
GENRES = [{"x", "y"}, {"x"}, {"y", "z"}, {"z"}, {"x", "y", "z"}, set(), set(), {"w"}]
GROUPS = {
    "one value": [{"a"}, {"a"}, {"b"}, {"b"}, {"b"}, {None}, {None}, {"c"}],
    "numbers": [{value} for value in TABLE["zip"]],
    "several": [genres or {None} for genres in GENRES],
    "lists": [genres or {None} for genres in GENRES],
}


@pytest.fixture(params=CASES)
def case(request):
    column, separator = CASES[request.param]
    sampler = SameGroup(column, num=10, separator=separator)
    sampler.adapt(COUNTS, TABLE)
    return sampler, GROUPS[request.param]


def test_one_group_each_by_hand():
    sampler = SameGroup("city")
    sampler.adapt([0, 3, 1, 4, 0], pd.DataFrame({"city": ["a", "a", "b", None]}))
    # the item never counted counts once: 9 in all. P(a) = 4/9 over 2 items, P(b) = 4/9 over 1,
    # P(nothing) = 1/9
    np.testing.assert_allclose(
        np.exp(sampler.log_q([1, 2, 3, 4])), [2 / 9, 2 / 9, 4 / 9, 1 / 9], rtol=1e-5
    )


def test_several_groups_by_hand():
    sampler = SameGroup("genres", separator="|")
    sampler.adapt([0, 2, 1, 1], pd.DataFrame({"genres": ["x|y", "x", "y"]}))
    # P(x) = 1/2 * 2/4 + 1/4 = 1/2 over items 1 and 2, P(y) = 1/4 + 1/4 over 1 and 3: item 1 costs
    # 1/4 + 1/4
    np.testing.assert_allclose(np.exp(sampler.log_q([1, 2, 3])), [1 / 2, 1 / 4, 1 / 4], rtol=1e-5)


@pytest.mark.parametrize(
    "values, like",
    [
        ([40.0, 40, "40", 38.5], "aaab"),
        (["é", "e\u0301", "E", None], "aab "),
        ([1, True, 1.0, np.nan], "aba "),
        ([[1.0, "x"], [1], ["x", None], []], ["a|b", "a", "b", ""]),
    ],
)
def test_groups_are_known_by_the_text_of_a_value(values, like):
    tables = [pd.DataFrame({"g": pd.Series(each, dtype=object)}) for each in (values, [*like])]
    samplers = [SameGroup("g", separator="|"), SameGroup("g", separator="|")]
    for sampler, table in zip(samplers, tables, strict=True):
        sampler.adapt([0, 4, 3, 2, 1], table)
    np.testing.assert_array_equal(*[sampler.log_q([1, 2, 3, 4]) for sampler in samplers])


def test_draws_match_log_q(case, batch_of, assert_drawn):
    sampler, _ = case
    share = np.maximum(COUNTS, 1) * (np.arange(9) > 0)
    positives = np.random.default_rng(0).choice(9, 20_000, p=share / share.sum())
    (candidates,) = sampler.draw(batch_of(positives))
    assert candidates.ids.shape == (20_000, 10) and candidates.valid is None
    assert_drawn(candidates.ids[:, 0], sampler.log_q(range(9)))


def test_the_group_is_that_of_the_row(case, batch_of):
    sampler, groups = case
    positives = np.random.default_rng(1).integers(1, 9, 300)
    batch = batch_of(positives)
    (candidates,) = sampler.draw(batch)
    np.testing.assert_array_equal(candidates.vectors, batch.embed(candidates.ids))
    for positive, ids in zip(positives, candidates.ids.numpy(), strict=True):
        assert all(groups[positive - 1] & groups[row - 1] for row in ids)


def test_the_rows_of_a_batch_draw_differently(batch_of):
    sampler = SameGroup("city", num=1000)
    sampler.adapt(np.ones(100), pd.DataFrame({"city": ["a"] * 99}))
    (candidates,) = sampler.draw(batch_of([1, 1]))
    assert np.mean(candidates.ids[0] == candidates.ids[1]) < 0.05


def test_an_unknown_positive_draws_items(case, batch_of):
    sampler, _ = case
    (candidates,) = sampler.draw(batch_of([0, 0]))
    assert np.all(candidates.ids > 0) and np.all(np.isfinite(sampler.log_q([0])))


def test_a_replica_draws_its_rows_of_the_whole(case, batch_of):
    sampler, _ = case
    batch = batch_of([1, 3, 5, 7, 8, 2])
    (whole,) = sampler.draw(batch)
    for first in (0, 2, 4):
        (part,) = sampler.draw(
            batch._replace(query=batch.query[first : first + 2], first=tf.constant(first))
        )
        np.testing.assert_array_equal(part.ids, whole.ids[first : first + 2])
        np.testing.assert_array_equal(part.vectors, whole.vectors[first : first + 2])


def test_a_replica_of_unknown_sizes_too(case, batch_of):
    sampler, _ = case
    batch = batch_of([1, 3, 5, 7, 8, 2])
    (whole,) = sampler.draw(batch)
    unknown = [tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int32)]
    draw = tf.function(
        lambda query, rows: (
            sampler.draw(batch._replace(query=query, positives=rows, first=2))[0].ids
        ),
        unknown,
    )
    np.testing.assert_array_equal(draw(batch.query[2:5], batch.positives), whole.ids[2:5])


def test_the_seed_and_the_step_decide(batch_of):
    def ids(seed=0, **fields):
        sampler = SameGroup("zip", num=200, seed=seed)
        sampler.adapt(COUNTS, TABLE)
        return sampler.draw(batch_of([3, 4, 5], **fields))[0].ids.numpy()

    first = ids(step=2)
    np.testing.assert_array_equal(first, ids(step=tf.constant(2, tf.int64)))
    for other in (ids(step=3), ids(step=2, position=(1,)), ids(seed=1, step=2)):
        assert np.mean(first == other) < 1 / 3 + 0.1


def test_same_draws_under_xla(case, batch_of):
    sampler, _ = case
    plain, compiled = (
        tf.function(
            lambda step: sampler.draw(batch_of([1, 4, 5], step=step))[0].ids, jit_compile=jit
        )(tf.constant(7))
        for jit in (False, True)
    )
    np.testing.assert_array_equal(plain, compiled)


def test_adapt_again_follows_the_counts(case):
    sampler, _ = case
    before, num_weights = sampler.log_q(range(1, 9)).numpy(), len(sampler.weights)
    sampler.adapt(COUNTS[::-1].copy(), TABLE)
    assert (
        not np.allclose(sampler.log_q(range(1, 9)), before) and len(sampler.weights) == num_weights
    )


@pytest.mark.parametrize("table", [None, TABLE[["zip", "city"]]])
def test_misses_the_column(table):
    with pytest.raises(
        ValueError, match=r"SameGroup needs column 'genre' of the items; there are \["
    ):
        SameGroup("genre").adapt(COUNTS, table)
