"""Nearest items by dot product, behind one interface: exact, IVF in stock TensorFlow ops, and
ScaNN.

Importing this package loads nothing heavy: TensorFlow comes with the first index that is named,
ScaNN when one is made.
"""

import importlib

_HOMES = {"Index": "base", "Exact": "exact", "IVF": "ivf", "ScaNN": "scann"}

__all__ = ["IVF", "Exact", "Index", "ScaNN", "default_index"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {sorted(__all__)}"
        )
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def default_index(num_items: int) -> "Index":  # noqa: F821  resolved when asked for
    """The index to start with, for a catalog of `num_items`, that any stock TensorFlow server can
    load.

    Exact search under 20,000 items: there no approximation pays. IVF above. ScaNN is faster still,
    but its op must be compiled into the server; it is chosen by hand.

    Example:
        index = default_index(len(vectors)).build(vectors)
    """
    if num_items < 1:
        raise ValueError(f"num_items must be 1 or more, got {num_items}")
    name = "Exact" if num_items < 20_000 else "IVF"
    return __getattr__(name)()
