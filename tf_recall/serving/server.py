"""The server: models, REST and gRPC on one event loop, from its start to a graceful stop."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import uvicorn

from tf_recall.data.tables import read
from tf_recall.experiments.file import read_plan
from tf_recall.experiments.overview import missing, pinned_by
from tf_recall.export.items import KEY, table_of
from tf_recall.serving.app import make_app
from tf_recall.serving.backend import Backend
from tf_recall.serving.connections import Connection
from tf_recall.serving.limits import Limits
from tf_recall.serving.live import LiveStore
from tf_recall.serving.metrics import Metrics
from tf_recall.serving.models import Models
from tf_recall.serving.redis_values import RedisValues
from tf_recall.serving.repository import Repository
from tf_recall.serving.rpc import make_grpc
from tf_recall.serving.sources import Sources
from tf_recall.serving.watcher import Watcher

log = logging.getLogger("tf_recall.serving")
HEADERS = 2**16  # bytes of a request's head
IDLE = 30  # seconds that a connection is kept without a request
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Settings:
    """How a server is reached, and what it takes.

    Args:
        folder, config: as for `Repository`.
        host: the address to listen on; the machine's own alone by default.
        rest_port, grpc_port: TensorFlow Serving's by default; 0 for a free one, None for none.
        key: an API key that requests must bring.
        certificate, private_key: files in PEM; both, and then REST and gRPC speak TLS.
        limits: of requests.
        poll: seconds from one look for new versions to the next.
        redis: a Redis with users' lists and vectors.
        stores: addresses of live stores by the model that answers from them.
        ui: whether there is a page to look at models, at `/ui`.
        items: a CSV or Parquet file with `item_id` and columns such as a title, for exports that
            bring no table of items of their own.
        experiments: a plan, which users of `/recommend` and `/similar` are answered by; it is read
            once, at the start.

    Raises:
        ValueError: a certificate without its key or the reverse; no port at all; a page without
            REST.
    """

    folder: str | Path
    config: str | Path | None = None
    host: str = "127.0.0.1"
    rest_port: int | None = 8501
    grpc_port: int | None = 8500
    key: str | None = None
    certificate: str | Path | None = None
    private_key: str | Path | None = None
    limits: Limits = field(default_factory=Limits)
    poll: float = 1.0
    redis: str | None = None
    stores: dict[str, str] = field(default_factory=dict)
    ui: bool = False
    items: str | Path | None = None
    experiments: str | Path | None = None

    def __post_init__(self):
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("TLS takes a certificate and its private key, both or none")
        if self.rest_port is None and self.grpc_port is None:
            raise ValueError("a server needs a port, of REST or of gRPC")
        if self.ui and self.rest_port is None:
            raise ValueError("the page needs a port of REST")
        if self.key is not None and not (self.key.isascii() and self.key.strip()):
            raise ValueError("an API key must be plain letters, digits and signs, and not empty")


class Server:
    """Serves the exports of a folder until it is told to stop.

    Args:
        settings: of the server.

    Attributes:
        rest, grpc: addresses, once it is ready: "http://127.0.0.1:8501" and "127.0.0.1:8500"; None
            where it does not listen.

    Example:
        >>> server = Server(Settings("saved_models/two_tower", rest_port=0, grpc_port=0))
        >>> asyncio.run(server.run(ready=server.stop))
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._plan = None if settings.experiments is None else read_plan(settings.experiments)
        pinned = {} if self._plan is None else pinned_by(self._plan)
        self._repository = Repository(settings.folder, settings.config, pinned)
        self.rest: str | None = None
        self.grpc: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._asked_to_stop = False

    def stop(self) -> None:
        """Tells it to stop; from any thread, at any time."""
        self._asked_to_stop = True
        if self._stopped is not None:
            with contextlib.suppress(RuntimeError):  # it has stopped already
                self._loop.call_soon_threadsafe(self._stopped.set)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until `stop`, SIGTERM or SIGINT; then ends the requests that it has.

        Args:
            ready: is called when requests are answered.

        Raises:
            FileNotFoundError: there is no export to serve, or no table of items.
            OSError: a port is taken; a certificate cannot be read.
            ValueError: no export can be served, or not what the experiments name; a certificate
                that is none.
        """
        settings, self._loop = self._settings, asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._check_named()
        metrics = Metrics()
        workers = max(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers, "model") as pool, contextlib.ExitStack() as ends:
            models = Models(self._repository, settings.limits, pool, metrics)
            ends.callback(models.close)
            stores = {
                name: LiveStore(address, settings.limits, pool, metrics.batches(f"{name}:store"))
                for name, address in settings.stores.items()
            }
            redis = None if settings.redis is None else RedisValues(settings.redis)
            sources = Sources(metrics, redis, stores)
            table = _table(settings.items)
            backend = Backend(models, settings.limits, metrics, pool, sources, table, self._plan)
            async with sources.open(), self._listening(backend):
                with self._signals():
                    await self._loop.run_in_executor(None, models.refresh)
                    self._check_served(models)
                    self._check_stores(models)
                    watcher = Watcher(models, sources, settings.poll)
                    watcher.start()
                    ends.callback(watcher.stop)
                    backend.ready = True
                    log.info("ready", extra={"rest": self.rest, "grpc": self.grpc})
                    ready()
                    if not self._asked_to_stop:
                        await self._stopped.wait()
                    log.info("stopping")
                    backend.ready = False
        log.info("stopped")

    @contextlib.asynccontextmanager
    async def _listening(self, backend):
        """Listens on both ports; at the end neither takes new requests, and those there are end."""
        settings, stops = self._settings, []
        try:
            if settings.rest_port is not None:
                stop, port = await self._serve_rest(backend)
                stops.append(stop)
                scheme = "http" if settings.certificate is None else "https"
                self.rest = f"{scheme}://{_address(settings.host, port)}"
            if settings.grpc_port is not None:
                stop, port = await self._serve_grpc(backend)
                stops.append(stop)
                self.grpc = _address(settings.host, port)
            yield
        finally:
            await asyncio.gather(*(stop() for stop in stops))

    async def _serve_rest(self, backend):
        settings, limits = self._settings, self._settings.limits
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        try:
            listener = socket.create_server(
                (settings.host, settings.rest_port), family=family, backlog=limits.connections
            )
        except OSError as error:
            raise OSError(
                f"cannot listen on {_address(settings.host, settings.rest_port)}: "
                f"{error.strerror}; choose another --rest-port"
            ) from error
        config = uvicorn.Config(
            make_app(backend, settings.key, settings.ui),
            http=functools.partial(Connection, seconds=limits.reading),
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
            limit_concurrency=limits.connections,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=max(1, round(limits.stopping)),
            h11_max_incomplete_event_size=HEADERS,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.private_key,
        )
        server = _Uvicorn(config)
        try:
            config.load()
        except OSError as error:
            listener.close()
            raise _no_certificate(error) from error
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)

        async def stop():
            server.should_exit = True
            await serving

        return stop, listener.getsockname()[1]

    async def _serve_grpc(self, backend):
        settings = self._settings
        server = make_grpc(backend, settings.key)
        address = _address(settings.host, settings.grpc_port)
        try:
            if settings.certificate is None:
                port = server.add_insecure_port(address)
            else:
                pair = [
                    Path(each).read_bytes() for each in (settings.private_key, settings.certificate)
                ]
                port = server.add_secure_port(address, grpc.ssl_server_credentials([tuple(pair)]))
        except RuntimeError as error:
            raise OSError(
                f"cannot listen on {address}: it is taken; choose another --grpc-port"
            ) from error
        await server.start()

        async def stop():
            await server.stop(settings.limits.stopping)

        return stop, port

    def _check_named(self):
        """Refuses a plan that names what is not on disk, before anything is loaded."""
        if self._plan is not None and (entries := self._repository.entries()):
            self._refuse_missing({name: each.candidates() for name, each in entries.items()})

    def _refuse_missing(self, there):
        if absent := missing(self._plan, there):
            raise ValueError(f"{self._settings.experiments}: {absent}")

    def _check_served(self, models):
        if models.names:
            if self._plan is not None:
                self._check_experiments(models)
            return
        folder = self._repository.config or self._repository.folder
        if failed := models.failures:
            raise ValueError(f"nothing to serve in {folder}: {failed[0]}")
        raise FileNotFoundError(f"no export in {folder}: it must be <name>/<version> in it")

    def _check_stores(self, models):
        if foreign := sorted(set(self._settings.stores) - set(models.names)):
            raise ValueError(
                f"--store names {foreign[0]!r}, which is not served; there are: "
                f"{', '.join(models.names)}"
            )

    def _check_experiments(self, models):
        """Refuses a plan whose arms could not answer."""
        self._refuse_missing(models.ready)
        file = self._settings.experiments
        for key, target in self._plan.targets():
            with models.lease(target.model, target.version) as servable:
                try:
                    servable.answering(merge=target.merge)
                except ValueError as error:
                    raise ValueError(f"{file}: {key}.merge: {error}") from error

    @contextlib.contextmanager
    def _signals(self):
        """Has SIGTERM and SIGINT stop it, where it runs in the main thread."""
        known = []
        with contextlib.suppress(ValueError, RuntimeError):  # in another thread
            for each in SIGNALS:
                self._loop.add_signal_handler(each, self.stop)
                known.append(each)
        try:
            yield
        finally:
            for each in known:
                self._loop.remove_signal_handler(each)


class _Uvicorn(uvicorn.Server):
    """A uvicorn whose process belongs to somebody else: signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop, where there is one; None for Python's own."""
    try:
        import uvloop
    except ImportError:  # on Windows
        return None
    return uvloop.new_event_loop


def _table(path):
    """The table of items in a file."""
    return None if path is None else table_of(read(path, {KEY}), str(path))


def _address(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _no_certificate(error):
    return ValueError(f"the certificate and its private key cannot be used: {error}")
