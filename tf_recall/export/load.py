"""Exports, loaded again: a model through its signatures alone, as a client of a server asks."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.errors import one_line
from tf_recall.data.identity import check_same, digest
from tf_recall.data.ids import raw_ids
from tf_recall.data.resources import release_unused
from tf_recall.export.channels import read_channels
from tf_recall.export.versions import CHANNELS, check_manifest, digest_of, version_folder
from tf_recall.index.scann import release_with
from tf_recall.recommend.arrays import is_list
from tf_recall.recommend.embedding import EmbeddingRecommender
from tf_recall.recommend.neighbors import USERS, NeighborRecommender
from tf_recall.recommend.service import BY_VECTOR
from tf_recall.retrievers.keras_hooks import load_model

if TYPE_CHECKING:
    import keras

ENDPOINTS = {"serving_default", "similar_items", "embed_query", "embed_item", USERS, BY_VECTOR}
FEW = 8  # answers whose texts are sooner made objects of Python than cut to k in TensorFlow


def load(path: str | Path, verify: bool = True) -> "LoadedService | MultiChannel":
    """Loads an export, checked to be as it was written.

    Args:
        path: `saved_models/<name>/<version>`, or `saved_models/<name>` for its newest version.
        verify: read every file once and compare its SHA-256 (about a second per GB), and refuse
            files that were added; else names and sizes are checked only.

    Returns:
        A `LoadedService`, or the `MultiChannel` of several channels.

    Raises:
        FileNotFoundError: there is no export, or one of its files is missing.
        ValueError: a file is truncated, damaged, edited or foreign.
        ImportError: the export holds ScaNN's ops and ScaNN is not installed.

    Example:
        >>> item_id, score = load("saved_models/two_tower").recommend(["u17"], k=10)
    """
    path = version_folder(path)
    check_manifest(path, verify)
    loaded = _loaded(path)
    loaded.export = digest_of(path)
    return loaded


def restore(path: str | Path, verify: bool = True) -> "tuple[keras.Model, Catalog]":
    """The trained model and its catalog, as `save(..., model=model)` kept them.

    Args:
        path, verify: as for `load`.

    Returns:
        `(model, catalog)`; the catalog's side tables are empty, the model holds them encoded.

    Raises:
        FileNotFoundError: there is no export, it was written without its model, or a file is
            missing.
        ValueError: as `load`; or Keras cannot read the model, such as one with a class of your own
            that was not imported.

    Example:
        >>> service = Service.build(*restore("saved_models/two_tower"), index=ScaNN())
    """

    path = version_folder(path)
    if (path / CHANNELS).is_file():
        raise FileNotFoundError(
            f"{path} holds several channels, no model: trained ones are in {path / 'channels'}"
        )
    file = path / "training" / "model.keras"
    check_manifest(path, verify)
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.parent} holds no model: the export was written without model="
        )
    with _one_line(file):
        model = load_model(file)
    catalog = Catalog.load(file.parent / "catalog")
    check_same(f"the model in {file.parent}", model.item_tower.identity, catalog.identity)
    return model, catalog


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
    def signatures(self) -> Mapping[str, Callable]:
        """The endpoints of the graph by name: functions of tensors."""
        return self._signatures

    @property
    def k_max(self) -> int:
        return self._signatures["serving_default"].structured_outputs["score"].shape[1]

    @property
    def item_ids(self) -> np.ndarray:
        """The raw ids of the items that it knows, by row from 1 on."""
        return self._ids[1:]

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
    def interests(self) -> int:
        embedding = self._signatures["embed_query"].structured_outputs["embedding"]
        return embedding.shape[1] if embedding.shape.rank == 3 else 1

    @functools.cached_property
    def predictions(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._signatures) - ENDPOINTS))

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
        if not self.explains:
            return None
        catalog = Catalog.load(self._catalog_folder)
        check_same(f"the graph beside {self._catalog_folder}", self.identity, catalog.identity)
        return catalog

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        return {"items": digest(self._ids[1:])}  # row 0 is the unknown item

    def knows(self, key: str, ids: np.ndarray) -> np.ndarray | None:
        """As `Recommender.knows`; items are found through the exported ids."""
        return self._index.get_indexer(ids) > 0 if key == "item_id" else super().knows(key, ids)

    def _recommend(self, request, k):
        return self._best("serving_default", request.arrays, k)

    def _similar(self, request, k):
        return self._best("similar_items", request.arrays, k)

    def _vectors(self, endpoint, arrays):
        return self._ask(endpoint, arrays)["embedding"].numpy()

    def _predicted(self, endpoint, arrays):
        return {name: each.numpy() for name, each in self._ask(endpoint, arrays).items()}

    def _interests(self, arrays):
        return {name: each.numpy() for name, each in self._ask("embed_query", arrays).items()}

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


class LoadedNeighbors(NeighborRecommender, LoadedService):
    """A loaded export of a service over users; `load` makes it. As `LoadedService`."""

    @functools.cached_property
    def last(self) -> int:
        return int(self._model.last.numpy())

    def _users(self, arrays):
        answer = self._ask(USERS, arrays)
        return raw_ids(answer["user_id"].numpy()), answer["score"].numpy()


def _loaded(path):
    """What `load` gives, of a folder that is checked."""
    if (path / CHANNELS).is_file():
        return read_channels(path, _loaded)
    with _one_line(path / "saved_model.pb"):
        content = (path / "saved_model.pb").read_bytes()
        graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def
        scann = any(node.op.startswith("Scann>") for node in _nodes(graph))
    if scann:
        try:
            from scann.scann_ops.py import scann_ops  # noqa: F401  registers the ops
        except ImportError as error:
            raise ImportError(
                f"{path} searches with ScaNN: pip install 'tf-recall[scann]'"
            ) from error
    with _one_line(path), _without_patterns(path) as readable:
        model = tf.saved_model.load(str(readable))
        _release_tables_of(model)
        if scann:
            _release_searchers_with(model)
        kind = LoadedNeighbors if USERS in model.signatures else LoadedService
        return kind(model, path)


def _nodes(graph):
    """All operations of a graph, those of its functions too."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _release_tables_of(model):
    """TensorFlow would keep the tables of a load, which rows are looked up in, for good."""
    tables = {}
    for signature in model.signatures.values():
        variables = {id(each.handle) for each in signature.variables}
        captured = [each for each in signature.captured_inputs if each.dtype == tf.resource]
        tables |= {id(each): each for each in captured if id(each) not in variables}
    release_unused(tables.values())


def _release_searchers_with(model):
    """TensorFlow gives each load searchers of its own, and would keep them for good."""
    nodes = _nodes(model.signatures["serving_default"].graph.as_graph_def())
    searchers = [node for node in nodes if node.op == "Scann>TensorsToScann"]
    for name in {node.attr["shared_name"].s.decode() for node in searchers}:
        release_with(model, name)


@contextlib.contextmanager
def _without_patterns(path):
    """A path to the same folder that TensorFlow does not take for a pattern, as it does `[`."""
    if not set("[\\") & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tf_recall-") as folder:
        link = Path(folder) / "export"
        link.symlink_to(path.absolute())
        yield link


@contextlib.contextmanager
def _one_line(path):
    """Names the file of which TensorFlow or Keras cannot make anything, whatever they raise."""
    try:
        yield
    except Exception as error:
        reason = one_line(error)[:500]
        raise ValueError(
            f"{path} cannot be read, export or copy it again: {type(error).__name__}: {reason}"
        ) from error
