"""The files of the page, read at the start: no request names one of the disk."""

import functools
import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

HOME = "/ui"
UNDER = "/ui/static/"
INDEX = "index.html"
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}
SHORT = 1000  # bytes below which nothing is compressed
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",  # Vue compiles the templates of our own files
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
GUARD = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked for again each time, and then not sent again
}


@dataclass(frozen=True)
class File:
    """A file as it is sent."""

    body: bytes
    packed: bytes | None
    kind: str
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> "File":
        """Makes it of its name and content."""
        suffix = name[name.rfind(".") :]
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        packed = gzip.compress(body, 6, mtime=0) if len(body) > SHORT else None
        return cls(body, packed, kind, f'"{hashlib.sha256(body).hexdigest()[:24]}"')

    def reply(self, request: Request) -> Response:
        """The file, or that it is as the browser has it."""
        headers = {**GUARD, "ETag": self.tag, "Vary": "Accept-Encoding"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = self.body
        if self.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = self.packed, "gzip"
        return Response(body, headers=headers, media_type=self.kind)


@functools.cache
def read() -> dict[str, File]:
    """All files by the path under which they are sent."""
    root = resources.files("tf_recall.serving.page") / "static"
    found = {UNDER + name: File.of(name, body) for name, body in _within(root, "")}
    return {HOME: found.pop(UNDER + INDEX), **found}


def paths() -> set[str]:
    """The paths that need no key: they tell nothing of what is served."""
    return {"/", HOME, f"{HOME}/", *read()}


def add(routes: APIRouter) -> None:
    """Adds the files' routes."""
    for path, file in read().items():
        _add(routes, path, file)

    @routes.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse(HOME[1:])  # beside, wherever a proxy has put the server


def _add(routes, path, file):
    @routes.get(path, include_in_schema=False)
    async def send(request: Request) -> Response:
        return file.reply(request)


def _within(folder, prefix):
    for each in folder.iterdir():
        if each.is_dir():
            yield from _within(each, f"{prefix}{each.name}/")
        elif not each.name.endswith(".md"):
            yield prefix + each.name, each.read_bytes()
