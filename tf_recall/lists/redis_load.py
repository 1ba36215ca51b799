"""Precomputed lists into Redis, whole or not at all."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from tf_recall.data.names import check_name
from tf_recall.lists.base import Form
from tf_recall.lists.read import read
from tf_recall.lists.redis_store import connect, current, translated
from tf_recall.lists.write import offsets

KEYS = 1000  # keys looked at, or deleted, in one command


def to_redis(path: str | Path, url: str, name: str, ttl: float | None = None) -> int:
    """Loads a file of lists into Redis, and switches readers to it once it is whole.

    Readers get the old lists until the last new one is there, and from then on the new ones.

        <name>:current         JSON: "version", and the lists' `Form`
        <name>:<version>:<id>  JSON: {"item_id": [...], "score": [...], "sources": [...]}, the
                               columns of the file
        <name>:versions        the versions that have keys
        <name>:loading         the version whose load began last, until it is current

    `current` is set last. The keys of the version before are deleted then, and those that an
    interrupted load left before the next load begins. Of two loads at once the one that began later
    goes on, and the other fails.

    A reader asks for `<name>:current` and the keys of its version in one MULTI; asked for apart, a
    load that ends in between would leave it without a list.

    Args:
        path: what `write_lists` or `write_similar` wrote.
        url: `redis://[[user]:password@]host[:port][/database]`, `rediss://...` or `unix://...`; one
            server, no cluster.
        name: what to call the lists there, a plain name as a folder may have.
        ttl: seconds from the start of the load after which Redis deletes all lists; None: never.

    Returns: the number of lists.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, an impossible name or ttl, a ttl that is over before the load
            is.
        ImportError: redis is not installed.
        OSError: the server is not reached, refuses, or another load took over.
    """
    form, batches = read(path)
    return load((_values(each, form) for each in batches), asdict(form), url, name, ttl)


def load(
    batches: Iterable[Iterable[tuple[str | int, str | bytes]]],
    about: dict,
    url: str,
    name: str,
    ttl: float | None,
) -> int:
    """Loads values by id, whole or not at all; keys, errors and the rest as of `to_redis`.

    Args:
        batches: of ids and their values, made one after the other.
        about: what `<name>:current` says of them, fit for JSON.
        url, name, ttl: as for `to_redis`.
    """
    check_name("name", name)
    if ttl is not None and not ttl > 0:
        raise ValueError(f"ttl is a number of seconds above 0, or None, got {ttl!r}")
    ends = None if ttl is None else time.monotonic() + ttl
    client, version, count = connect(url), uuid.uuid4().hex[:12], 0
    with translated(url), client:
        # before anything of others is written over
        current(client.get(f"{name}:current"), name, url)
        client.set(f"{name}:loading", version)
        _sweep(client, name, url)
        try:
            for each in tqdm(batches, "loading into Redis", unit="batch", delay=3, leave=False):
                pipe = client.pipeline(transaction=False)
                pipe.sadd(f"{name}:versions", version)
                left = _left(ends, ttl)
                for one, value in each:
                    pipe.set(f"{name}:{version}:{one}", value, px=left)
                    count += 1
                pipe.get(f"{name}:loading")
                _check_turn(pipe.execute()[-1], version, name)
            _publish(client, name, version, about, _left(ends, ttl))
        except BaseException:
            with contextlib.suppress(Exception):  # what is left then, the next load deletes
                _give_up(client, name, version, url)
            raise
        _sweep(client, name, url)
    return count


def _publish(client, name, version, about, px):
    """Makes a version the current one, if no other load has begun since."""
    from redis import WatchError

    with client.pipeline() as pipe:
        pipe.watch(f"{name}:loading")
        _check_turn(pipe.get(f"{name}:loading"), version, name)
        pipe.multi()
        pipe.set(f"{name}:current", json.dumps({"version": version, **about}), px=px)
        pipe.delete(f"{name}:loading")
        try:
            pipe.execute()
        except WatchError:
            _check_turn(None, version, name)


def _check_turn(loading, version, name):
    if loading != version.encode():
        raise OSError(
            f"another load of {name!r} began after this one, and goes on; this one is given up"
        )


def _sweep(client, name, url):
    """Deletes the keys of versions that are neither current nor being loaded."""
    with client.pipeline() as pipe:  # all three at one moment
        pipe.smembers(f"{name}:versions").get(f"{name}:current").get(f"{name}:loading")
        versions, pointer, loading = pipe.execute()
    known = current(pointer, name, url)
    for version in {each.decode() for each in versions}:
        if version not in (known and known[0], loading and loading.decode()):
            _delete(client, name, version)


def _give_up(client, name, version, url):
    """Deletes the keys of a load that failed, without MULTI, which a Redis that is full refuses."""
    known = current(client.get(f"{name}:current"), name, url)
    if known is None or known[0] != version:
        _delete(client, name, version)


def _delete(client, name, version):
    cursor = None
    while cursor != 0:
        cursor, keys = client.scan(cursor or 0, f"{name}:{version}:*", KEYS)
        if keys:
            client.unlink(*keys)
    client.srem(f"{name}:versions", version)


def _left(ends, ttl):
    """Milliseconds until a time; None for never."""
    if ends is None:
        return None
    left = int((ends - time.monotonic()) * 1000)
    if left < 1:
        raise ValueError(f"the ttl of {ttl} s was over before the lists were loaded")
    return left


def _values(batch: pa.RecordBatch, form: Form):
    """Each id and its list as JSON text."""
    parts = [
        (f"{json.dumps(name)}:", _text(batch[name]))
        for name in batch.schema.names
        if name != form.key
    ]
    fields = [field for part in parts for field in (",", *part)]
    text = pc.binary_join_element_wise("{", *fields[1:], "}", "")
    return zip(batch[form.key].to_pylist(), text.to_pylist(), strict=True)


def _text(values: pa.Array) -> pa.Array:
    """Each value as JSON text: lists, strings and numbers, without a Python object for each."""
    if pa.types.is_list(values.type):
        lengths = values.value_lengths().to_numpy(zero_copy_only=False)
        lists = pa.ListArray.from_arrays(offsets(lengths), _text(values.flatten()))
        return pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
    if pa.types.is_string(values.type):
        codes = values.dictionary_encode()
        known = [json.dumps(each, ensure_ascii=False) for each in codes.dictionary.to_pylist()]
        return pa.array(known, pa.string()).take(codes.indices)
    return values.cast(pa.string())
