"""Indexes, which find the items of highest dot product with a query: exact, IVF, ScaNN, sharded.

Importing this package loads nothing heavy: TensorFlow comes with the first index that is named,
ScaNN when one is made.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tf_recall.index.base import Index

_HOMES = {
    "Index": "base",
    "Exact": "exact",
    "IVF": "ivf",
    "ScaNN": "scann",
    "Sharded": "sharded",
}

__all__ = ["IVF", "Exact", "Index", "ScaNN", "Sharded", "default_index"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {sorted(__all__)}"
        )
    return getattr(importlib.import_module(f".{_HOMES[name]}", __package__), name)


def default_index(num_items: int) -> "Index":
    """The index for a catalog of this size that every TensorFlow server can load.

    `Exact` under 20,000 items, where no approximation pays, and `IVF` from there on. `ScaNN` is
    faster still, but its op must be compiled into the server; it is chosen by name.

    Args:
        num_items: how many items there are.

    Raises:
        ValueError: there are none.

    Example:
        >>> index = default_index(num_items=50_000)
    """
    if num_items < 1:
        raise ValueError(f"num_items must be 1 or more, got {num_items}")
    name = "Exact" if num_items < 20_000 else "IVF"
    return __getattr__(name)()
