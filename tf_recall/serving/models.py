"""The models of a server: versions loaded aside, swapped in, lent to requests, let go."""

import contextlib
import gc
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

from tensorflow_serving.apis import get_model_status_pb2

from tf_recall.data.errors import one_line
from tf_recall.export.versions import check_manifest
from tf_recall.serving.limits import Limits
from tf_recall.serving.metrics import Metrics
from tf_recall.serving.refusal import Refusal
from tf_recall.serving.repository import Entry, Repository
from tf_recall.serving.servable import Servable

log = logging.getLogger("tf_recall.serving")
OK, FAILED = 0, 9  # codes of TensorFlow: FAILED_PRECONDITION
State = get_model_status_pb2.ModelVersionStatus


@dataclass
class Version:
    """What is known of a version: its state and, where it failed, why and on which files."""

    state: int = State.START
    error: str = ""
    files: tuple | None = None


@dataclass
class Model:
    """A model's versions: what is known of each, and those that answer."""

    entry: Entry
    versions: dict[int, Version] = field(default_factory=dict)
    ready: dict[int, Servable] = field(default_factory=dict)


class Models:
    """All models of a repository, kept up to date.

    `refresh` looks at the disk: a new version is loaded and warmed up aside, then it answers and
    the one before gets no further requests; when its last one is answered it is let go. A version
    that is not whole, or fails, is left out until its files change, and the newest whole one
    answers meanwhile. `refresh` belongs to one thread; `lease` and `status` may be called from any.

    Args:
        repository: where models are.
        limits: of requests.
        pool: where models are called.
        metrics: are told of loads.

    Attributes:
        changed: is set when a version may be let go.
    """

    def __init__(self, repository: Repository, limits: Limits, pool: Executor, metrics: Metrics):
        self._repository, self._limits = repository, limits
        self._pool, self._metrics = pool, metrics
        self._lock = threading.Lock()
        self._models: dict[str, Model] = {}
        self._retired: list[Servable] = []
        self._said = ""
        self.changed = threading.Event()
        metrics.watch(self._waiting)

    def refresh(self) -> None:
        """Brings what is served in line with the disk."""
        try:
            entries = self._repository.entries()
        except (OSError, ValueError) as error:
            self._say(f"the models stay as they are: {one_line(error)}")
            entries = {name: model.entry for name, model in self._models.items()}
        for name, entry in entries.items():
            with self._lock:
                model = self._models.setdefault(name, Model(entry))
                model.entry = entry
            try:
                candidates = entry.candidates()
            except OSError as error:
                self._say(f"{name} stays as it is: {one_line(error)}")
                continue
            self._update(model, candidates)
        for name in set(self._models) - set(entries):
            self._update(self._models[name], [])
            with self._lock:
                del self._models[name]
        self._let_go()

    def close(self) -> None:
        """Lets everything go that no request uses."""
        for model in self._models.values():
            self._retire(model, list(model.ready))
        self._let_go()

    @property
    def names(self) -> list[str]:
        """The models that have a version that answers."""
        with self._lock:
            return [name for name, model in self._models.items() if model.ready]

    @property
    def ready(self) -> dict[str, list[int]]:
        """The versions that answer, by model."""
        with self._lock:
            return {name: list(model.ready) for name, model in self._models.items()}

    @property
    def failures(self) -> list[str]:
        """Why versions are not served."""
        with self._lock:
            known = [each for model in self._models.values() for each in model.versions.values()]
            return [each.error for each in known if each.error]

    @contextlib.contextmanager
    def lease(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[Servable]:
        """A version for the time of one request; the newest where nobody says which.

        Raises:
            Refusal: there is no such model, version or label.
        """
        with self._lock:
            servable = self._find(name, version, label)
            servable.leases += 1
        try:
            yield servable
        finally:
            with self._lock:
                servable.leases -= 1
                if servable.retired and not servable.leases:
                    self.changed.set()

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of a model's versions, the newest first, or of one of them.

        Raises:
            Refusal: there is no such model, version or label.
        """
        answer = get_model_status_pb2.GetModelStatusResponse()
        with self._lock:
            model = self._models.get(name)
            if model is None or not model.versions:
                raise Refusal("NOT_FOUND", f"Could not find any versions of model {name}")
            if label is not None:
                version = _labelled(model, label)
            for number, known in sorted(model.versions.items(), reverse=True):
                if version in (None, number):
                    status = answer.model_version_status.add(version=number, state=known.state)
                    status.status.error_code = FAILED if known.error else OK
                    status.status.error_message = known.error
        if not answer.model_version_status:
            raise Refusal("NOT_FOUND", f"Could not find version {version} of model {name}")
        return answer

    def _find(self, name, version, label):
        model = self._models.get(name)
        if model is None or not model.ready:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal("NOT_FOUND", f"Servable not found for request: {asked}")
        if label is not None:
            version = _labelled(model, label)
        servable = model.ready.get(max(model.ready) if version is None else version)
        if servable is None:
            raise Refusal(
                "NOT_FOUND", f"Servable not found for request: Specific({name}, {version})"
            )
        return servable

    def _update(self, model, candidates):
        """Loads what is to be served and is not yet; then retires what is not to be any more."""
        kept, newest = [], 0
        for version in candidates:
            is_newest = newest != model.entry.number  # or all are to be served
            if not is_newest and version not in model.entry.pinned:
                continue
            if version in model.ready or self._load(model, version):
                kept.append(version)
                newest += is_newest
        gone = [version for version in model.ready if version not in kept]
        if kept or not candidates:
            self._retire(model, gone)
        with self._lock:
            for version in set(model.versions) - set(candidates):
                if model.versions[version].error:
                    del model.versions[version]  # never served, and not there any more

    def _load(self, model, version):
        """Whether the version is whole and answers now."""
        path = model.entry.folder / str(version)
        known = model.versions.get(version, Version())
        try:
            if known.error and known.files == _files(path):
                return False
            check_manifest(path, verify=False)
        except (OSError, ValueError) as error:
            self._fail(model, version, path, error)
            return False
        files = _files(path)
        self._set(model, version, Version(State.LOADING))
        try:
            servable = Servable(
                model.entry.name, version, path, self._limits, self._pool, self._metrics
            )
        except Exception as error:  # whatever it is, the others go on
            self._fail(model, version, path, error, files)
            return False
        with self._lock:
            model.versions[version] = Version(State.AVAILABLE)
            model.ready[version] = servable
        self._metrics.loads.labels(model.entry.name, "ready").inc()
        self._metrics.versions.labels(model.entry.name, version).set(1)
        log.info("version ready", extra={"model": model.entry.name, "version": version})
        return True

    def _fail(self, model, version, path, error, files=None):
        message = one_line(error)
        known = model.versions.get(version)
        self._set(model, version, Version(State.END, message, files or _files(path)))
        if known is None or known.error != message:  # a copy that goes on fails again and again
            name = model.entry.name
            self._metrics.loads.labels(name, "failed").inc()
            log.error("version not served: %s", message, extra={"model": name, "version": version})

    def _set(self, model, version, known):
        with self._lock:
            model.versions[version] = known

    def _retire(self, model, versions):
        with self._lock:
            for version in versions:
                servable = model.ready.pop(version)
                servable.retired = True
                model.versions[version] = Version(State.UNLOADING)
                self._retired.append(servable)

    def _let_go(self):
        with self._lock:
            idle = [each for each in self._retired if not each.leases]
            self._retired = [each for each in self._retired if each.leases]
            for servable in idle:
                model = self._models.get(servable.name)
                if model is not None and servable.version not in model.ready:
                    model.versions[servable.version] = Version(State.END)
        for servable in idle:
            with contextlib.suppress(KeyError):
                self._metrics.versions.remove(servable.name, str(servable.version))
            log.info("version let go", extra={"model": servable.name, "version": servable.version})
        if idle:
            del idle, servable
            gc.collect()  # graphs hold themselves

    def _waiting(self):
        with self._lock:
            served = [each for model in self._models.values() for each in model.ready.values()]
            return sum(each.batcher.waiting for each in [*served, *self._retired])

    def _say(self, message):
        """Logs what keeps being so once."""
        if message != self._said:
            log.error(message)
        self._said = message


def _labelled(model, label):
    if label not in model.entry.labels:
        raise Refusal("NOT_FOUND", f"Unrecognized servable version label: {label}")
    return model.entry.labels[label]


def _files(path):
    """By what a folder is known to be the same as before."""
    try:
        stats = [(str(each), each.stat()) for each in sorted(path.rglob("*"))]
    except OSError:
        return None
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
