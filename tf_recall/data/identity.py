"""Which rows mean which ids: a digest that whatever holds rows carries, and is compared by."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

SIZE = 16  # bytes of a digest


def digest(ids: np.ndarray) -> str:
    """The digest of ids in their order, as 32 hexadecimal digits.

    Args:
        ids: `[n]` strings (object) without line breaks, or int64.

    Example:
        >>> digest(np.array([7, 8])) == digest(np.array([8, 7]))
        False
    """
    return digest_of_blocks([ids], "string" if ids.dtype == object else "int64")


def digest_of_blocks(blocks: Iterable[np.ndarray], kind: str) -> str:
    """The `digest` of ids that come some at a time; `kind` is "string" or "int64"."""
    hashed = hashlib.blake2b(f"{kind}\n".encode(), digest_size=SIZE)
    for number, ids in enumerate(blocks):
        if kind == "string":
            hashed.update((("\n" if number else "") + "\n".join(ids)).encode())
        else:
            hashed.update(ids.astype("<i8").tobytes())
    return hashed.hexdigest()


def check_same(what: str, known: Mapping[str, str] | None, now: Mapping[str, str]) -> None:
    """Refuses a catalog whose rows mean other ids than those that something was made with.

    Args:
        what: what holds rows of a catalog, in words: "this TwoTower".
        known: the digests of its vocabularies, `{"users": ..., "items": ...}` or one of them;
            None: it is not known with which catalog it was made.
        now: the digests of the catalog that it is to be used with.

    Raises:
        ValueError: they differ; the message says in what, and what to do.
    """
    if different := [side for side, of_side in (known or {}).items() if of_side != now[side]]:
        raise ValueError(
            f"{what} and this catalog do not go together: the rows of the "
            f"{' and '.join(different)} differ. Give the catalog that was used before (`restore` "
            "gives that of an exported model), or begin anew with this one; `grown` adds new users "
            "and items"
        )


def as_numbers(identity: Mapping[str, str]) -> np.ndarray:
    """An identity as int64 `[4]`, which a weight can hold."""
    return np.frombuffer(bytes.fromhex(identity["users"] + identity["items"]), "<i8")


def of_numbers(numbers: np.ndarray) -> dict[str, str] | None:
    """The inverse of `as_numbers`; None for zeros, which a weight holds before it is set."""
    if not numbers.any():
        return None
    text = np.asarray(numbers, "<i8").tobytes().hex()
    return {"users": text[: 2 * SIZE], "items": text[2 * SIZE :]}
