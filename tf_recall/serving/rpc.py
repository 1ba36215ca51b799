"""TensorFlow Serving's gRPC: PredictionService and ModelService, with its own stubs."""

import functools
import logging
import time
from collections.abc import Callable

import grpc
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_recall.serving.arrays import of_protos, to_proto
from tf_recall.serving.backend import Asked, Backend
from tf_recall.serving.gate import is_key, key_of, request_id
from tf_recall.serving.logs import REQUEST_ID
from tf_recall.serving.metrics import NOBODY
from tf_recall.serving.refusal import Refusal, invalid

log = logging.getLogger("tf_recall.serving.requests")
FIELD = "signature_def"
WAITING = 10_000  # calls that have come and are not looked at yet


def answers(method: Callable) -> Callable:
    """Makes of a method that answers or refuses one that gRPC calls: with key, metrics and logs."""
    name = method.__name__

    @functools.wraps(method)
    async def wrapped(self, request, context):
        begun, code, message = time.perf_counter(), "OK", ""
        headers = {
            key: value for key, value in context.invocation_metadata() if isinstance(value, str)
        }
        token = REQUEST_ID.set(request_id(headers.get("x-request-id")))
        try:
            self.running += 1
            if self.running > self.backend.limits.connections:
                raise Refusal(
                    "RESOURCE_EXHAUSTED",
                    f"{self.running} requests run already: the server is overloaded",
                )
            if not is_key(key_of(headers), self.key):
                raise Refusal("UNAUTHENTICATED", "an API key is needed: authorization: Bearer KEY")
            return await method(self, request, context)
        except Refusal as error:
            code, message = error.code, str(error)
        except Exception as error:
            code, message = "INTERNAL", "the server failed; its log says why"
            log.exception("the server failed: %s", type(error).__name__)
        except BaseException:  # the client has gone
            code = "CANCELLED"
            raise
        finally:
            self.running -= 1
            seconds = time.perf_counter() - begun
            model = request.model_spec.name
            known = code == "OK" and model or NOBODY
            self.backend.metrics.answered("grpc", name, known, code, seconds)
            noted = {"api": "grpc", "method": name, "model": model, "status": code}
            noted |= {"ms": round(1000 * seconds, 2)} | ({"error": message} if message else {})
            log.info("request", extra=noted)
            REQUEST_ID.reset(token)
        await context.abort(grpc.StatusCode[code], message)

    return wrapped


class Service:
    """What both services have: how they answer, and how many requests run now."""

    def __init__(self, backend: Backend, key: str | None):
        self.backend, self.key = backend, key
        self.running = 0


class Predictions(Service, prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; what our exports do not have is UNIMPLEMENTED."""

    @answers
    async def Predict(self, request: Message, context: grpc.aio.ServicerContext) -> Message:
        """The outputs of a signature, those of `output_filter` where it names any."""
        spec = request.model_spec
        answer = await self.backend.predict(
            _asked(spec),
            spec.signature_name,
            lambda endpoint: of_protos(endpoint, request.inputs, self.backend.limits),
            context.time_remaining(),
            request.ByteSize(),
        )
        wanted = list(request.output_filter) or list(answer.outputs)
        if unknown := sorted(set(wanted) - set(answer.outputs)):
            raise invalid(f"output_filter names {', '.join(unknown)}, which is no output")
        response = predict_pb2.PredictResponse(model_spec=answer.spec)
        for name in wanted:
            dtype = answer.endpoint.outputs[name].dtype
            response.outputs[name].CopyFrom(to_proto(answer.outputs[name], dtype))
        return response

    @answers
    async def GetModelMetadata(
        self, request: Message, context: grpc.aio.ServicerContext
    ) -> Message:
        """The signatures of a version."""
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        if unknown := sorted(set(request.metadata_field) - {FIELD}):
            raise invalid(f"Metadata field {', '.join(unknown)} is not supported")
        return self.backend.metadata(_asked(request.model_spec))


class Statuses(Service, model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; models are told by `models.config`, and no request changes them."""

    @answers
    async def GetModelStatus(self, request: Message, context: grpc.aio.ServicerContext) -> Message:
        """The states of a model's versions."""
        asked = _asked(request.model_spec)
        return self.backend.models.status(asked.name, asked.version, asked.label)


def make_grpc(backend: Backend, key: str | None = None) -> grpc.aio.Server:
    """A server of both services, without a port yet."""
    limits = backend.limits
    # gRPC cancels calls that it cannot hand over at once, which tells clients nothing: we refuse
    pending = {"max_pending_requests": WAITING, "max_pending_requests_hard_limit": WAITING}
    # so long a client may say nothing, asked whether it lives
    silent = round(1000 * limits.reading)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.body),
            ("grpc.so_reuseport", 0),
            ("grpc.server_handshake_timeout_ms", silent),
            ("grpc.keepalive_time_ms", silent),
            ("grpc.keepalive_timeout_ms", silent),
            ("grpc.http2.ping_timeout_ms", silent),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            *((f"grpc.server.{name}", value) for name, value in pending.items()),
        ]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Predictions(backend, key), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Statuses(backend, key), server)
    return server


def _asked(spec):
    if not spec.name:
        raise invalid("Missing ModelSpec: it must name a model")
    version = spec.version.value if spec.HasField("version") else None
    return Asked(spec.name, version, spec.version_label or None)
