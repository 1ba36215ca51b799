"""The HTTP application: routes, health, metrics, the page of OpenAPI, errors in one form."""

from importlib import resources

import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse

from tf_recall import __version__
from tf_recall.serving import people, tensorflow_rest
from tf_recall.serving.backend import Backend
from tf_recall.serving.gate import OPEN, Gate
from tf_recall.serving.page import files, routes
from tf_recall.serving.refusal import Refusal
from tf_recall.serving.replies import ERROR, error_reply, json_body, note, refused

PAGE = {"js": "text/javascript", "css": "text/css"}
NO_ICON = "data:,"  # else the page asks another host for one
SCHEMES = {
    "key": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def make_app(backend: Backend, key: str | None = None, ui: bool = False) -> Gate:
    """The application that a server of HTTP runs.

    Args:
        backend: answers requests.
        key: what they must bring; None: nothing.
        ui: whether it has the page to look at models.
    """
    app = FastAPI(
        title="tf_recall", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.include_router(people.router(backend))
    app.include_router(tensorflow_rest.router(backend))
    _add_health(app, backend)
    _add_page(app, key)
    _add_errors(app)
    open_paths = OPEN
    if ui:
        app.include_router(routes.router(backend))
        open_paths = OPEN | files.paths()
    return Gate(app, backend, key, open_paths)


def _add_health(app, backend):
    def add(path, function, kind=JSONResponse):
        about = {"tags": ["Operation"], "summary": function.__name__}
        app.add_api_route(path, function, response_class=kind, **about)

    async def alive() -> Response:
        """Whether the process runs."""
        return json_body(b'{"status": "ok"}')

    async def ready() -> Response:
        """Whether requests are taken: models are loaded, and the server does not stop."""
        if not backend.ready:
            return error_reply(503, "not ready")
        return json_body(b'{"status": "ready"}')

    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(backend.metrics.text(), media_type="text/plain; version=0.0.4")

    add("/healthz", alive)
    add("/readyz", ready)
    add("/metrics", metrics, PlainTextResponse)


def _add_page(app, key):
    """The page, of files that are read here: no request names one."""
    static = resources.files(fastapi_offline) / "static"
    scripts = {
        "js": (static / "swagger-ui-bundle.js").read_bytes(),
        "css": (static / "swagger-ui.css").read_bytes(),
    }

    def document():
        if app.openapi_schema is None:
            app.openapi_schema = _openapi(app, key)
        return app.openapi_schema

    app.openapi = document

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict:
        return document()

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="tf_recall",
            swagger_js_url="docs/swagger-ui.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url=NO_ICON,
        )

    def add(kind):
        @app.get(f"/docs/swagger-ui.{kind}", include_in_schema=False)
        async def script() -> Response:
            return Response(scripts[kind], media_type=PAGE[kind])

    for kind in PAGE:
        add(kind)


def _openapi(app, key):
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # such are 400 here, in our form
    schemas = document.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if key is not None:
        document.setdefault("components", {})["securitySchemes"] = SCHEMES
        document["security"] = [{name: []} for name in SCHEMES]
    schemas["Error"] = ERROR
    return document


def _add_errors(app):
    @app.exception_handler(Refusal)
    async def of_refusal(request: Request, error: Refusal) -> Response:
        return refused(request, error)

    @app.exception_handler(RequestValidationError)
    async def of_form(request: Request, error: RequestValidationError) -> Response:
        said = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3]]
        note(request, error="; ".join(said))
        return error_reply(400, "; ".join(said))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith("/v1/") and error.status_code in (404, 405):
            status = 400 if error.status_code == 404 else 405
            return error_reply(status, f"Malformed request: {request.method} {request.url.path}")
        return error_reply(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def of_fault(request: Request, error: Exception) -> Response:
        note(request, error=type(error).__name__)
        return error_reply(500, "the server failed; its log says why")
