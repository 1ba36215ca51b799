"""TensorFlow Serving's REST: predict, status and metadata, with its paths, bodies and errors."""

import json

from fastapi import APIRouter, Request, Response
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from tf_recall.serving import json_arrays
from tf_recall.serving.backend import LARGEST, Asked, Backend
from tf_recall.serving.refusal import invalid
from tf_recall.serving.replies import failures, json_body, note, timeout_of

PREDICT = {
    "type": "object",
    "properties": {
        "signature_name": {"type": "string", "default": "serving_default"},
        "instances": {"type": "array", "description": "Row format: a value or object for each row"},
        "inputs": {"description": "Column format: a tensor, or an object of tensors by name"},
    },
}
NAME = {"type": "string", "pattern": "^[^/:]+$"}
VERSION = {"type": "integer", "minimum": 0, "maximum": LARGEST}
SCHEMAS = {"name": NAME, "label": NAME, "version": VERSION}
OTHERS = ("classify", "regress")  # that models of other kinds have
WAYS = {"": {}, "/versions/{version:int}": {"version"}, "/labels/{label}": {"label"}}


def router(backend: Backend) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["TensorFlow Serving"])

    async def predict(request: Request) -> Response:
        asked = _asked(request)
        body = await request.body()
        content = await backend.aside(len(body), json_arrays.read, body)
        in_rows = False

        def arrays_of(endpoint):
            nonlocal in_rows
            arrays, in_rows = json_arrays.arrays_of(content, endpoint)
            return arrays

        signature = json_arrays.signature_of(content)
        answer = await backend.predict(
            asked, signature, arrays_of, timeout_of(request.headers), len(body)
        )
        note(request, model=asked.name, version=answer.spec.version.value)
        size = sum(array.size for array in answer.outputs.values()) * 8
        body = await backend.aside(size, json_arrays.answer, answer.outputs, in_rows)
        return json_body(body)

    async def other(request: Request) -> Response:
        asked, method = _asked(request), request.url.path.rpartition(":")[2]
        with backend.models.lease(asked.name, asked.version, asked.label):
            raise invalid(
                f"Expected {method} signature method_name to be tensorflow/serving/{method}. "
                "Was: tensorflow/serving/predict"
            )

    async def status(request: Request) -> Response:
        asked = _asked(request)
        answer = backend.models.status(asked.name, asked.version, asked.label)
        note(request, model=asked.name)
        return json_body(_json(answer))

    async def metadata(request: Request) -> Response:
        asked = _asked(request)
        answer = backend.metadata(asked)
        note(request, model=asked.name, version=answer.model_spec.version.value)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        values = {
            "model_spec": json.loads(_json(answer.model_spec)),
            "metadata": {"signature_def": json.loads(_json(signatures))},
        }
        return json_body(json.dumps(values, indent=1).encode())

    for way, parameters in WAYS.items():
        path, named = f"/v1/models/{{name}}{way}", {"name", *parameters}
        _add(routes, "POST", f"{path}:predict", predict, named, PREDICT)
        for each in OTHERS:
            _add(routes, "POST", f"{path}:{each}", other, named, None)
        _add(routes, "GET", f"{path}/metadata", metadata, named, None)
        _add(routes, "GET", path, status, named, None)
    return routes


def _add(routes, method, path, function, parameters, body):
    described = {
        "parameters": [
            {"name": each, "in": "path", "required": True, "schema": SCHEMAS[each]}
            for each in sorted(parameters)
        ]
    }
    if body is not None:
        content = {"application/json": {"schema": body}}
        described["requestBody"] = {"required": True, "content": content}
    routes.add_api_route(
        path,
        function,
        methods=[method],
        summary=function.__name__,
        responses=failures(400, 404, 503, 504) if body else failures(400, 404),
        openapi_extra=described,
        include_in_schema=not path.endswith(OTHERS),
        operation_id=f"{function.__name__}_{'_'.join(sorted(parameters))}",
    )


def _asked(request):
    values = request.path_params
    if ":" in values["name"]:
        raise invalid(f"Malformed request: {request.method} {request.url.path}")
    return Asked(values["name"], values.get("version"), values.get("label"))


def _json(message):
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return text.encode()
