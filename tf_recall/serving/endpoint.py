"""Endpoints: what a version answers, as functions of arrays, be it a graph's or Python's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.ids import MISSING, raw_ids
from tf_recall.recommend.arrays import is_list
from tf_recall.recommend.base import Recommender

WIDTHS = (0, *(8 * 2**power for power in range(20)))  # of lists in a batch: 0, 8, 16, 32, ...


class Endpoint:
    """A function of named arrays, batch first.

    Text is bytes everywhere, in arrays of objects, as TensorFlow has it.

    Args:
        name: its signature name.
        inputs, outputs: what it takes and gives, by name.

    Attributes:
        static: whether all that an answer's size depends on is the number of rows.
    """

    takes_k = False  # whether an answer depends on k beyond being cut

    def __init__(
        self, name: str, inputs: dict[str, tf.TensorSpec], outputs: dict[str, tf.TensorSpec]
    ):
        self.name, self.inputs, self.outputs = name, inputs, outputs
        self.static = all(None not in spec.shape.as_list()[1:] for spec in outputs.values())
        lists = [name for name, spec in inputs.items() if is_list(spec)]
        self._widened = lists if self.static else []

    @property
    def k(self) -> int | None:
        """How many items an answer has; None for one without items."""
        return self.outputs["score"].shape[1] if "score" in self.outputs else None

    def widened(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays with lists filled up to one of a few widths, so that requests can be joined.

        What fills them counts for nothing. An empty list stays empty: without one a graph does
        less. Where an answer is as wide as a list, nothing is filled up.
        """
        arrays = dict(arrays)
        for name in self._widened:
            array = arrays[name]
            width = next(each for each in WIDTHS if each >= array.shape[1])
            if width > array.shape[1]:
                filler = b"" if array.dtype == object else MISSING["int64"]
                wide = np.full((len(array), width), filler, array.dtype)
                wide[:, : array.shape[1]] = array
                arrays[name] = wide
        return arrays

    def answer(self, arrays: dict[str, np.ndarray], k: int | None) -> dict[str, np.ndarray]:
        """The outputs, and what else the endpoint knows, batch first.

        Args:
            arrays: one for each input.
            k: how many items, where the endpoint `takes_k`.
        """
        raise NotImplementedError


class GraphEndpoint(Endpoint):
    """A signature of a SavedModel."""

    def __init__(self, name: str, signature: Callable):
        super().__init__(
            name, signature.structured_input_signature[1], signature.structured_outputs
        )
        self._signature = signature

    def answer(self, arrays: dict[str, np.ndarray], k: int | None) -> dict[str, np.ndarray]:
        tensors = {
            name: tf.constant(arrays[name], spec.dtype) for name, spec in self.inputs.items()
        }
        return {name: tensor.numpy() for name, tensor in self._signature(**tensors).items()}


class RecommenderEndpoint(Endpoint):
    """What a recommender answers in Python: a counted channel, or a merge.

    Args:
        name: its signature name.
        recommender: what answers.
        key: "user_id", or "item_id" for similar items.
        k: how many items an answer has where nobody says.
    """

    takes_k = True

    def __init__(self, name: str, recommender: Recommender, key: str, k: int):
        k = min(k, recommender.k_max)
        ids = tf.as_dtype(recommender.id_types["item_id"])
        outputs = {
            "item_id": tf.TensorSpec([None, k], ids),
            "score": tf.TensorSpec([None, k], tf.float32),
        }
        super().__init__(name, recommender.inputs_of(key), outputs)
        self._recommender, self._key = recommender, key

    def answer(self, arrays: dict[str, np.ndarray], k: int | None) -> dict[str, np.ndarray]:
        given = {name: decoded(array) for name, array in arrays.items()}
        for name in ("exclude", "allow", "history"):
            if name in given and not given[name].shape[1]:
                del given[name]
        ids, k = given.pop(self._key), self.k if k is None else k
        if self._key == "item_id":
            request = self._recommender.request_for_items(ids, **given)
            items, score = self._recommender.answer_similar(request, k)
            return {"item_id": encoded(items), "score": score}
        items, score, ranks = self._recommender.recommend_sources(ids, k, **given)
        return {"item_id": encoded(items), "score": score, "ranks": ranks}


def graph_endpoints(signatures: Any, prefix: str = "") -> dict[str, Endpoint]:
    """The signatures of a SavedModel as endpoints, by name."""
    names = [prefix + name for name in signatures]
    return {
        name: GraphEndpoint(name, signature)
        for name, signature in zip(names, signatures.values(), strict=True)
    }


def recommender_endpoints(
    recommender: Recommender, k: int, prefix: str = ""
) -> dict[str, Endpoint]:
    """What a recommender in Python answers, by the names that an export has."""
    keys = {}
    if recommender.answers_users:
        keys["serving_default"] = "user_id"
    if recommender.answers_items:
        keys["similar_items"] = "item_id"
    return {
        prefix + name: RecommenderEndpoint(prefix + name, recommender, key, k)
        for name, key in keys.items()
    }


def encoded(array: np.ndarray) -> np.ndarray:
    """Text as bytes in UTF-8; other arrays as they are."""
    if array.dtype != object:
        return array
    flat = [each if isinstance(each, bytes) else each.encode() for each in array.ravel()]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(array.shape)


def decoded(array: np.ndarray) -> np.ndarray:
    """Bytes as text; other arrays as they are."""
    return raw_ids(array) if array.dtype == object and array.size else array
