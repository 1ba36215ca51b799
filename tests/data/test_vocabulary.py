import collections
import gc
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tf_recall.data.ids import is_missing, kind_of, raw_ids
from tf_recall.data.vocabulary import Vocabulary

ODD = ["a\x00b", "a\x85b", "a\u2028b", "\ufeff", '"', " tea", "tea "]
STRINGS = ["tea", "rum", "tea", "Ärger", "日本", "007", "7", "nan", "😀", "rum", "tea", *ODD]
INTEGERS = [5, -3, 5, 0, 2**63 - 1, -(2**63), 2**53 + 1, 2**53, 5]


def test_rows_fall_by_count_and_ties_are_ordered_by_id():
    # counts: b 3, a 2, c 2, d 1; a before c; extra e and d: d is known, e gets count 0
    vocabulary = Vocabulary.fit(list("bcabcabd"), extra=["e", "d"])
    assert vocabulary.ids.tolist() == ["b", "a", "c", "d", "e"]
    assert vocabulary.counts.tolist() == [0, 3, 2, 2, 1, 0]
    assert vocabulary.size == len(vocabulary) == 6
    assert vocabulary.encode(["e", "b", "zz"]).tolist() == [5, 1, 0]

    vocabulary = Vocabulary.fit([30, 4, 4, -7], extra=np.array([100, 2]))
    assert vocabulary.ids.tolist() == [4, -7, 30, 2, 100]
    assert vocabulary.counts.tolist() == [0, 2, 1, 1, 0, 0]


@pytest.mark.parametrize("ids", [STRINGS, INTEGERS], ids=["string", "int64"])
def test_the_order_of_the_lines_does_not_matter_and_a_counter_agrees(ids):
    counter = collections.Counter(ids)
    expected = sorted(counter, key=lambda one: (-counter[one], one))
    for seed in range(3):
        shuffled = [ids[place] for place in np.random.default_rng(seed).permutation(len(ids))]
        vocabulary = Vocabulary.fit(shuffled)
        assert vocabulary.ids.tolist() == expected
        assert vocabulary.counts[1:].tolist() == [counter[one] for one in expected]


@pytest.mark.parametrize("ids", [STRINGS, INTEGERS], ids=["string", "int64"])
def test_encode_and_lookup_agree_with_a_dictionary(ids):
    vocabulary = Vocabulary.fit(ids)
    rows = {one: row for row, one in enumerate(vocabulary.ids.tolist(), start=1)}
    unknown = (
        ["TEA", "", "日", "<unknown:string>", "x" * 500]
        if vocabulary.dtype == "string"
        else [-1, 4, 2**53 + 2]
    )
    asked = np.array(
        (ids + unknown) * 2, dtype=object if vocabulary.dtype == "string" else np.int64
    )
    asked = np.random.default_rng(0).permutation(asked).reshape(2, -1)
    expected = [[rows.get(one, 0) for one in line] for line in asked.tolist()]
    encoded = vocabulary.encode(asked)
    looked_up = tf.function(vocabulary.lookup)(tf.constant(asked))
    assert encoded.dtype == np.int32 and looked_up.dtype == tf.int32
    assert encoded.tolist() == expected
    assert looked_up.numpy().tolist() == expected
    known = encoded > 0
    assert (vocabulary.decode(encoded)[known] == asked[known]).all()


def test_equal_hashes_of_ids_are_resolved(monkeypatch):
    real = pd.util.hash_array

    # 16 hashes for 40 ids under the first two keys, real ones after
    def weak(values, hash_key, categorize):
        hashes = real(values, hash_key=hash_key, categorize=categorize)
        return hashes % np.uint64(16) if int(hash_key) < 2 else hashes

    monkeypatch.setattr(pd.util, "hash_array", weak)
    ids = [f"id{number}" for number in range(40)]
    assert Vocabulary.fit(ids).decode(Vocabulary.fit(ids).encode(ids)).tolist() == ids


def test_an_unknown_id_with_the_hash_of_a_known_one_stays_unknown(monkeypatch):
    monkeypatch.setattr(
        pd.util, "hash_array", lambda ids, **_: np.array([len(one) for one in ids], dtype=np.uint64)
    )
    vocabulary = Vocabulary(["a", "bb"], [2, 1])
    assert vocabulary.encode(["b", "bb", "aa", "a"]).tolist() == [0, 2, 0, 1]
    assert vocabulary.encode(["ccc", "bb"]).tolist() == [0, 2]


def test_missing_ids_are_row_zero():
    strings, integers = Vocabulary.fit(["a", "a", "None", "nan"]), Vocabulary.fit([1, 2])
    assert strings.encode(["a", None, np.nan, ""]).tolist() == [1, 0, 0, 0]
    assert strings.encode(pd.Series(["a", None])).tolist() == [1, 0]
    assert integers.encode([2, None, -1]).tolist() == [2, 0, 0]
    assert integers.encode(np.array([2.0, np.nan])).tolist() == [2, 0]
    assert integers.encode(pd.Series([2, None], dtype="Int64")).tolist() == [2, 0]
    for vocabulary in (strings, integers):
        assert vocabulary.encode([None, np.nan]).tolist() == [0, 0]
        assert vocabulary.encode([]).shape == (0,)


@pytest.mark.parametrize(
    "given",
    [
        np.array(["é", "b"]),
        np.array(["é", "b"], dtype=np.dtypes.StringDType()),
        np.array(["é".encode(), b"b"]),
        np.array(["é".encode(), b"b"], dtype=object),
        tf.constant(["é", "b"]),
        pd.Series(["é", "b"]),
        pd.Series(["é", "b"], dtype="category"),
        pl.Series(["é", "b"]),
        ("é", "b"),
    ],
    ids=lambda given: type(given).__name__ + str(getattr(given, "dtype", "")),
)
def test_strings_of_every_kind_are_the_same_ids(given):
    ids = raw_ids(given)
    assert ids.dtype == object and [type(one) for one in ids] == [str, str]
    assert Vocabulary.fit(["b", "é", "é"]).encode(given).tolist() == [1, 2]


@pytest.mark.parametrize(
    "given",
    [
        [3, 4],
        np.array([3, 4], np.int8),
        np.array([3, 4], np.uint64),
        np.array([3.0, 4.0]),
        pl.Series([3, 4]),
        pd.Index([3, 4]),
    ],
    ids=lambda given: type(given).__name__ + str(getattr(given, "dtype", "")),
)
def test_integers_of_every_kind_are_the_same_ids(given):
    assert raw_ids(given).dtype == np.int64
    assert Vocabulary.fit([4, 4, 3]).encode(given).tolist() == [2, 1]


@pytest.mark.parametrize(
    "given, error, says",
    [
        (["a", 1], TypeError, "all strings or all integers"),
        (["a", b"b"], TypeError, "all strings or all integers"),
        ([True, False], TypeError, "boolean"),
        (np.array([True]), TypeError, "all strings or all integers"),
        ([1.5, 2.0], TypeError, "fractions"),
        (np.array([1e300]), TypeError, "fractions"),
        (np.array(["2024-01-01"], "datetime64[s]"), TypeError, "all strings or all integers"),
        ([2**63], ValueError, "64 bits"),
        (np.array([2**64 - 1], np.uint64), ValueError, "64 bits"),
        ([b"\xff"], ValueError, "UTF-8"),
    ],
)
def test_other_ids_are_refused(given, error, says):
    with pytest.raises(error, match=says):
        raw_ids(given)


def test_ids_of_the_other_dtype_are_refused():
    strings, integers = Vocabulary.fit(["7"]), Vocabulary.fit([7])
    with pytest.raises(TypeError, match=r"string ids, got int64: \[7, 8\].*str\(id\)"):
        strings.encode([7, 8])
    with pytest.raises(TypeError, match=r"int64 ids, got string: \['7'\].*int\(id\)"):
        integers.encode(["7"])
    with pytest.raises(TypeError, match="string ids, got int64"):
        strings.lookup(tf.constant([7]))
    with pytest.raises(TypeError, match="int64 ids, got string"):
        tf.function(integers.lookup)(tf.constant(["7"]))
    with pytest.raises(TypeError, match="int64 ids, got float32"):
        integers.lookup(tf.constant([7.0]))
    with pytest.raises(TypeError, match="extra must be string"):
        Vocabulary.fit(["a"], extra=[1])
    assert integers.lookup(tf.constant([7], tf.int32)).numpy().tolist() == [1]


@pytest.mark.parametrize(
    "ids, says",
    [
        (["a", None], "stands for a missing id"),
        (["a", ""], "stands for a missing id"),
        ([1, -1], "stands for a missing id"),
        (["a\tb"], "tab or a line break"),
        (["a\nb"], "tab or a line break"),
        (["a", "b\r"], "tab or a line break"),
        (["<unknown:string>"], "unknown id"),
        (["a", "\ud800"], "valid Unicode"),
    ],
)
def test_fit_refuses_what_cannot_be_an_id(ids, says):
    with pytest.raises(ValueError, match=says):
        Vocabulary.fit(ids)


def test_half_a_surrogate_pair_is_unknown():
    assert Vocabulary.fit(["?", "a"]).encode(["\ud800", "a", "?"]).tolist() == [0, 2, 1]


def test_ids_given_twice_and_counts_of_another_length_are_refused():
    for ids in (["a", "b", "a"], [1, 2, 1]):
        with pytest.raises(ValueError, match="twice"):
            Vocabulary(ids, [3, 2, 1])
    with pytest.raises(ValueError, match="one count per id"):
        Vocabulary(["a", "b"], [1])


def test_decode_gives_ids_back_and_refuses_other_rows():
    vocabulary = Vocabulary.fit([7, 7, 9])
    assert vocabulary.decode([[1, 0], [2, 1]]).tolist() == [[7, -1], [9, 7]]
    assert Vocabulary.fit(["a"]).decode(np.array([0, 1])).tolist() == ["", "a"]
    for rows in ([3], [-1]):
        with pytest.raises(ValueError, match="Rows go from 0 to 2"):
            vocabulary.decode(rows)


@pytest.mark.parametrize("ids", [STRINGS, INTEGERS, []], ids=["string", "int64", "empty"])
def test_save_and_load(ids, tmp_path):
    vocabulary = Vocabulary.fit(
        np.array(ids, dtype=np.int64) if ids == INTEGERS else ids, extra=ids[:0]
    )
    vocabulary.save(tmp_path / "v.txt")
    again = Vocabulary.load(tmp_path / "v.txt")
    assert again.dtype == vocabulary.dtype and again.size == vocabulary.size
    assert (
        again.ids.tolist() == vocabulary.ids.tolist()
        and again.counts.tolist() == vocabulary.counts.tolist()
    )
    assert again.lookup(
        tf.constant(["x"] if again.dtype == "string" else [4])
    ).numpy().tolist() == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["v.txt"]
    lines = (tmp_path / "v.txt").read_bytes().decode().split("\n")
    assert lines[0] == f"<unknown:{vocabulary.dtype}>\t0\t{len(set(ids))}"
    assert [line.split("\t")[0] for line in lines[1:-1]] == [str(one) for one in vocabulary.ids]


def test_an_empty_vocabulary_of_integers_keeps_its_dtype(tmp_path):
    assert Vocabulary.fit([]).encode(["a"]).tolist() == [0]
    Vocabulary.fit(np.array([], np.int64)).save(tmp_path / "v.txt")
    assert Vocabulary.load(tmp_path / "v.txt").dtype == "int64"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],  # the last line's end
        lambda text: text[:-3],
        lambda text: text.rsplit("\n", 2)[0] + "\n",  # the whole last line
        lambda text: text + "c\t1\n",
        lambda text: text.replace("b\t1", "b\tone"),
        lambda text: text.replace("b\t1", "b 1"),
        lambda text: text.replace("b\t1", "b\t-1"),
        lambda text: text.replace("b\t1", "a\t1"),
        lambda text: text.replace("b\t1", "b\t01"),
        lambda text: text.replace("b\t1", "b\t 1"),
        lambda text: text.replace("b\t1", "b\t1_0"),
        lambda text: text.replace("b\t1", "b\t9223372036854775808"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("a\t2", "a\t2\t3"),
        lambda text: text.replace("string", "float"),
        lambda text: text.replace("string", "int64"),
        lambda text: "",
        lambda text: "\ufeff" + text,
    ],
)
def test_a_damaged_file_is_refused(damage, tmp_path):
    path = tmp_path / "v.txt"
    Vocabulary.fit(["a", "a", "b"]).save(path)
    path.write_bytes(damage(path.read_text()).encode())
    with pytest.raises(ValueError, match="v.txt is not a vocabulary"):
        Vocabulary.load(path)


@pytest.mark.parametrize("other", ["07", "+7", " 7", "7_0", "7.0", "x", str(2**63)])
def test_an_integer_is_read_only_as_it_is_written(other, tmp_path):
    path = tmp_path / "v.txt"
    Vocabulary.fit([7, 5]).save(path)
    path.write_text(path.read_text().replace("7\t", f"{other}\t"))
    with pytest.raises(ValueError, match="v.txt is not a vocabulary"):
        Vocabulary.load(path)


TEXT_IDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r"), min_size=1
)
INTEGER_IDS = st.integers(-(2**63), 2**63 - 1).filter(lambda number: number != -1)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT_IDS, max_size=8) | st.lists(INTEGER_IDS, max_size=8))
@example(["e\u0301", "é", "\x85", "\u2028", "a\0", "\ufeff", "\U0010ffff", " "])
@example([2**63 - 1, -(2**63), 0])
def test_any_ids_make_the_round_trip(ids):
    vocabulary = Vocabulary.fit(ids)
    assert sorted(vocabulary.ids.tolist()) == sorted(set(ids))
    assert vocabulary.decode(vocabulary.encode(ids)).tolist() == ids
    with tempfile.TemporaryDirectory() as folder:
        vocabulary.save(f"{folder}/v.txt")
        again = Vocabulary.load(f"{folder}/v.txt")
    assert again.ids.tolist() == vocabulary.ids.tolist() and again.dtype == vocabulary.dtype
    assert again.counts.tolist() == vocabulary.counts.tolist()
    assert again.encode(ids).tolist() == vocabulary.encode(ids).tolist()
    if ids:
        looked_up = again.lookup(tf.constant(np.array(ids, again.ids.dtype)))
        assert looked_up.numpy().tolist() == vocabulary.encode(ids).tolist()


def test_a_table_is_no_file_on_disk_and_leaves_memory_with_the_vocabulary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    before = set(tf.io.gfile.glob("ram://vocabulary-*/*"))
    vocabulary = Vocabulary.fit(["a", "b"])
    assert vocabulary.table() is vocabulary.table() and not list(tmp_path.iterdir())
    assert len(set(tf.io.gfile.glob("ram://vocabulary-*/*")) - before) == 1
    handle = tf.identity(vocabulary.table().resource_handle)  # another, which keeps nothing
    assert tf.raw_ops.LookupTableSizeV2(table_handle=handle) == 3  # and the unknown
    del vocabulary
    gc.collect()
    assert set(tf.io.gfile.glob("ram://vocabulary-*/*")) <= before
    with pytest.raises(tf.errors.NotFoundError):  # TensorFlow would keep it for good
        tf.raw_ops.LookupTableSizeV2(table_handle=handle)


def test_bytes_that_are_no_text_and_no_file_are_refused(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="v.txt is not a vocabulary"):
        Vocabulary.load(tmp_path / "v.txt")
    with pytest.raises(FileNotFoundError):
        Vocabulary.load(tmp_path / "none.txt")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    Vocabulary.fit(["old"]).save(tmp_path / "v.txt")
    broken = Vocabulary.fit(["new"])
    broken._lines = lambda: iter(["\ud800"])
    with pytest.raises(UnicodeEncodeError):
        broken.save(tmp_path / "v.txt")
    assert Vocabulary.load(tmp_path / "v.txt").ids.tolist() == ["old"]


class Lookups(tf.Module):
    def __init__(self, vocabularies):
        self.vocabularies = vocabularies
        self.tables = [vocabulary.table() for vocabulary in vocabularies.values()]

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int64)]
    )
    def rows(self, names, numbers):
        return {
            "names": self.vocabularies["names"].lookup(names),
            "numbers": self.vocabularies["numbers"].lookup(numbers),
        }


RELOAD = """
import sys, shutil
import tensorflow as tf
words, numbers = tf.constant(["日本", "gin", " tea"]), tf.constant([7, 8, -9], tf.int64)
rows = tf.saved_model.load(sys.argv[1]).rows(words, numbers)
print([rows[name].numpy().tolist() for name in ("names", "numbers")])
"""


def test_a_saved_model_carries_its_tables_as_assets(tmp_path):
    module = Lookups(
        {"names": Vocabulary.fit(["日本", "日本", " tea"]), "numbers": Vocabulary.fit([-9, 7, 7])}
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    assert len(list((tmp_path / "model" / "assets").iterdir())) == 2
    (tmp_path / "model").rename(tmp_path / "moved")
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path / "moved")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[[1, 0, 2], [1, 0, 2]]"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["string", "int64"])
def test_ten_million_ids(dtype):
    numbers = np.random.default_rng(0).permutation(10_000_000)
    ids = (
        numbers
        if dtype == "int64"
        else np.array([f"user-{number}" for number in numbers.tolist()], dtype=object)
    )
    vocabulary = Vocabulary(ids, np.zeros(len(ids)))
    rows = np.random.default_rng(1).integers(1, vocabulary.size, 1_000_000)
    assert (vocabulary.encode(vocabulary.decode(rows)) == rows).all()
    outside = (
        rows[:1000] + 10_000_000
        if dtype == "int64"
        else np.array([f"user-{row}x" for row in rows[:1000]], object)
    )
    assert not vocabulary.encode(outside).any()


def test_raw_ids_keep_their_shape_and_tell_the_missing():
    assert raw_ids([[b"a", None], [b"b", b""]]).tolist() == [["a", ""], ["b", ""]]
    ids = raw_ids([["a", None], ["b", ""]])
    assert is_missing(ids).tolist() == [[False, True], [False, True]] and kind_of(ids) == "string"
    ids = raw_ids(np.array([[1, 2], [3, -1]], np.int32))
    assert is_missing(ids).tolist() == [[False, False], [False, True]] and kind_of(ids) == "int64"


def test_more_ids_get_rows_at_the_end():
    """b twice, a once; then a three times, c twice, and d of the catalog: b is not seen any
    more.
    """
    vocabulary = Vocabulary.fit(["b", "a", "b"]).grown(["c", "a", "a", "c", "a"], extra=["d", "a"])
    assert vocabulary.ids.tolist() == ["b", "a", "c", "d"]
    assert vocabulary.counts.tolist() == [0, 0, 3, 2, 0]
    assert Vocabulary.fit([7, 5]).grown([9]).ids.tolist() == [5, 7, 9]
    assert Vocabulary.fit([]).grown(["x"]).ids.tolist() == ["x"]
    with pytest.raises(TypeError):
        Vocabulary.fit(["a"]).grown([1])


def test_other_counts_are_those_of_a_vocabulary_made_anew():
    vocabulary = Vocabulary(["tea", "rum"], [3, 1])
    first = vocabulary.table()
    other, anew = vocabulary.with_counts([5, 7]), Vocabulary(["tea", "rum"], [5, 7])
    assert other.counts.tolist() == anew.counts.tolist() == [0, 5, 7]
    assert vocabulary.counts.tolist() == [0, 3, 1] and other.digest == anew.digest
    assert other.encode(["rum", "gin"]).tolist() == [2, 0]
    assert vocabulary.table() is first is not other.table()  # whose file holds its own counts
    for counts, message in (([1], "one count per id"), ([1, -1], "at least 0, got -1")):
        with pytest.raises(ValueError, match=message):
            vocabulary.with_counts(counts)
