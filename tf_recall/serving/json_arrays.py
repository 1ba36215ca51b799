"""TensorFlow Serving's JSON: row and column format, to arrays and back, with its error messages.

Numbers may be NaN and Infinity, without quotes, as in TensorFlow Serving.
"""

import base64
import binascii
import json
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.recommend.forms import shown
from tf_recall.serving.endpoint import Endpoint
from tf_recall.serving.refusal import invalid

B64 = {"b64"}


def read(body: bytes) -> dict:
    """The object in a request.

    Raises:
        Refusal: it is no JSON, or no object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json.loads(body)
    except RecursionError:
        raise invalid("JSON Parse error: nested too deeply") from None
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {shown(value)} Is not object")
    return value


def signature_of(request: dict) -> str:
    """Which signature a request is for; "" for the default one.

    Raises:
        Refusal: its name is no text.
    """
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(request)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def arrays_of(request: dict, endpoint: Endpoint) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a request, and whether it is in row format.

    Raises:
        Refusal: neither format, values of another type, lists of different lengths.
    """
    if ("instances" in request) and ("inputs" in request):
        raise invalid(
            f"JSON Value: {shown(request)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in request:
        return _of_rows(request["instances"], endpoint), True
    if "inputs" in request:
        return _of_columns(request["inputs"], endpoint), False
    raise invalid("Missing 'inputs' or 'instances' key")


def answer(outputs: dict[str, np.ndarray], in_rows: bool) -> bytes:
    """The body of an answer, in the format of the request."""
    values = {name: _values(name, array) for name, array in outputs.items()}
    if not in_rows:
        return _written({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    if len(values) == 1:
        return _written({"predictions": next(iter(values.values()))})
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _written({"predictions": rows})


def _of_rows(instances, endpoint):
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(instances)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    named, inputs = _is_object(instances[0]), endpoint.inputs
    if not named and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for at, row in enumerate(instances):
        if _is_object(row) != named:
            kinds = ("object", "value/list") if named else ("value/list", "object")
            raise invalid(f"Expecting {kinds[0]} but got {kinds[1]} at item {at} of input list")
        if named and row.keys() != inputs.keys():
            raise invalid(
                f"Failed to process element: {at} of 'instances' list. JSON object: {shown(row)} "
                f"keys must be equal to: {','.join(sorted(inputs))}"
            )
    if not named:
        (name,) = inputs
        return {name: _array(name, instances, inputs[name])}
    return {
        name: _array(name, [row[name] for row in instances], spec) for name, spec in inputs.items()
    }


def _of_columns(columns, endpoint):
    inputs = endpoint.inputs
    if not _is_object(columns):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        (name,) = inputs
        return {name: _array(name, columns, inputs[name])}
    for name in inputs:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(name, columns[name], spec) for name, spec in inputs.items()}


def _is_bytes(value):
    """Whether it is bytes, which are written as an object."""
    return isinstance(value, dict) and value.keys() == B64 and isinstance(value["b64"], str)


def _is_object(value):
    return isinstance(value, dict) and not _is_bytes(value)


def _array(name, value, spec):
    """The array of nested lists, all of one length at each level."""
    shape, level = [], [value]
    while level and all(isinstance(each, list) for each in level):
        size = len(level[0])
        if any(len(each) != size for each in level):
            raise invalid(
                f"input {name}: Encountered list at unexpected size at level: {len(shape)} "
                f"expected size: {size}"
            )
        shape.append(size)
        level = list(chain.from_iterable(level))
    if any(isinstance(each, list) for each in level):
        raise invalid(f"input {name}: values and lists are mixed at level: {len(shape)}")
    return _flat(name, level, spec.dtype).reshape(shape)


def _flat(name, values, dtype):
    if dtype == tf.string:
        array = np.empty(len(values), object)
        array[:] = [_text(name, each) for each in values]
        return array
    allowed = {bool} if dtype == tf.bool else {int} if dtype.is_integer else {int, float}
    if not set(map(type, values)) <= allowed:
        wrong = next(each for each in values if type(each) not in allowed)
        raise invalid(
            f"input {name}: JSON Value: {shown(wrong)} is not of expected type: {dtype.name}"
        )
    try:
        array = np.array(values, np.float64 if dtype.is_floating else dtype.as_numpy_dtype)
        with np.errstate(over="raise"):
            return array.astype(dtype.as_numpy_dtype)
    except (OverflowError, FloatingPointError):
        raise invalid(f"input {name}: a number does not fit {dtype.name}") from None


def _text(name, value):
    if _is_bytes(value):
        try:
            padded = value["b64"] + "=" * (-len(value["b64"]) % 4)
            return base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            raise invalid(f"input {name}: Unable to base64 decode") from None
    if not isinstance(value, str):
        raise invalid(f"input {name}: JSON Value: {shown(value)} is not of expected type: string")
    try:
        return value.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        raise invalid(f"input {name}: JSON Parse error: text that is not Unicode") from None


def _values(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        made = [{"b64": base64.b64encode(each).decode()} for each in array.ravel()]
    else:
        made = [each.decode(errors="replace") for each in array.ravel()]
    nested = np.empty(len(made), object)
    nested[:] = made
    return nested.reshape(array.shape).tolist()


def _written(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
