"""Calls as requests of TensorFlow Serving's gRPC."""

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from tf_recall.client.answers import of_arrays
from tf_recall.client.calls import Asked, K, Plan, Speaker
from tf_recall.client.errors import ClientError
from tf_recall.client.messages import (
    MetadataRequest,
    MetadataResponse,
    PredictRequest,
    PredictResponse,
    SignatureMap,
)
from tf_recall.client.tensors import STRING, to_array, to_tensor

FIELD = "signature_def"
LISTS = ("exclude", "allow", "history")
REST_ONLY = ("explain", "columns")
BUSY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")  # the server's 503
STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 503,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "UNIMPLEMENTED": 501,
    "CANCELLED": 499,
}


@dataclass(frozen=True)
class Called:
    """A method of a service, its request and the kind of its reply."""

    method: str
    request: Message
    reply: type[Message]


class Rpc(Speaker):
    """`Predict` and `GetModelMetadata`; what a request does not say is filled up for them."""

    def __init__(self):
        self._signatures: dict[tuple[Asked, str], dict[str, tuple[int, int]]] = {}

    def recommend(self, asked: Asked, given: dict[str, Any]) -> Plan:
        return (yield from self._answer(asked, "serving_default", "user_id", given))

    def similar(self, asked: Asked, given: dict[str, Any]) -> Plan:
        return (yield from self._answer(asked, "similar_items", "item_id", given))

    def models(self) -> Plan:
        raise ValueError("gRPC has no list of models: ask the server's http:// address")
        yield

    def predict(self, asked: Asked, inputs: dict[str, Any], signature: str) -> Plan:
        return (yield from self._predict(asked, inputs, signature))[0]

    def _answer(self, asked, signature, key, given):
        if wrong := [name for name in REST_ONLY if given.pop(name, None)]:
            raise ValueError(
                f"{' and '.join(wrong)} go over REST: ask the server's http:// address"
            )
        channel, k = given.pop("channel", None), given.pop("k", None)
        signature = signature if channel is None else f"channels/{channel}/{signature}"
        inputs = yield from self._inputs(asked, signature)
        given |= given.pop("context", None) or {}
        given = {name: value for name, value in given.items() if value is not None}
        if unknown := sorted(set(given) - set(inputs)):
            raise ValueError(f"the model takes no {', '.join(unknown)}; it takes {_known(inputs)}")
        if key == "user_id" and "exclude_seen" in inputs:
            given.setdefault("exclude_seen", True)
        filled = {name: [given.get(name, _nothing(name, *inputs[name]))] for name in inputs}
        arrays, spec = yield from self._predict(asked, filled, signature)
        return of_arrays(asked.model, spec.version.value, arrays, K if k is None else k)

    def _predict(self, asked, inputs, signature):
        known = yield from self._inputs(asked, signature or "serving_default")
        request = PredictRequest()
        _specify(request.model_spec, asked, signature)
        for name, values in inputs.items():
            kind = known[name][0] if name in known else None  # which it is, the server says
            request.inputs[name].CopyFrom(to_tensor(values, kind))
        try:
            found = yield Called("PredictionService/Predict", request, PredictResponse)
        except ClientError:
            self._signatures.pop((asked, signature or "serving_default"), None)  # another version
            raise
        arrays = {name: to_array(tensor) for name, tensor in found.outputs.items()}
        return arrays, found.model_spec

    def _inputs(self, asked, signature):
        """The inputs of a signature: their types and numbers of dimensions."""
        if asked.model is None:
            raise ValueError("say which model: over gRPC every call takes its name")
        if (asked, signature) not in self._signatures:
            request = MetadataRequest(metadata_field=[FIELD])
            _specify(request.model_spec, asked, "")
            found = yield Called("PredictionService/GetModelMetadata", request, MetadataResponse)
            known = SignatureMap.FromString(found.metadata[FIELD].value).signature_def
            if signature not in known:
                there = ", ".join(sorted(known))
                raise ClientError(f"{asked.model} has no {signature!r}; it has: {there}", 400)
            self._signatures[asked, signature] = {
                name: (info.dtype, len(info.tensor_shape.dim))
                for name, info in known[signature].inputs.items()
            }
        return self._signatures[asked, signature]


def metadata(key: str | None) -> list[tuple[str, str]]:
    """What goes beside a call."""
    return [("authorization", f"Bearer {key}")] if key else []


def failure(error: grpc.RpcError, address: str) -> ClientError:
    """What did not get an answer."""
    code = error.code().name
    message = error.details() or f"{address} answered {code}"
    return ClientError(message, STATUS.get(code, 500), code in BUSY)


def _specify(spec, asked, signature):
    spec.name, spec.signature_name = asked.model, signature
    if asked.version is not None:
        spec.version.value = asked.version
    if asked.label is not None:
        spec.version_label = asked.label


def _nothing(name, kind, rank):
    """What says nothing of an input."""
    if name in LISTS or rank > 1:
        return []
    if kind == STRING:
        return ""
    if name == "user_id" or name == "item_id":
        return -1
    return False if name == "exclude_seen" else float("nan")


def _known(inputs):
    return ", ".join(sorted(inputs))
