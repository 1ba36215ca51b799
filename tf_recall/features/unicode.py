"""Unicode's normal form and case folding in stock TensorFlow ops.

One function makes the codes of the training data and those of a server's requests, so the two
cannot disagree. TensorFlow has no op for either; the tables are Python's.
"""

import functools
import itertools
import unicodedata
from collections.abc import Callable

import numpy as np
import tensorflow as tf

PLANES = range(0xD800), range(0xE000, 0x30000), range(0xE0000, 0xE1000)  # else only ideographs
BREAK = "\u200b"  # the zero width space, where lines may break: between words
TEXT = tf.TensorSpec([None], tf.string)
L, V, T, SYLLABLES = 0x1100, 0x1161, 0x11A7, 0xAC00  # of Hangul


@tf.function(input_signature=[TEXT], autograph=False)  # in a graph once, however many call it
def normal(text: tf.Tensor) -> tf.Tensor:
    """Text `[B]` in normal form C: "é" is one, whether of one code point or of "e" and an accent.

    Bytes that are no UTF-8 become U+FFFD.
    """
    return _where_needed(_normal, text, _stable(_is_normal), text)


@tf.function(input_signature=[TEXT], autograph=False)
def folded(text: tf.Tensor) -> tf.Tensor:
    """Text `[B]` in normal form C, for words that are looked for.

    Upper and lower case are one ("ß" and "SS" too). What has no form of its own is left out:
    joiners, soft hyphens, marks of direction, variation selectors.
    """
    lower = tf.strings.lower(text, encoding="utf-8")
    return _where_needed(_folded, text, _stable(_is_folded_by_lower), lower)


def _where_needed(function, text, stable, known):
    """`known` where the text matches `stable`, else `function` of it, which takes longer."""
    fits = tf.strings.regex_full_match(text, stable)

    def some():
        changed = function(tf.boolean_mask(text, ~fits))
        return tf.tensor_scatter_nd_update(known, tf.where(~fits), changed)

    return tf.cond(tf.reduce_all(fits), lambda: known, some)


def _normal(text):
    points, rows = _points(text)
    points, rows = _expanded(points, rows, *_decompositions())
    return _text(*_composed(_ordered(points, rows), rows), tf.size(text))


def _folded(text):
    points, rows = _points(text)
    points, rows = _expanded(points, rows, *_decompositions())
    points, rows = _expanded(_ordered(points, rows), rows, *_foldings())
    return _text(*_composed(_ordered(points, rows), rows), tf.size(text))


def _points(text):
    """The code points `[N]` of texts `[B]`, and the row of each."""
    points = tf.strings.unicode_decode(text, "UTF-8")
    return points.flat_values, points.value_rowids()


def _text(points, rows, size):
    size = tf.cast(size, tf.int64)
    ragged = tf.RaggedTensor.from_value_rowids(points, rows, size, validate=False)
    return tf.strings.unicode_encode(ragged, "UTF-8")


def _expanded(points, rows, keys, starts, flat):
    """Replaces each code point that is one of `keys` by its part of `flat`."""
    place, found = _found(keys, points)
    start = tf.gather(starts, place)
    length = tf.where(found, tf.gather(starts, place + 1) - start, 1)
    of = tf.repeat(tf.range(tf.size(points)), length)
    within = tf.range(tf.size(of)) - tf.gather(tf.cumsum(length, exclusive=True), of)
    known = tf.gather(found, of)
    new = tf.gather(flat, tf.where(known, tf.gather(start, of) + within, 0))
    return tf.where(known, new, tf.gather(points, of)), tf.gather(rows, of)


def _ordered(points, rows):
    """Sorts the marks after each letter by their class, where they are in another order."""
    rank = _rank(points)
    first = (rank == 0) | _row_starts(rows)
    letter = tf.cumsum(tf.cast(first, tf.int64))
    place = letter * 256 + tf.cast(rank, tf.int64)
    return tf.cond(
        tf.reduce_all(place[1:] >= place[:-1]),
        lambda: points,
        lambda: tf.gather(points, tf.argsort(place, stable=True)),
    )


def _composed(points, rows):
    """Joins letters with their marks, until there is nothing left to join."""

    def join(points, rows, _):
        letter, mark, joined = _pairs(points, rows)
        points = tf.tensor_scatter_nd_update(points, letter[:, None], joined)
        kept = tf.tensor_scatter_nd_update(
            tf.ones_like(points, tf.bool), mark[:, None], tf.zeros_like(mark, tf.bool)
        )
        return tf.boolean_mask(points, kept), tf.boolean_mask(rows, kept), tf.size(mark) > 0

    shapes = tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])
    start = points, rows, tf.constant(True)
    points, rows, _ = tf.while_loop(lambda *state: state[-1], join, start, shapes)
    return points, rows


def _pairs(points, rows):
    """The positions of letters and of the mark that each takes in, and what they become."""
    mark = tf.where(_found(_marks(), points)[1])[:, 0]  # [M]
    letters = tf.where((_rank(points) == 0) | _row_starts(rows))[:, 0]
    letter = tf.gather(letters, tf.maximum(tf.searchsorted(letters, mark) - 1, 0))  # before it
    rank, previous = (_rank(tf.gather(points, at)) for at in (mark, tf.maximum(mark - 1, 0)))
    free = (letter == mark - 1) | (previous < rank)
    joined = _join(tf.gather(points, letter), tf.gather(points, mark))
    fits = free & (tf.gather(rows, letter) == tf.gather(rows, mark)) & (joined > 0)
    letter, mark, joined = (tf.boolean_mask(each, fits) for each in (letter, mark, joined))
    # each letter takes its first mark, unless it is itself taken
    first = tf.concat([tf.ones_like(letter[:1], tf.bool), letter[1:] != letter[:-1]], axis=0)
    first &= ~_found(mark, letter)[1]
    return tuple(tf.boolean_mask(each, first) for each in (letter, mark, joined))


def _join(letter, mark):
    """The code point that is a letter and a mark together, 0 where there is none."""
    keys, values = _compositions()
    place, found = _found(keys, _pair(tf.cast(letter, tf.int64), tf.cast(mark, tf.int64)))
    joined = tf.where(found, tf.gather(values, place), 0)
    leading, vowel, trailing = letter - L, mark - V, mark - T
    two = (leading >= 0) & (leading < 19) & (vowel >= 0) & (vowel < 21)
    joined = tf.where(two, SYLLABLES + (leading * 21 + vowel) * 28, joined)
    syllable = letter - SYLLABLES
    three = (syllable >= 0) & (syllable < 11172) & (syllable % 28 == 0)
    return tf.where(three & (trailing > 0) & (trailing < 28), letter + trailing, joined)


def _pair(letter, mark):
    return letter * 2**21 + mark


def _rank(points):
    """The canonical combining class of code points: 0 for all but marks."""
    keys, ranks = _ranks()
    place, found = _found(keys, points)
    return tf.where(found, tf.gather(ranks, place), 0)


def _row_starts(rows):
    return tf.concat([tf.ones_like(rows[:1], tf.bool), rows[1:] != rows[:-1]], axis=0)


def _found(keys, values):
    """The places of values among rising keys, and whether they are there."""
    place = tf.minimum(tf.searchsorted(keys, values), tf.size(keys) - 1)
    return place, tf.gather(keys, place) == values


def _code_points():
    return itertools.chain(*PLANES)


@functools.cache
def _decompositions():
    return _expansions(_decomposed)


@functools.cache
def _foldings():
    return _expansions(lambda letter: "" if _no_form(letter) else _decomposed(letter.casefold()))


def _expansions(of: Callable[[str], str]) -> tuple[np.ndarray, ...]:
    """The code points that a function changes, rising; where their part starts; the parts."""
    changed = {point: of(chr(point)) for point in _code_points() if of(chr(point)) != chr(point)}
    starts = np.cumsum([0, *map(len, changed.values())])
    flat = [ord(letter) for part in changed.values() for letter in part]
    return np.array([*changed], np.int32), starts.astype(np.int32), np.array(flat, np.int32)


def _decomposed(letters):
    # syllables of Hangul stay whole: what joins them joins them again
    return letters if "가" <= letters <= "힣" else unicodedata.normalize("NFD", letters)


def _no_form(letter):
    if unicodedata.category(letter) == "Cf":
        return letter != BREAK
    name = unicodedata.name(letter, "")
    return "VARIATION SELECTOR" in name or name == "COMBINING GRAPHEME JOINER"


@functools.cache
def _ranks():
    ranks = {point: rank for point in _code_points() if (rank := unicodedata.combining(chr(point)))}
    return np.array([*ranks], np.int32), np.array([*ranks.values()], np.int32)


@functools.cache
def _compositions():
    pairs = {}
    for point in _code_points():
        letter = chr(point)
        parts = unicodedata.decomposition(letter).split()
        # some, once taken apart, stay so
        if len(parts) == 2 and "<" not in parts[0] and unicodedata.is_normalized("NFC", letter):
            pairs[_pair(*(int(part, 16) for part in parts))] = point
    keys = sorted(pairs)
    return np.array(keys, np.int64), np.array([pairs[key] for key in keys], np.int32)


@functools.cache
def _marks():
    """The code points that can join a letter before them, rising."""
    of_hangul = [*range(V, V + 21), *range(T + 1, T + 28)]
    return np.unique([*(_compositions()[0] % 2**21), *of_hangul]).astype(np.int32)


@functools.cache
def _stable(keeps: Callable[[str], bool]) -> str:
    """What matches texts that are in normal form for sure, of letters that a function keeps.

    They hold no mark that could join a letter, and no two marks side by side.
    """
    joining, ranks = (set(points.tolist()) for points in (_marks(), _ranks()[0]))
    kept = [point for point in _code_points() if point not in joining and keeps(chr(point))]
    marks, letters = ([point for point in kept if (point in ranks) == of] for of in (True, False))
    return f"(?:{_any_of(marks)}?{_any_of(letters)})*{_any_of(marks)}?"


def _is_normal(letter):
    return unicodedata.is_normalized("NFC", letter)


def _is_folded_by_lower(letter):
    known = _is_normal(letter) and unicodedata.category(letter) != "Cn" and not _no_form(letter)
    lower = letter.lower()
    same = unicodedata.normalize("NFC", letter.casefold()) == lower
    # what TensorFlow's op may not know as a capital: its tables are of another year
    old = lower == letter or unicodedata.ucd_3_2_0.category(letter) != "Cn"
    # at the end of a word sigma has another lower case; the op ends at a zero
    return known and same and old and letter not in "Σ\0"


def _any_of(points):
    points = np.array(points)
    breaks = np.flatnonzero(np.diff(points) > 1)
    first, last = points[np.append(0, breaks + 1)], points[np.append(breaks, len(points) - 1)]
    spans = zip(first.tolist(), last.tolist(), strict=True)
    return "[" + "".join(f"\\x{{{one:x}}}-\\x{{{other:x}}}" for one, other in spans) + "]"
