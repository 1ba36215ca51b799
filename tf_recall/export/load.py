"""An exported service, loaded again: through its signatures alone, as any client of the server
would ask it.
"""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import raw_ids
from tf_recall.recommend.explanations import explained
from tf_recall.recommend.request import batch, check_k, is_list
from tf_recall.registry import REGISTRY, find

CHANNELS = "channels.json"
MARKS = ("saved_model.pb", CHANNELS)  # what a version's folder holds, one or the other


def load(path) -> "Served":
    """A model's export, checked for completeness; arguments and errors as of `tf_recall.load`."""
    path = version_folder(path)
    check(path)
    if any(op.startswith("Scann>") for op in _ops(path)):
        try:
            from scann.scann_ops.py import scann_ops  # noqa: F401  registers the ops
        except ImportError as error:
            raise ImportError(
                f"{path} searches with ScaNN: pip install 'tf-recall[scann]'"
            ) from error
    try:
        return Served(tf.saved_model.load(str(path)), path)
    except (tf.errors.OpError, OSError) as error:
        raise ValueError(f"{path} is damaged, export or copy it again: {error}") from error


def restore(path):
    """The trained model and its catalog, as `export(..., model=model)` kept them: to train on, or
    to index anew.

    Args:
        path: as for `load`.

    Returns:
        `(model, catalog)`; the catalog's side tables are empty, the model holds them encoded.

    Raises:
        FileNotFoundError: there is no export, or it was written without its model.

    Example:
        >>> service = Service.build(*restore("saved_models/two_tower"), index=ScaNN())
    """
    import keras

    for kind in (
        "model",
        "tower",
        "feature",
        "sessions",
        "positives",
        "negatives",
        "loss",
        "optimizer",
    ):
        for name in REGISTRY[kind]:
            find(kind, name)  # imported, and so known to Keras
    path = version_folder(path)
    if (path / CHANNELS).is_file():
        raise FileNotFoundError(
            f"{path} holds several channels, no model: trained ones are in {path / 'channels'}"
        )
    training = path / "training"
    if not (training / "model.keras").is_file():
        raise FileNotFoundError(f"{training} holds no model: the export was written without model=")
    return keras.models.load_model(training / "model.keras"), Catalog.load(training / "catalog")


def versions(directory) -> list[int]:
    """The versions in `<directory>/<version>/`, of a model or of several channels, rising."""
    names = {path.parent.name for mark in MARKS for path in Path(directory).glob(f"*/{mark}")}
    return sorted(int(name) for name in names if name.isdecimal())


class Served:
    """A loaded export with the methods of `Service`; `load` makes it.

    The graph answers with `k_max` items and the first k are kept. Rows are found through the
    exported ids.
    """

    def __init__(self, model, path):
        self._model, self._signatures, self._path = model, model.signatures, path
        self.inputs = {
            name: dict(function.structured_input_signature[1])
            for name, function in self._signatures.items()
        }
        self.k_max = self._signatures["serving_default"].structured_outputs["score"].shape[1]
        self._ids = raw_ids(model.item_ids.numpy())
        self._index = pd.Index(self._ids)

    @property
    def query_columns(self) -> dict[str, tf.TensorSpec]:
        """The features that a request may bring along, by column."""
        inputs = self.inputs["embed_query"]
        return {
            name: spec for name, spec in inputs.items() if name != "user_id" and not is_list(spec)
        }

    @property
    def takes_history(self) -> bool:
        """Whether a request may bring the items that a user took."""
        return "history" in self.inputs["embed_query"]

    @property
    def id_types(self) -> dict[str, str]:
        """Whether `user_id` and `item_id` are "string" or "int64"."""
        endpoints = {"user_id": "embed_query", "item_id": "embed_item"}
        return {
            name: self.inputs[endpoint][name].dtype.name for name, endpoint in endpoints.items()
        }

    def recommend(
        self, user_id, k=10, exclude=None, allow=None, exclude_seen=False, history=None, **features
    ):
        """As `Service.recommend`."""
        given = {
            "exclude": exclude,
            "allow": allow,
            "exclude_seen": exclude_seen,
            "history": history,
        }
        return self._best(
            "serving_default", "user_id", {"user_id": user_id, **given, **features}, k
        )

    def similar(self, item_id, k=10, exclude=None, allow=None, **features):
        """As `Service.similar`."""
        given = {"item_id": item_id, "exclude": exclude, "allow": allow, **features}
        return self._best("similar_items", "item_id", given, k)

    def recommend_rows(self, user_id, k=10, exclude_seen=False, **features):
        """As `Service.recommend_rows`."""
        item_id, score = self.recommend(user_id, k, exclude_seen=exclude_seen, **features)
        return self._index.get_indexer(item_id.ravel()).astype(np.int32).reshape(
            item_id.shape
        ), score

    def explain(self, user_id, item_id, num=3, history=None) -> list[dict]:
        """As `Service.explain`.

        Raises:
            FileNotFoundError: the export was written without its model, and so without what its
                users had.
        """
        return explained(self.catalog, self.embed_item, user_id, item_id, num, history)

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The catalog that was exported beside the model."""
        return Catalog.load(self._path / "training" / "catalog")

    def embed_query(self, user_id, history=None, **features) -> np.ndarray:
        """As `Service.embed_query`."""
        return self._ask(
            "embed_query", "user_id", {"user_id": user_id, "history": history, **features}
        )["embedding"]

    def embed_item(self, item_id, **features) -> np.ndarray:
        """As `Service.embed_item`."""
        return self._ask("embed_item", "item_id", {"item_id": item_id, **features})["embedding"]

    def _best(self, endpoint, key, given, k):
        check_k(k, self.k_max)
        answer = self._ask(endpoint, key, given)
        return raw_ids(answer["item_id"][:, :k]), answer["score"][:, :k]

    def _ask(self, endpoint, key, given):
        inputs = self.inputs[endpoint]
        arrays = batch(inputs, key, given)
        answer = self._signatures[endpoint](
            **{name: tf.constant(arrays[name], inputs[name].dtype) for name in inputs}
        )
        return {name: tensor.numpy() for name, tensor in answer.items()}


def version_folder(path) -> Path:
    """`path` where it is a version's folder, else its newest version's.

    Raises:
        FileNotFoundError: there is no export.
    """
    path = Path(path)
    if any((path / mark).is_file() for mark in MARKS):
        return path
    if found := versions(path):
        return path / str(found[-1])
    raise FileNotFoundError(
        f"no export at {path}: it must be .../<name>/<version> with a saved_model.pb, or .../<name>"
    )


def check(path) -> None:
    """Refuses a folder from which something is missing, or that was not copied whole."""
    manifest = path / "manifest.json"
    if not manifest.is_file():
        raise FileNotFoundError(
            f"{manifest} is missing: {path} is incomplete, or was not exported by tf_recall"
        )
    try:
        sizes = json.loads(manifest.read_text())["bytes"]
    except ValueError as error:
        raise ValueError(f"{manifest} is damaged, export or copy {path} again: {error}") from None
    if missing := [name for name in sizes if not (path / name).is_file()]:
        raise FileNotFoundError(f"{path} lacks {', '.join(missing)}: copy the whole folder")
    for name, size in sizes.items():
        if (found := (path / name).stat().st_size) != size:
            raise ValueError(
                f"{path / name} is damaged: it has {found} bytes and should have {size}; copy it "
                "again"
            )


def _ops(path) -> set[str]:
    try:
        model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise ValueError(
            f"{path / 'saved_model.pb'} is damaged, export or copy it again: {error}"
        ) from None
    return {
        node.op
        for function in model.meta_graphs[0].graph_def.library.function
        for node in function.node_def
    }
