"""Loads a SavedModel and runs it through TensorFlow's C API: TensorFlow Serving's loader and
session, without Python's.

    python c_api.py <request.json>

The request names the export, op libraries to load first, the tensors to fetch, and the feeds of
each run. The answer is a JSON object on standard output:
`{"outputs": [{name: nested list} of each run]}`, or `{"error": what was said}`.
"""

import ctypes
import importlib.util
import json
import sys
from ctypes import Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import numpy.random  # noqa: F401  before TensorFlow's symbols are global, else it crashes

DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}
STRING, STRING_BYTES = 7, 24


class Output(Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]


class Library:
    """The functions of the wheel's own library that are needed here."""

    def __init__(self):
        folder = Path(importlib.util.find_spec("tensorflow").origin).parent  # found, not imported
        self.c = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
        pointers = [
            "NewStatus",
            "NewGraph",
            "NewSessionOptions",
            "GraphOperationByName",
            "AllocateTensor",
            "TensorData",
        ]
        for name in [*pointers, "LoadSessionFromSavedModel", "LoadLibrary", "StringGetDataPointer"]:
            self[name].restype = c_void_p
        self["Message"].restype = c_char_p
        self["Dim"].restype = c_int64
        self["StringGetSize"].restype = c_size_t
        self.status = c_void_p(self["NewStatus"]())

    def __getitem__(self, name):
        return getattr(self.c, f"TF_{name}")

    def check(self):
        if self["GetCode"](self.status):
            raise RuntimeError(self["Message"](self.status).decode())

    def tensor(self, dtype, shape, values):
        values = [values] if not shape else np.array(values, dtype=object).reshape(-1).tolist()
        size = (
            STRING_BYTES * len(values)
            if dtype == STRING
            else np.dtype(DTYPES[dtype]).itemsize * len(values)
        )
        tensor = c_void_p(
            self["AllocateTensor"](
                dtype, (c_int64 * len(shape))(*shape), len(shape), c_size_t(size)
            )
        )
        data = self["TensorData"](tensor)
        if dtype == STRING:
            for at, value in enumerate(values):
                place, text = c_void_p(data + at * STRING_BYTES), value.encode()
                self["StringInit"](place)
                self["StringCopy"](place, text, c_size_t(len(text)))
        elif size:
            ctypes.memmove(data, np.array(values, DTYPES[dtype]).tobytes(), size)
        return tensor

    def value(self, tensor):
        shape = [self["Dim"](tensor, axis) for axis in range(self["NumDims"](tensor))]
        data, dtype, count = (
            self["TensorData"](tensor),
            self["TensorType"](tensor),
            int(np.prod(shape)),
        )
        if dtype != STRING:
            itemsize = np.dtype(DTYPES[dtype]).itemsize
            return (
                np.frombuffer(ctypes.string_at(data, count * itemsize), DTYPES[dtype])
                .reshape(shape)
                .tolist()
            )
        places = [c_void_p(data + at * STRING_BYTES) for at in range(count)]
        texts = [
            ctypes.string_at(self["StringGetDataPointer"](p), self["StringGetSize"](p)).decode()
            for p in places
        ]
        return np.array(texts, dtype=object).reshape(shape).tolist()


def run(request):
    tf = Library()
    for path in request.get("libraries", []):
        tf["LoadLibrary"](path.encode(), tf.status)
        tf.check()
    graph = c_void_p(tf["NewGraph"]())
    options, folder, tags = (
        c_void_p(tf["NewSessionOptions"]()),
        request["export"].encode(),
        (c_char_p * 1)(b"serve"),
    )
    session = c_void_p(
        tf["LoadSessionFromSavedModel"](options, None, folder, tags, 1, graph, None, tf.status)
    )
    tf.check()

    def output(name):
        operation, index = name.split(":")
        return Output(tf["GraphOperationByName"](graph, operation.encode()), int(index))

    answers = []
    for asked in request["runs"]:
        feeds, fetches = asked["feeds"], asked["fetches"]
        outputs = (Output * len(fetches))(*[output(name) for name in fetches])
        inputs = (Output * len(feeds))(*[output(feed["tensor"]) for feed in feeds])
        values = (c_void_p * len(feeds))(
            *[tf.tensor(feed["dtype"], feed["shape"], feed["values"]) for feed in feeds]
        )
        found, number = (c_void_p * len(fetches))(), (len(feeds), len(fetches))
        tf["SessionRun"](
            session,
            None,
            inputs,
            values,
            number[0],
            outputs,
            found,
            number[1],
            None,
            0,
            None,
            tf.status,
        )
        tf.check()
        answers.append(
            {name: tf.value(c_void_p(one)) for name, one in zip(fetches, found, strict=True)}
        )
    return answers


if __name__ == "__main__":
    try:
        answer = {"outputs": run(json.loads(Path(sys.argv[1]).read_text()))}
    except RuntimeError as error:
        answer = {"error": str(error)}
    assert "tensorflow" not in sys.modules
    print(json.dumps(answer))
