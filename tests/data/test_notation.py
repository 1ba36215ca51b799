import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.data import notation

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False)
    | st.text()
    | st.from_regex(r"[-+.0-9_:eExno~]{1,6}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((one, one) for one in ("no", "No", "off", "on", "yes", "y", "NO")),  # Norway
        *((one, one) for one in ("010", "08", "1_000", "1:30", "0x10", "0o7", "0b1", "00.5", "=")),
        *((one, one) for one in ("2024-01-31", "2024-01-31 10:00:00", "12:30", "1.2.3", "<<")),
        *((one, True) for one in ("true", "True", "TRUE")),
        *((one, False) for one in ("false", "False")),
        *((one, None) for one in ("null", "~", "", "Null")),
        *(("0", 0), ("-7", -7), ("+7", 7), ("120", 120)),
        *(("1e-3", 0.001), ("1E5", 1e5), (".5", 0.5), ("5.", 5.0), ("-2.5e+3", -2500.0)),
        *((".inf", math.inf), ("-.inf", -math.inf), ("1e999", math.inf)),
        *(('"no"', "no"), ("'010'", "010"), ("'1'", "1")),
    ],
)
def test_what_could_be_read_in_two_ways_is_text(text, value):
    (found,) = notation.read(f"key: {text}", "it").values()
    assert found == value and type(found) is type(value)
    if text and "." not in text:
        assert notation.read(f"key: [{text}]", "it") == {"key": [value]}


@pytest.mark.parametrize("key", ["no", "on", "2024-01-31", "010", "1:30", "=", "''", "'1'"])
def test_keys_are_texts_as_they_are(key):
    assert notation.read(f"{key}: 1", "it") == {key.strip("'"): 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "it is not valid YAML: line 3, column 1: the key 'a' is .* line 1"),
        ("{x: {a: 1, 'a': 2}}", "line 1, column 12: the key 'a' is there already"),
        ("m:\n  1: x", "line 2, column 3: a key is text, and '1' is not: put it in quotes"),
        ("true: x", "'true' is not: put it in quotes"),
        ("null: x", "'null' is not"),
        ("? [a]\n: x", "a list or a mapping"),
        ("a: &x [*x]", "line 1, column 4: an anchor is within itself"),
        ("a: &x {b: [*x]}", "an anchor is within itself"),
        ("a: [", "line 1, column 5: while parsing a flow node, expected"),
        ("a: 'x", "end of stream"),
        ("a: b: c", "line 1, column 5"),
        ("\ta: 1", "cannot start any token"),
        ("a: \x01", "special characters are not allowed"),
        ("a: *b", "undefined alias 'b'"),
        ("--- 1\n--- 2", "single document"),
        ("a: !!python/object/apply:os.system ['true']", "line 1, column 4: it may have no tags"),
        ("a: !!set {b}", "no tags"),
        ("a: !!int abc", "no tags"),
        ("a: " + "[" * 99 + "]" * 99, "may be 60 within one another"),
        ("a: " + "[" * 9999, "may be 60 within one another"),
        ("a: " + "9" * 9999, "digits"),
        ('a: "\\ud800"', "surrogates"),
        ("a: {<<: 8}", "expected a mapping or list of mappings for merging"),
    ],
)
def test_what_is_refused_is_one_line_that_says_where(text, message):
    with pytest.raises(ValueError, match=message) as refusal:
        notation.read(text, "it")
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("it is not valid YAML")


def test_anchors_that_grow_beyond_all_use():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for one, next_one in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{next_one}: &{next_one} [{', '.join([f'*{one}'] * 10)}]")
    with pytest.raises(ValueError, match="more than 100000 values"):
        notation.read("\n".join(lines), "it")


def test_what_anchors_repeat_is_each_its_own():
    values = notation.read("a: &tower {units: [8]}\nb: *tower\nc: {<<: *tower, dim: 3}", "it")
    assert values == {"a": {"units": [8]}, "b": {"units": [8]}, "c": {"units": [8], "dim": 3}}
    values["a"]["units"].append(9)
    assert values["b"] == {"units": [8]} and values["c"]["units"] == [8]


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_the_same(values):
    text = notation.write(values)
    again = notation.read(text, "it")
    assert again == values and repr(again) == repr(values)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans(), max_size=3))
@settings(max_examples=50, deadline=None)
def test_other_readers_read_it_the_same(values):
    assert yaml.safe_load(notation.write(values)) == values
