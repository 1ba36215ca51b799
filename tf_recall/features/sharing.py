"""Layers that two parts of a model have in common, as an item tower inside the query tower."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras

_LAYERS = contextvars.ContextVar("layers", default=())  # pairs of a name and the layer


@contextlib.contextmanager
def shared(**layers) -> Iterator[None]:
    """Within, parts of a model refer to these layers by name instead of holding copies of them."""
    before = _LAYERS.set(tuple(layers.items()))
    try:
        yield
    finally:
        _LAYERS.reset(before)


def serialize(layer: Any) -> dict:
    """A layer's config, or only its name where the model holds it elsewhere."""
    name = next((name for name, held in _LAYERS.get() if held is layer), None)
    return {"shared": name} if name else keras.saving.serialize_keras_object(layer)


def deserialize(config: Any) -> Any:
    """The layer of such a config.

    Raises:
        ValueError: it refers to a layer of a model, and the model is not at hand.
    """
    if not isinstance(config, dict) or "shared" not in config:
        return keras.saving.deserialize_keras_object(config)
    name, layers = config["shared"], dict(_LAYERS.get())
    if name not in layers:
        raise ValueError(f"this part shares the {name} of its model: load the whole model")
    return layers[name]
