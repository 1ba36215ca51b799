"""Normal forms in TensorFlow ops against Python's own."""

import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tf_recall.features import unicode
from tf_recall.features.unicode import folded, normal


def nfc(text):
    return unicodedata.normalize("NFC", text)


def nfd(text):
    return unicodedata.normalize("NFD", text)


def has_a_form(letter):
    name = unicodedata.name(letter, "")
    of_format = unicodedata.category(letter) == "Cf" and letter != "\u200b"
    return not (of_format or "VARIATION SELECTOR" in name or letter == "\u034f")


def slowly_folded(text):
    return nfc("".join(filter(has_a_form, nfd(text))).casefold())


def apply(function, texts):
    raw = tf.constant(np.array(texts, dtype=object), tf.string)
    return [text.decode() for text in function(raw).numpy()]


def assert_as_python(texts):
    assert apply(normal, texts) == [nfc(text) for text in texts]
    assert apply(folded, texts) == [slowly_folded(text) for text in texts]


EVERY = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
CHANGED = [
    letter
    for letter in EVERY
    if nfd(letter) != letter or unicodedata.combining(letter) or letter.casefold() != letter
]


@pytest.mark.slow
def test_every_letter():
    assert_as_python(EVERY)


def test_every_letter_that_changes():
    assert_as_python(CHANGED)
    assert_as_python(EVERY[::29])


def test_letters_taken_apart():
    apart = [nfd(letter) for letter in CHANGED if nfd(letter) != letter]
    assert len(apart) > 13_000
    assert_as_python(apart)
    assert_as_python([text[0] + "\u0301" + text[1:] for text in apart])  # a mark in between
    assert_as_python([text[0] + text[:0:-1] for text in apart])  # marks in another order


def test_many_texts_at_once_of_whatever_changes():
    letters = CHANGED + [chr(point) for point in range(0x1100, 0x1200)] * 9  # parts of Hangul
    letters += [*"aAiIsS \u200d\ufe0f\u0345\u09c7\u09be\u0dd9\u0dcf\u0dca"] * 99
    random = np.random.default_rng(0)
    texts = [
        "".join(letters[at] for at in random.integers(0, len(letters), size))
        for size in random.integers(0, 9, 5000)
    ]
    assert_as_python(texts)


MARKS = st.characters(categories=["Mn", "Mc"]) | st.sampled_from("\u0301\u0323\u0302\u0345\u0327")
TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), MARKS))


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example([])
@example(["", "\u0301", "a", "\u0301b"])  # a mark is never joined to another text's letter
@example(["a\0B\u0301"])
def test_any_texts(texts):
    assert_as_python(texts)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_equal_texts_stay_equal_and_forms_are_final(text):
    for function in (normal, folded):
        here, apart, again = apply(function, [text, nfd(text), apply(function, [text])[0]])
        assert here == apart == again


@pytest.mark.parametrize(
    "one, other",
    [
        ("été", "e\u0301te\u0301"),
        ("Việt", "Vie\u0302\u0323t"),
        ("ガ", "カ\u3099"),
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ("한", "하\u11ab"),
        ("\u0958", "क\u093c"),
        ("க\u0bcb", "க\u0bc7\u0bbe"),
        ("آ", "ا\u0653"),
        ("Å", "\u212b"),  # the sign of Ångström
    ],
)
def test_ways_to_encode_a_text_are_one(one, other):
    assert one != other
    for function in (normal, folded):
        assert len(set(apply(function, [one, other]))) == 1


@pytest.mark.parametrize(
    "one, other",
    [
        ("STRASSE", "straße"),
        ("ΛΌΓΟΣ", "λόγος"),
        ("ÉTÉ", "e\u0301te\u0301"),
        ("İSTANBUL", "i\u0307stanbul"),
        ("می\u200cخواهم", "میخواهم"),  # a joiner in Persian
        ("ශ්\u200dරී", "ශ්රී"),  # and in Sinhala
        ("co\u00adoperate", "cooperate"),
        ("\ufeffbook", "book"),
        ("❤\ufe0f", "❤"),
    ],
)
def test_words_that_are_looked_for_are_one(one, other):
    assert len(set(apply(folded, [one, other]))) == 1
    assert len(set(apply(normal, [one, other]))) == 2


@pytest.mark.parametrize("one, other", [("e", "é"), ("ı", "i"), ("a\u200bb", "ab"), ("ﬀ", "ff x")])
def test_others_stay_two(one, other):
    assert len(set(apply(folded, [one, other]))) == 2


@pytest.mark.parametrize("size, joined", [(2, "y"), (3, "z"), (4, "zx"), (5, "zy"), (6, "zz")])
def test_letters_that_join_letters_do_so_from_the_left(size, joined, monkeypatch):
    """As in Kirat Rai, of a newer Unicode than some Pythons have: xx is y, and yx is z."""
    x, y, z = (ord(letter) for letter in "xyz")
    keys = np.array([unicode._pair(x, x), unicode._pair(y, x)])
    monkeypatch.setattr(unicode, "_compositions", lambda: (keys, np.array([y, z], np.int32)))
    monkeypatch.setattr(unicode, "_marks", lambda: np.array([x], np.int32))
    points, _ = unicode._composed(tf.fill([size], x), tf.zeros([size], tf.int64))
    assert "".join(map(chr, points.numpy())) == joined


def test_bytes_that_are_no_text():
    for function in (normal, folded):
        assert function(tf.constant([b"a\xff\xc3", b"\xc3\xa9"])).numpy().tolist() == [
            "a\ufffd\ufffd".encode(),
            "é".encode(),
        ]


def test_a_graph_holds_each_function_once():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def several(text):
        return [normal(text) for _ in range(9)]

    functions = several.get_concrete_function().graph.as_graph_def().library.function
    assert len([each for each in functions if "inference_normal" in each.signature.name]) == 1
