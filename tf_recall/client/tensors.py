"""Arrays as tensors on the wire, and back."""

from typing import Any

import numpy as np

from tf_recall.client.messages import Tensor

STRING = 7
KINDS = {  # TensorFlow's numbers
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
}
NUMBERS = {np.dtype(kind): number for number, kind in KINDS.items()}
VALUES = {1: "float_val", 2: "double_val", 9: "int64_val", 10: "bool_val"}  # others: int_val


def to_tensor(values: Any, kind: int | None = None) -> Tensor:
    """A tensor of values.

    Args:
        values: an array, or lists of numbers, text or bytes.
        kind: TensorFlow's number of its type; None: that of the values.

    Raises:
        ValueError: values of another type, or lists of unequal lengths.
    """
    if kind is not None and kind != STRING and kind not in KINDS:
        raise ValueError(f"tensors of TensorFlow's type {kind} are not sent")
    array = np.asarray(values, None if kind is None else KINDS.get(kind, object))
    if kind is None:
        kind = NUMBERS.get(array.dtype, STRING if array.dtype.kind in "OUS" else None)
    if kind is None:
        raise ValueError(f"arrays of {array.dtype} are not sent")
    made = Tensor(dtype=kind)
    for size in array.shape:
        made.tensor_shape.dim.add(size=size)
    if kind == STRING:
        made.string_val.extend(_bytes(each) for each in array.ravel().tolist())
    else:
        made.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return made


def to_array(tensor: Tensor) -> np.ndarray:
    """The array of a tensor; text is bytes.

    Raises:
        ValueError: a tensor of a type that is not read.
    """
    shape = [each.size for each in tensor.tensor_shape.dim]
    if tensor.dtype == STRING:
        made = np.empty(len(tensor.string_val), object)
        made[:] = list(tensor.string_val)
        return made.reshape(shape)
    if tensor.dtype not in KINDS:
        raise ValueError(f"tensors of TensorFlow's type {tensor.dtype} are not read")
    kind = np.dtype(KINDS[tensor.dtype])
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, kind.newbyteorder("<")).reshape(shape)
    values = np.array(getattr(tensor, VALUES.get(tensor.dtype, "int_val")), kind)
    count = int(np.prod(shape))
    if len(values) < count:  # the last one stands for all that follow
        values = np.pad(values, (0, count - len(values)), "edge" if len(values) else "constant")
    return values.reshape(shape)


def _bytes(value):
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError(f"text is sent as str or bytes, got {value!r} in a list")
    return value.encode()
