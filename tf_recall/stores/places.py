"""Stores by their address: `faiss-hnsw:FOLDER`, `scann:FOLDER`, `milvus:items.db#films`."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.names import check_name
from tf_recall.export.versions import versions
from tf_recall.stores.approximate import NOTE
from tf_recall.stores.base import Store
from tf_recall.stores.faiss import FaissFlat, FaissHNSW, FaissIVF
from tf_recall.stores.milvus import Milvus
from tf_recall.stores.scann import LiveScaNN

FOLDERS = {
    "faiss-flat": FaissFlat,
    "faiss-hnsw": FaissHNSW,
    "faiss-ivf": FaissIVF,
    "scann": LiveScaNN,
}
KEPT = 2  # versions of a store in a folder, the newest ones
AT_ONCE = 50_000


def fill(
    address: str,
    ids: np.ndarray,
    vectors: np.ndarray,
    columns: pd.DataFrame | None = None,
    export: str | None = None,
) -> Store:
    """Writes items to the store at an address in place of those that it had, whole or not at all.

    A folder gets its next version, `FOLDER/<n>`, and keeps the one before; Milvus a collection of
    its own, to which the alias `NAME` then points, and loses the one before. Whoever asks meets the
    old items or the new ones, never some of each.

    Args:
        address: `faiss-flat:FOLDER`, `faiss-hnsw:FOLDER`, `faiss-ivf:FOLDER`, `scann:FOLDER`,
            `milvus:FILE.db#NAME` or `milvus:http://host:19530#NAME`.
        ids, vectors, columns: as for `Store.upsert`.
        export: the digest of the export that the vectors are of, by which a server knows whose
            queries go with them.

    Raises:
        ImportError: the package of the store is not installed.
        ValueError: an address of another form, or what `Store.upsert` refuses.
    """
    kind, place, name = parsed(address)
    dim = np.shape(vectors)[1]
    if kind == "milvus":
        return _fill_milvus(place, name, ids, vectors, columns, export)
    store = FOLDERS[kind](dim)
    store.export = export
    _upsert(store, ids, vectors, columns)
    number = max(_versions(place), default=0) + 1
    store.save(place / str(number))
    for old in _versions(place)[:-KEPT]:
        shutil.rmtree(place / str(old))
    return store


def open_store(address: str, content: int | str | None = None) -> Store:
    """The store at an address, as `fill` wrote it.

    Args:
        address: as for `fill`.
        content: which, as `content_of` told; by default what is there now.

    Raises:
        FileNotFoundError: there is none.
        ImportError, ValueError: as `fill`; or its files are damaged.
    """
    kind, place, name = parsed(address)
    if kind == "milvus":
        return Milvus.open(str(place), name if content is None else content)
    number = max(_versions(place), default=None) if content is None else content
    if number is None:
        raise FileNotFoundError(f"there is no store at {place}: fill one by tf-recall index push")
    return FOLDERS[kind].load(place / str(number))


def content_of(address: str) -> int | str | None:
    """What tells the items at an address from those that `fill` put there before.

    A number, or the collection's name; None where there are none. Items that a store gained or lost
    since are the same content.

    Raises: as `open_store`.
    """
    kind, place, name = parsed(address)
    if kind == "milvus":
        return Milvus.target(str(place), name)
    return max(_versions(place), default=None)


def parsed(address: str) -> tuple[str, Path | str, str | None]:
    """The kind of a store, its folder or Milvus's file or URL, and the collection's name.

    Raises:
        ValueError: an address of another form.
    """
    kind, _, place = address.partition(":")
    if kind in FOLDERS and place and "#" not in place:
        return kind, Path(place), None
    place, _, name = place.rpartition("#")
    if kind == "milvus" and place and name:
        check_name("the collection", name)
        return kind, place, name
    raise ValueError(
        f"{address!r} is no address of a store: take one of "
        f"{', '.join(f'{each}:FOLDER' for each in FOLDERS)}, milvus:FILE.db#NAME, "
        "milvus:http://host:19530#NAME"
    )


def by_model(pairs: Iterable[str]) -> dict[str, str]:
    """`MODEL=ADDRESS` as addresses by model.

    Raises:
        ValueError: another form, or a model twice.
    """
    found = {}
    for each in pairs:
        model, equals, address = each.partition("=")
        if not (model and equals and address):
            raise ValueError(f"--store {each}: it must be MODEL=ADDRESS")
        if model in found:
            raise ValueError(f"--store names {model} twice: a model answers from one store")
        found[model] = address
    return found


def _fill_milvus(uri, name, ids, vectors, columns, export):
    opened = Milvus.collections(uri, name)
    number = max(opened, default=0) + 1
    kind = "int64" if ids.dtype.kind == "i" else "string"
    store = Milvus(vectors.shape[1], uri, f"{name}_{number}", kind, export=export)
    _upsert(store, ids, vectors, columns)
    store.publish(name, [f"{name}_{each}" for each in opened])
    return store


def _upsert(store, ids, vectors, columns):
    for start in range(0, len(ids), AT_ONCE):
        at = slice(start, start + AT_ONCE)
        store.upsert(ids[at], vectors[at], None if columns is None else columns.iloc[at])


def _versions(folder):
    return versions(folder, [NOTE])
