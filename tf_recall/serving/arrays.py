"""The arrays of a request: checked against what an endpoint takes, from protos, and to them."""

import math

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2

from tf_recall.data.errors import one_line
from tf_recall.recommend.arrays import is_list
from tf_recall.serving.endpoint import Endpoint, encoded
from tf_recall.serving.limits import Limits
from tf_recall.serving.refusal import invalid


def check(endpoint: Endpoint, arrays: dict[str, np.ndarray], limits: Limits) -> None:
    """Refuses arrays that the endpoint does not take, or that are too large.

    Raises:
        Refusal: another shape, rows that differ in number, none, or too many of them or of ids.
    """
    rows = None
    for name, spec in endpoint.inputs.items():
        shape, wanted = arrays[name].shape, spec.shape.as_list()
        if len(shape) != len(wanted) or any(
            size is not None and size != found
            for size, found in zip(wanted[1:], shape[1:], strict=True)
        ):
            raise invalid(f"input {name} must have the shape {_shown(wanted)}; got {_shown(shape)}")
        rows = shape[0] if rows is None else rows
        if shape[0] != rows:
            raise invalid(f"input {name} has {shape[0]} rows, and those before it {rows}")
        if is_list(spec) and shape[1] > limits.ids:
            raise invalid(f"input {name} has lists of {shape[1]} ids; at most {limits.ids}")
    if not rows:
        raise invalid("the request has no rows")
    if rows > limits.rows:
        raise invalid(f"the request has {rows} rows; at most {limits.rows}")


def of_protos(
    endpoint: Endpoint, protos: dict[str, Message], limits: Limits
) -> dict[str, np.ndarray]:
    """The arrays in a map of TensorProto.

    Raises:
        Refusal: an input is missing, or one too many; one of another type; one that is damaged;
            and as `check`.
    """
    if set(protos) != set(endpoint.inputs):
        extra = ", ".join(sorted(set(protos) - set(endpoint.inputs)))
        missing = ", ".join(sorted(set(endpoint.inputs) - set(protos)))
        raise invalid(
            f"input size does not match signature: {len(protos)}!={len(endpoint.inputs)}. "
            f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        )
    arrays = {name: _of_proto(name, protos[name], spec, limits) for name, spec in _specs(endpoint)}
    check(endpoint, arrays, limits)
    return arrays


def to_proto(array: np.ndarray, dtype: tf.DType) -> Message:
    """A TensorProto of an output."""
    if array.dtype != object:
        return tf.make_tensor_proto(array, dtype)
    # the same for text takes five times as long
    shape = tf.TensorShape(array.shape).as_proto()
    values = encoded(array).ravel().tolist()
    return tensor_pb2.TensorProto(
        dtype=dtype.as_datatype_enum, tensor_shape=shape, string_val=values
    )


def _of_proto(name, proto, spec, limits):
    if proto.dtype != spec.dtype.as_datatype_enum:
        try:
            came = tf.as_dtype(proto.dtype).name
        except (TypeError, KeyError):
            came = f"number {proto.dtype}"
        raise invalid(f"input {name} must be {spec.dtype.name}; got {came}")
    if proto.tensor_shape.unknown_rank:
        raise invalid(f"input {name} has no shape")
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    # one value may stand for a whole tensor: its shape alone says how much memory it takes
    widest = max(limits.ids, *(size or 0 for size in spec.shape.as_list()), 1)
    if min(sizes, default=0) < 0 or math.prod(sizes) > limits.rows * widest:
        raise invalid(f"input {name} has the shape {_shown(sizes)}, which is too large, or none")
    try:
        array = tf.make_ndarray(proto)
    except Exception as error:  # of whatever kind, the tensor is damaged
        raise invalid(f"input {name} is damaged: {one_line(error)[:200]}") from None
    if array.dtype == object:
        array = encoded(array)
    return array


def _specs(endpoint):
    return endpoint.inputs.items()


def _shown(shape):
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
