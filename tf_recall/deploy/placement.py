"""Which server an export needs, and how large it is."""

from dataclasses import dataclass, replace
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from tf_recall.deploy.beside import Store
from tf_recall.export.versions import CHANNELS
from tf_recall.serving.repository import Entry, Repository

STOCK, OWN = "tensorflow-serving", "tf-recall"
MOUNTED = "/models"  # where containers find the folder
SCANN = b"Scann>"  # how the names of its operations begin


@dataclass(frozen=True)
class Placed:
    """A model and its server.

    Args:
        entry: the model as a server's list has it.
        server: `STOCK` or `OWN`.
        why: in words.
        size: bytes of its newest version.
        extras: of the package, which its server needs.
        store: the live store that it answers from, where there is one.
    """

    entry: Entry
    server: str
    why: str
    size: int
    extras: tuple[str, ...] = ()
    store: Store | None = None


def placed(
    folder: str | Path, stores: dict[str, Store] | None = None, redis: bool = False
) -> list[Placed]:
    """The models of a folder, each with the server that can serve it.

    Stock TensorFlow Serving is chosen where an export holds stock operations alone, and answers
    from itself alone.

    Args:
        folder: `saved_models`.
        stores: live stores by model.
        redis: whether users' lists and vectors are in Redis.

    Raises:
        FileNotFoundError: there is no such folder, or no export in it.
        ValueError: a model that is elsewhere, whose folder no container would have; a store of a
            model that there is not.
    """
    stores = stores or {}
    repository = Repository(folder)
    entries = repository.entries()
    if not entries or all(not entry.candidates() for entry in entries.values()):
        raise FileNotFoundError(f"no export in {folder}: it must be <name>/<version> in it")
    found = []
    for entry in entries.values():
        if entry.folder != repository.folder / entry.name:
            raise ValueError(
                f"{entry.name} is at {entry.folder}, not in {repository.folder}: give a folder "
                "that holds <name>/<version>, which containers get as a whole"
            )
        if versions := entry.candidates():
            made = _placed(entry, entry.folder / str(versions[0]))
            found.append(_with_beside(made, stores.get(entry.name), redis))
    names = [each.entry.name for each in found]
    if foreign := sorted(set(stores) - set(names)):
        raise ValueError(f"--store names {foreign[0]!r}; {folder} holds {', '.join(names)}")
    return found


def _with_beside(made, store, redis):
    """The same model where it answers from a store, or from Redis, too."""
    if store is not None:
        extras = {*made.extras, store.extra, *(["redis"] if redis else [])}
        why = "it answers from a live store, which stock TensorFlow Serving does not"
        return replace(made, server=OWN, why=why, extras=tuple(sorted(extras)), store=store)
    if redis:
        why = "lists and vectors in Redis, which stock TensorFlow Serving does not read"
        return replace(made, server=OWN, why=why, extras=(*made.extras, "redis"))
    return made


def _placed(entry, path):
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    if (path / CHANNELS).is_file():
        held = any(_has_scann(each) for each in path.glob("channels/*/saved_model.pb"))
        why = "several channels and their merge, which are not one SavedModel"
        return Placed(entry, OWN, why, size, ("scann",) if held else ())
    if _has_scann(path / "saved_model.pb"):
        why = "its index is ScaNN, whose operations stock TensorFlow Serving lacks"
        return Placed(entry, OWN, why, size, ("scann",))
    return Placed(entry, STOCK, "stock operations alone, with an exact or IVF index", size)


def _has_scann(path):
    return SCANN in path.read_bytes()


def models_config(models: list[Placed]) -> model_server_config_pb2.ModelServerConfig:
    """The list of models for a server in a container, their versions and labels as they were."""
    config = model_server_config_pb2.ModelServerConfig()
    for each in models:
        entry = each.entry
        listed = config.model_config_list.config.add(
            name=entry.name, base_path=f"{MOUNTED}/{entry.name}", model_platform="tensorflow"
        )
        policy = listed.model_version_policy
        if entry.specific:
            policy.specific.versions.extend(entry.specific)
        elif entry.latest is None:
            policy.all.SetInParent()
        elif entry.latest > 1:
            policy.latest.num_versions = entry.latest
        listed.version_labels.update(entry.labels)
    return config


def memory(models: list[Placed]) -> int:
    """Megabytes that a server may take: two versions of each at a swap, and what it is itself."""
    largest = max(each.size for each in models)
    held = sum(each.size * (each.entry.latest or 1) for each in models) + largest
    held += sum(each.store.size for each in models if each.store)
    return 1024 + -(-2 * held // 2**20 // 256) * 256
