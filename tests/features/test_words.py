import inspect
import unicodedata

import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf

from tf_recall.features import Categorical, Id, MultiValued, Numeric, Text
from tf_recall.features.bags import values_of
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


def test_a_category_is_known_by_its_value_alone():
    feature = adapted(Categorical("c"), pd.Series([38.0, 38.5, 40.0, 40.0, None]))
    assert feature.vocabulary.ids.tolist() == ["40", "38", "38.5"]
    for values in ([40.0], [40.0, 38.5], [40], ["40"], [np.float32(40)], pd.Series([40, None])):
        assert feature.encode(tf.constant(feature.to_raw(values))).numpy()[0] == 1


def test_a_category_is_one_however_it_is_encoded():
    feature = adapted(Categorical("c"), ["Café", "Cafe\u0301", "café", "Cafe"])
    assert sorted(feature.vocabulary.ids) == ["Cafe", "Café", "café"]
    codes = feature.encode(tf.constant(["Café", "Cafe\u0301", "CAFÉ"])).numpy().tolist()
    assert codes == [1, 1, 0]


def test_bytes_that_are_no_text_are_a_category_too():
    feature = adapted(Categorical("c"), [b"a\xff", b"a"])
    assert feature.encode(tf.constant([b"a\xff", b"a"])).numpy().tolist() == [2, 1]


def test_a_list_is_no_category():
    with pytest.raises(TypeError, match=r"'c': .*got the list \['a'\]. For lists use MultiValued"):
        Categorical("c").to_raw([["a"]])


def test_values_of_lists_are_those_of_a_column():
    feature = MultiValued("g")
    lists = [[40.0, 38.5], [40, None, np.nan, ""], (True,), {"b", "a"}, frozenset(), "x|y", 7.0]
    texts = ["40|38.5", "40", "True", "a|b", "", "x|y", "7"]
    assert feature.to_raw(lists).tolist() == texts
    assert [feature.to_raw([value])[0] for value in lists] == texts
    for column in (pl.Series([[1.5, None], [], None]), pa.array([[1.5, None], [], None])):
        assert feature.to_raw(column).tolist() == ["1.5", "", ""]
    with pytest.raises(TypeError, match="got the list"):
        feature.to_raw([[["a"]]])


def test_all_values_of_a_column_and_their_lines():
    lines, values = values_of([["a", 1.0], "a|b", None, "e\u0301", 1])
    assert list(zip(lines.tolist(), values, strict=True)) == [
        (0, "a"),
        (0, "1"),
        (1, "a|b"),
        (3, "é"),
        (4, "1"),
    ]
    lines, values = values_of(["a| b", ["c"]], separator="|")
    assert lines.tolist() == [0, 0, 1] and values.tolist() == ["a", "b", "c"]


def words_of(text):
    words = Text("t").split(tf.constant([text]))
    return [word.decode() for word in words.numpy()[0]]


@pytest.mark.parametrize(
    "text, words",
    [
        ("हिन्दी किताब, नई दिल्ली", ["हिन्दी", "किताब", "नई", "दिल्ली"]),
        ("தமிழ் புத்தகம்", ["தமிழ்", "புத்தகம்"]),
        ("বাংলা বই", ["বাংলা", "বই"]),
        ("السَّلَامُ عَلَيْكُم", ["السَّلَامُ", "عَلَيْكُم"]),
        ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
        ("กาแฟร้อน น้ำชา", ["กาแฟร้อน", "น้ำชา"]),  # no blanks between words: runs
        ("Tiếng Việt", ["tiếng", "việt"]),
        ("Tie\u0302\u0301ng Vie\u0323\u0302t", ["tiếng", "việt"]),
        ("E\u0301te\u0301 d'AMÉLIE", ["été", "d", "amélie"]),
        ("한국 영화", ["한국", "영화"]),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", ["한국"]),
        ("İstanbul ISTANBUL ısı", ["i\u0307stanbul", "istanbul", "ısı"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ΛΌΓΟΣ λόγος", ["λόγοσ", "λόγοσ"]),
        ("Москва́ ЁЛКА", ["москва́", "ёлка"]),
        ("東京タワー 2024年", ["東", "京", "タワー", "2024", "年"]),
        ("ひらがな", ["ひ", "ら", "が", "な"]),
        ("か\u3099", ["が"]),
        ("ソニー", ["ソニー"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("word\u200bbreak", ["word", "break"]),
        ("co\u00adop", ["coop"]),
        ("naïve_co-op's 3½ x²", ["naïve", "co", "op", "s", "3½", "x²"]),
        ("I ❤\ufe0f NY 😀👩\u200d💻", ["i", "ny"]),
        ("=\u0338 \u0301a ❤\u0301b", ["a", "b"]),  # marks on what is no letter
        ("a\u00a0b\u3000c\td\ne", ["a", "b", "c", "d", "e"]),
        ("a\0B", ["a", "b"]),
        ("", []),
        ("... !", []),
    ],
)
def test_words_of_many_scripts(text, words):
    assert words_of(text) == [unicodedata.normalize("NFC", word) for word in words]
    assert words_of(unicodedata.normalize("NFD", text)) == words_of(text)


def test_a_text_in_the_graph_has_the_codes_of_the_column():
    titles = ["हिन्दी किताब", "été rouge", "e\u0301te\u0301 bleu", None, "STRASSE", "\ud83d"]
    feature = adapted(Text("t"), titles)
    codes = feature.encode_column(feature.to_raw(titles))
    assert codes[1][0] == codes[2][0] > 0 and (codes[0] > 0).sum() == 2
    one = tf.function(feature.encode, [tf.TensorSpec([None], tf.string)])
    for title, code in zip(titles[:5], codes, strict=False):
        assert one(tf.constant([title or ""])).numpy()[0].tolist() == code.tolist()
    assert (one(tf.constant(["straße"])).numpy() == codes[4]).all()


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
