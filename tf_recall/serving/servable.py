"""A version in memory: its endpoints, warmed up, and how many requests use it."""

from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.errors import one_line
from tf_recall.export.items import read_items
from tf_recall.export.load import LoadedService, load
from tf_recall.export.versions import read_metrics
from tf_recall.export.write import WARMUP
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.base import Recommender
from tf_recall.serving.batching import Batcher
from tf_recall.serving.endpoint import (
    Endpoint,
    encoded,
    graph_endpoints,
    recommender_endpoints,
)
from tf_recall.serving.limits import Limits

if TYPE_CHECKING:
    from tf_recall.serving.metrics import Metrics

DEFAULT = "serving_default"
SIMILAR = "similar_items"
CHANNEL_K = 100  # items of a merge's or a channel's answer, where nobody says how many


class Servable:
    """A version of a model, loaded and warmed up.

    Args:
        name, version: whose it is.
        path: its folder, checked and loaded here; it is not read any more afterwards.
        limits: of requests.
        pool: where it is called.
        metrics: are told of each call.

    Attributes:
        recommender: what was loaded.
        endpoints: what it answers, by signature name. Of several channels those of the merge, and
            `channels/<channel>/<signature>`.
        signature_defs: the same as TensorFlow describes it, for metadata.
        batcher: asks them.
        table, metrics: what the export keeps beside the model: the items' side table, or None, and
            how good it is.
        leases: how many requests use it; `retired`: it gets no new ones. `Models` counts.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load`; a warm-up request that fails.
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: Path,
        limits: Limits,
        pool: Executor,
        metrics: "Metrics",
    ):
        self.name, self.version = name, version
        self.recommender = load(path)
        k = min(CHANNEL_K, limits.k)
        self.endpoints = endpoints_of(self.recommender, k)
        if isinstance(self.recommender, LoadedService):
            self.signature_defs = _read_signatures(path)
            requests = _warm_up_requests(path)
        else:
            self.signature_defs = {
                each: _described(endpoint) for each, endpoint in self.endpoints.items()
            }
            requests = [(each, _nobody(endpoint)) for each, endpoint in self.endpoints.items()]
        for each, arrays in requests:
            self._warm_up(each, arrays, path)
        self.table, self.metrics = read_items(path), read_metrics(path)
        _ = self.recommender.catalog  # explanations read it later, when the folder may be gone
        self.batcher = Batcher(limits, pool, metrics.batches(name))
        self.leases, self.retired = 0, False

    def of_channel(self, channel: str | None) -> tuple[Recommender, str]:
        """A channel, or the whole; and how the names of its endpoints begin.

        Raises:
            ValueError: there is no such channel.
        """
        if channel is None:
            return self.recommender, ""
        channels = getattr(self.recommender, "channels", {})
        if channel not in channels:
            known = ", ".join(channels) or "none"
            raise ValueError(f"{self.name} has no channel {channel!r}; it has: {known}")
        return channels[channel], f"channels/{channel}/"

    def _warm_up(self, name, arrays, path):
        if name not in self.endpoints:
            return
        endpoint = self.endpoints[name]
        try:
            endpoint.answer(endpoint.widened(arrays), None)
        except Exception as error:
            raise ValueError(
                f"{path}: a warm-up request of {name} fails: {one_line(error)}"
            ) from error


def endpoints_of(recommender: Recommender, k: int) -> dict[str, Endpoint]:
    """What a loaded export answers, by signature name.

    Args:
        recommender: what `load` returned.
        k: how many items an answer in Python has, where nobody says.
    """
    if not isinstance(recommender, MultiChannel):
        return _endpoints(recommender, k)
    endpoints = recommender_endpoints(recommender, k)
    for name, channel in recommender.channels.items():
        endpoints |= _endpoints(channel, k, f"channels/{name}/")
    return endpoints


def _endpoints(recommender, k, prefix=""):
    if isinstance(recommender, LoadedService):
        return graph_endpoints(recommender.signatures, prefix)
    return recommender_endpoints(recommender, k, prefix)


def _read_signatures(path):
    content = (path / "saved_model.pb").read_bytes()
    meta_graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    return dict(meta_graph.signature_def)


def _warm_up_requests(path):
    """The requests that the export brings, as a TensorFlow server replays them."""
    if not (path / WARMUP).is_file():
        return
    for record in tf.data.TFRecordDataset(str(path / WARMUP)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        arrays = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        yield request.model_spec.signature_name or DEFAULT, arrays


def _nobody(endpoint):
    """A request of somebody unknown."""
    key = "user_id" if "user_id" in endpoint.inputs else "item_id"
    missing = "" if endpoint.inputs[key].dtype == tf.string else -1
    arrays = batch(endpoint.inputs, key, {key: [missing]})
    return {name: encoded(array) for name, array in arrays.items()}


def _described(endpoint):
    """An endpoint in Python as the signature that it would have in a graph."""
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for side, specs in (("inputs", endpoint.inputs), ("outputs", endpoint.outputs)):
        for name, spec in specs.items():
            info = getattr(signature, side)[name]
            info.name, info.dtype = name, spec.dtype.as_datatype_enum
            info.tensor_shape.CopyFrom(spec.shape.as_proto())
    return signature
