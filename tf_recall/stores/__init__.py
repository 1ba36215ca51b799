"""Live stores of vectors: items are added, changed and removed while queries run."""

import importlib
from typing import Any

_HOMES = {
    "FaissFlat": "faiss",
    "FaissHNSW": "faiss",
    "FaissIVF": "faiss",
    "LiveScaNN": "scann",
    "Milvus": "milvus",
    "Store": "base",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
