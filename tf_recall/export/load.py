"""Exports, loaded again: a model through its signatures alone, as a client of a server asks."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import raw_ids
from tf_recall.export.channels import read_channels
from tf_recall.export.versions import CHANNELS, check_manifest, version_folder
from tf_recall.recommend.arrays import is_list
from tf_recall.recommend.embedding import EmbeddingRecommender

if TYPE_CHECKING:
    import keras

FEW = 8  # answers whose texts are sooner made objects of Python than cut to k in TensorFlow


def load(path: str | Path) -> "LoadedService | MultiChannel":
    """Loads an export, checked for completeness.

    Args:
        path: `saved_models/<name>/<version>`, or `saved_models/<name>` for its newest version.

    Returns:
        A `LoadedService`, or the `MultiChannel` of several channels.

    Raises:
        FileNotFoundError: there is no export, or one of its files is missing.
        ValueError: a file is truncated or damaged.
        ImportError: the export holds ScaNN's ops and ScaNN is not installed.

    Example:
        >>> item_id, score = load("saved_models/two_tower").recommend(["u17"], k=10)
    """
    path = version_folder(path)
    check_manifest(path)
    if (path / CHANNELS).is_file():
        return read_channels(path, load)
    if any(op.startswith("Scann>") for op in _ops(path)):
        try:
            from scann.scann_ops.py import scann_ops  # noqa: F401  registers the ops
        except ImportError as error:
            raise ImportError(
                f"{path} searches with ScaNN: pip install 'tf-recall[scann]'"
            ) from error
    try:
        return LoadedService(tf.saved_model.load(str(path)), path)
    except (tf.errors.OpError, OSError) as error:
        raise ValueError(f"{path} is damaged, export or copy it again: {error}") from error


def restore(path: str | Path) -> "tuple[keras.Model, Catalog]":
    """The trained model and its catalog, as `save(..., model=model)` kept them.

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

    path = version_folder(path)
    if (path / CHANNELS).is_file():
        raise FileNotFoundError(
            f"{path} holds several channels, no model: trained ones are in {path / 'channels'}"
        )
    training = path / "training"
    if not (training / "model.keras").is_file():
        raise FileNotFoundError(f"{training} holds no model: the export was written without model=")
    return keras.models.load_model(training / "model.keras"), Catalog.load(training / "catalog")


class LoadedService(EmbeddingRecommender):
    """A loaded export of a service; `load` makes it.

    The graph answers with `k_max` items and the first k are kept. Item rows are found through the
    exported ids. Without the model's folder `training` it has no catalog and does not explain.

    Args:
        model: what `tf.saved_model.load` returned.
        path: the version's folder.
    """

    def __init__(self, model: Any, path: Path):
        # without the model its variables go
        self._model, self._signatures = model, model.signatures
        self._catalog_folder = path / "training" / "catalog"
        self._ids = raw_ids(model.item_ids.numpy())
        self._index = pd.Index(self._ids)

    @property
    def k_max(self) -> int:
        return self._signatures["serving_default"].structured_outputs["score"].shape[1]

    @functools.cached_property
    def query_columns(self) -> dict[str, tf.TensorSpec]:
        return self._columns("embed_query", "user_id")

    @functools.cached_property
    def item_columns(self) -> dict[str, tf.TensorSpec]:
        return self._columns("embed_item", "item_id")

    @functools.cached_property
    def takes_history(self) -> bool:
        return "history" in self._specs("embed_query")

    @functools.cached_property
    def id_types(self) -> dict[str, str]:
        endpoints = {"user_id": "embed_query", "item_id": "embed_item"}
        return {key: self._specs(name)[key].dtype.name for key, name in endpoints.items()}

    @property
    def explains(self) -> bool:
        return self._catalog_folder.is_dir()

    @functools.cached_property
    def catalog(self) -> Catalog | None:
        """The catalog that was exported with the model; None where the model was left out."""
        return Catalog.load(self._catalog_folder) if self.explains else None

    def knows(self, key: str, ids: np.ndarray) -> np.ndarray | None:
        """As `Recommender.knows`; items are found through the exported ids."""
        return self._index.get_indexer(ids) > 0 if key == "item_id" else super().knows(key, ids)

    def _recommend(self, request, k):
        return self._best("serving_default", request.arrays, k)

    def _similar(self, request, k):
        return self._best("similar_items", request.arrays, k)

    def _vectors(self, endpoint, arrays):
        return self._ask(endpoint, arrays)["embedding"].numpy()

    def _as_ids(self, items):
        return items

    def _as_rows(self, items):
        rows = self._index.get_indexer(items.ravel())
        return rows.astype(np.int32).reshape(items.shape)

    def _best(self, endpoint, arrays, k):
        answer = self._ask(endpoint, arrays)
        items = answer["item_id"]
        if len(items) > FEW:
            items = tf.slice(items, [0, 0], [-1, k])
        return raw_ids(items.numpy()[:, :k]), answer["score"].numpy()[:, :k]

    def _ask(self, endpoint, arrays):
        specs = self._specs(endpoint)
        return self._signatures[endpoint](
            **{name: tf.constant(arrays[name], spec.dtype) for name, spec in specs.items()}
        )

    def _specs(self, endpoint):
        return self._signatures[endpoint].structured_input_signature[1]

    def _columns(self, endpoint, key):
        specs = self._specs(endpoint)
        return {name: spec for name, spec in specs.items() if name != key and not is_list(spec)}


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
