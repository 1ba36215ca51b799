import inspect

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.features import Categorical, Id, MultiValued, Numeric, Text
from tf_recall.features.base import RESERVED, to_text
from tf_recall.recommend.base import Recommender
from tf_recall.towers.features import FeatureTower


def adapted(feature, values):
    feature.adapt(feature.to_raw(values))
    return feature


def test_text_columns_keep_integers_whole_and_missing_values_empty():
    assert to_text(pd.Series([3.0, np.nan, 4.0])).tolist() == ["3", "", "4"]
    assert to_text(pd.Series([2.5, np.nan])).tolist() == ["2.5", ""]
    assert to_text(pd.Series(["a", None, b"b", True], dtype=object)).tolist() == [
        "a",
        "",
        "b",
        "True",
    ]


def test_categorical_rows_are_ordered_by_count_and_0_is_unseen():
    feature = adapted(Categorical("c"), ["x", "y", "y", None])
    assert feature.encode(tf.constant(["y", "x", "z", ""])).numpy().tolist() == [1, 2, 0, 0]
    assert feature.missing(tf.constant(["", "x"])).numpy().tolist() == [True, False]


def test_categorical_keeps_only_the_most_frequent():
    feature = adapted(Categorical("c", max_size=1), ["x", "y", "y"])
    assert feature.table.num_rows == 2
    assert feature.encode(tf.constant(["y", "x"])).numpy().tolist() == [1, 0]


def test_a_category_with_a_line_break_is_one_category():
    feature = adapted(Categorical("c"), ["two\nlines", "tab\tbed"])
    assert sorted(feature.encode(tf.constant(["two\nlines", "tab\tbed"])).numpy().tolist()) == [
        1,
        2,
    ]


def test_multi_valued_is_the_mean_of_known_values():
    feature = adapted(MultiValued("g", dim=2), ["a|b", "a", None])
    codes = feature.encode(tf.constant(["b|a", " a ", "new|b", "", "new"]))
    assert codes.numpy().tolist() == [[2, 1], [1, 0], [2, 0], [0, 0], [0, 0]]
    feature.table.embeddings.assign([[9, 9], [1, 2], [3, 6]])
    # (3+1)/2 and (6+2)/2; a alone; b alone; nothing known gives zeros, not row 0
    assert feature(codes).numpy().tolist() == [[2, 4], [1, 2], [3, 6], [0, 0], [0, 0]]


def test_multi_valued_takes_lists_and_text_alike():
    feature = MultiValued("g")
    assert feature.to_raw([["a", "b"], "a|b", None, np.array(["c"])]).tolist() == [
        "a|b",
        "a|b",
        "",
        "c",
    ]


def test_text_is_lower_case_words_without_punctuation():
    feature = adapted(Text("t"), ["Heat (1995)", "The HEAT!", "Amélie"])
    assert feature.vocabulary.ids[0] == "heat"
    assert set(feature.vocabulary.ids) == {"heat", "1995", "the", "amélie"}
    same = feature.encode(tf.constant(["heat...1995", "HEAT 1995", "heat unseen 1995"])).numpy()
    assert (same == same[0]).all()
    assert feature.encode(tf.constant(["AMÉLIE"])).numpy()[0, 0] > 0


def test_text_keeps_length_known_words():
    feature = adapted(Text("t", length=2), ["a b c d"])
    assert feature.encode(tf.constant(["zzz a b c"])).shape == (1, 2)
    assert (feature.encode(tf.constant(["zzz a b c"])).numpy() > 0).all()


@pytest.mark.parametrize("feature", [Categorical("c"), MultiValued("c"), Text("c")])
def test_a_column_of_nothing_still_works(feature):
    adapted(feature, [None, None])
    vectors = feature(feature.encode(tf.constant(["", "x"]))).numpy()
    assert vectors.shape == (2, feature.dim) and np.isfinite(vectors).all()


def test_id_shows_a_share_of_the_training_rows_as_unknown():
    feature = Id(4, unknown_rate=0.25)
    feature.build_from_config({"num_rows": 20_001})
    feature.table.embeddings.assign(np.arange(4 * 20_001).reshape(-1, 4))
    rows = tf.range(1, 20_001)
    unknown = []
    for _ in range(2):
        unknown.append(feature(rows, training=True).numpy()[:, 0] == 0)
        assert (
            unknown[-1] == (feature(rows, training=True).numpy()[:, 0] == 0)
        ).all()  # the same within a step
        feature.end_step()
    assert abs(unknown[0].mean() - 0.25) < 0.02  # deviation sqrt(.25*.75/20000) = 0.003
    assert (unknown[0] != unknown[1]).any()  # each step draws anew
    assert (feature(rows).numpy()[:, 0] == 4 * rows.numpy()).all()  # serving shows every id


@pytest.mark.parametrize(
    "feature",
    [Id(5, 0.2, 7), Categorical("c", 3, 9), MultiValued("m", 3, 9, 4, ","), Text("t", 3, 9, 4)],
)
def test_config_round_trip_loses_no_argument(feature):
    config = keras.saving.serialize_keras_object(feature)["config"]
    again = type(feature).from_config(config)
    assert again.get_config() == feature.get_config()
    names = {"width": "dim"}
    fields = {
        k: v
        for k, v in vars(feature).items()
        if names.get(k, k) in config and not k.startswith("_")
    }
    assert {k: getattr(again, k) for k in fields} == fields


def test_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"unknown_rate must be in \[0, 1\), not 1"):
        Id(4, unknown_rate=1)
    with pytest.raises(ValueError, match="length must be at least 1"):
        Text("t", length=0)


def test_a_column_that_no_request_could_carry_is_refused_at_once():
    names = ("user_id", "allow", "k", "num", "row", "self", "User_ID", "EXCLUDE", "class", "None")
    for name in (*names, "release year", "año", "2nd"):
        with pytest.raises(ValueError, match=f"cannot carry a column '{name}'"):
            Categorical(name)


def test_no_column_has_the_name_of_an_argument():
    methods = ("recommend", "recommend_rows", "recommend_sources", "similar", "explain")
    arguments = set()
    for method in methods:
        parameters = inspect.signature(getattr(Recommender, method)).parameters.values()
        arguments |= {each.name for each in parameters if each.kind != each.VAR_KEYWORD}
    assert arguments <= set(RESERVED)


def test_columns_of_a_tower_do_not_differ_in_case_alone():
    with pytest.raises(ValueError, match="ignores case: rename one of Age, age"):
        FeatureTower("user", [Categorical("age"), Numeric("Age"), Categorical("city")])
    same = [Categorical("age"), Categorical("age", name="again"), Categorical("ages")]
    assert len(FeatureTower("user", same).features) == 3
