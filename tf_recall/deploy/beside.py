"""What servers read beside their exports: live stores, and Redis."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tf_recall.lists.redis_store import masked
from tf_recall.stores.places import content_of, parsed

MOUNTED = "/stores"  # where containers find stores of folders
LOOPBACK = re.compile(r"(localhost|127\..*|::1|0\.0\.0\.0)?")


@dataclass(frozen=True)
class Store:
    """A live store that a model answers from.

    Args:
        model: its name.
        address: as its server is told.
        extra: of the package, which its server needs.
        source: the folder that is mounted, as seen from the files; None for one on a server.
        size: bytes of the folder's newest content.
    """

    model: str
    address: str
    extra: str
    source: str | None = None
    size: int = 0

    @property
    def mounted(self) -> str:
        """Where its container finds the folder."""
        return f"{MOUNTED}/{self.model}"


def stores_of(addresses: dict[str, str], out: Path) -> dict[str, Store]:
    """Stores by model, as containers reach them.

    Args:
        addresses: by model, as `tf-recall serve --store` takes them.
        out: the folder of the files.

    Raises:
        FileNotFoundError: there is no store in a folder.
        ImportError, ValueError: as `content_of`; a store that no container could reach.
    """
    return {model: _store(model, address, out) for model, address in addresses.items()}


def _store(model, address, out):
    kind, place, _ = parsed(address)
    if kind == "milvus":
        if "://" not in place:
            raise ValueError(
                f"{address}: a file of Milvus is open in one process alone: deploy with a server, "
                "milvus:http://host:19530#NAME"
            )
        return Store(model, _reachable(address, place), "milvus")
    newest = content_of(address)
    if newest is None:
        raise FileNotFoundError(f"there is no store at {place}: fill one by tf-recall index push")
    files = [each for each in (place / str(newest)).rglob("*") if each.is_file()]
    source = os.path.relpath(place.absolute(), out.absolute())
    extra, size = kind.partition("-")[0], sum(each.stat().st_size for each in files)
    return Store(model, f"{kind}:{MOUNTED}/{model}", extra, source, size)


def check_redis(url: str) -> None:
    """Refuses an address of Redis that no container could reach.

    Raises:
        ValueError: it is none, or this machine's own.
    """
    if not re.match("rediss?://.", url):
        raise ValueError(f"{masked(url)} is no address of Redis, such as redis://redis:6379/0")
    _reachable(masked(url), url)


def shown(url: str) -> str | None:
    """An address of Redis as files may hold it; None for one with a user, password or options."""
    return None if "@" in url or "?" in url else url


def _reachable(told, url):
    if LOOPBACK.fullmatch(urlsplit(url).hostname or ""):
        raise ValueError(
            f"{told}: in a container this host is the container itself: give the name by which "
            "others reach it"
        )
    return told
