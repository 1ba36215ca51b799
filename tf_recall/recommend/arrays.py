"""Python values to arrays: the one parser of what a request holds.

A request comes from Python or from JSON. Each argument has one of these forms; everything else is
refused by a sentence, so that nothing is read as what it is not.

    a list      a list, tuple or range; a NumPy array; a pandas, polars or Arrow column, in its
                order, whatever its index; an eager tensor. Never text, a mapping, a generator
    an id       text (str, or bytes in UTF-8), or a whole number, as in the training data; a whole
                float too, which pandas makes of integers with gaps

    user_id, item_id          an id, or a flat list of ids, one for each row; a missing one (None,
                              NaN, "", -1) is unknown
    exclude, allow, history   a flat list of ids for all rows, or a list of ids for each row, be it
                              a 2-d array; a set too, but not as a history, which has an order. ""
                              and -1 are padding and count for nothing; None and NaN are refused
    exclude_seen              True or False, or a list of them, one for each row
    a column of text          a value, or a list of them, one for each row: text, a number, a bool,
                              a date; None, NaN and "" are missing
    a column of numbers       the same; text is read as a number, a date as seconds since 1970. What
                              float32 cannot hold (1e40, infinity) is missing
    a column of vectors       a list of D numbers, or one for each row, be it a 2-d array; None is
                              missing, and so is a vector that lacks a number
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.ids import MISSING
from tf_recall.recommend.columns import flags, numbers, texts, vectors
from tf_recall.recommend.id_lists import item_lists, row_ids


def batch(
    inputs: dict[str, tf.TensorSpec], key: str, given: dict, name: str = "this model"
) -> dict[str, np.ndarray]:
    """Makes one array per input of an endpoint, batch first; what is not given is padding.

    Padding is `""` for text, NaN for a number, -1 for an integer id, `False`, and lists of length
    0. A single value, or a flat list of ids (to exclude, to allow, a history), counts for
    every row of the batch.

    Args:
        inputs: what the endpoint takes, by name.
        key: the input that sets the size of the batch, "user_id" or "item_id".
        given: values by input name, in the forms that this module lists; None for not given.
        name: what the endpoint is called in an error.

    Raises:
        ValueError: an input that the endpoint does not have, a length that is not the batch's, a
            missing id in a list, text that is not Unicode, no number where one is needed.
        TypeError: a value of another form, ids of the wrong type.
    """
    if unknown := sorted(each for each in set(given) - set(inputs) if given[each] is not None):
        raise ValueError(
            f"{name} takes no {', '.join(unknown)}; it takes {', '.join(sorted(inputs))}"
        )
    ids = row_ids(key, given[key], inputs[key].dtype)
    others = {each: spec for each, spec in inputs.items() if each != key}
    arrays = {each: _array(each, spec, given.get(each), len(ids)) for each, spec in others.items()}
    return {key: ids, **arrays}


def is_list(spec: tf.TensorSpec) -> bool:
    """Whether an input is a list of ids per row.

    Its rows may have any length, those of a feature may not.
    """
    return spec.shape.rank == 2 and spec.shape[1] is None


def _array(name: str, spec: tf.TensorSpec, value: Any, rows: int) -> np.ndarray:
    if value is None:
        return _padding(spec, rows)
    if is_list(spec):
        return item_lists(name, value, spec.dtype, rows)
    if spec.dtype == tf.bool:
        return flags(name, value, rows)
    if spec.dtype == tf.string:
        return texts(name, value, rows)
    if spec.shape.rank > 1:
        return vectors(name, value, rows, spec.shape[1]).astype(spec.dtype.as_numpy_dtype)
    return numbers(name, value, rows).astype(spec.dtype.as_numpy_dtype)


def _padding(spec, rows):
    if spec.dtype.is_floating:
        nothing = np.nan
    else:
        nothing = False if spec.dtype == tf.bool else MISSING[spec.dtype.name]
    shape = (rows, *(size or 0 for size in spec.shape[1:]))
    return np.full(shape, nothing, object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype)
