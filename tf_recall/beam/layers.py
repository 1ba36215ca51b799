"""Convolutions on their way to workers: their configs as JSON and their weights as arrays; no
pickle.
"""

import hashlib
import io

import keras
import numpy as np
from apache_beam.io.filesystems import FileSystems

from tf_recall.beam.files import opened, read_json, write_json, written
from tf_recall.towers import convolutions  # noqa: F401  so that Keras knows them

CONFIGS, WEIGHTS = "layers.json", "weights.npz"


def save_layers(layers: list[dict], folder) -> None:
    """Writes the convolutions of a graph network, for pipelines to read.

        layers.json  [{type: config of its convolution}], the first layer first
        weights.npz  arrays "<layer>/<type>/<number>", layers counted from 1

    Args:
        layers: `[{type: convolution}]`, built.
        folder: where to; what it has of those two files is replaced.

    Raises:
        ValueError: no layers, or a convolution without weights yet.

    Example:
        >>> save_layers([{"user": to_users, "item": to_items}], "gs://bucket/layers")
    """
    if not layers or not all(layers):
        raise ValueError("there must be one layer or more, of one type or more each")
    arrays = {}
    for number, of_type, convolution in _each(layers):
        if not convolution.built:
            raise ValueError(
                f"layer {number} of {of_type!r} has no weights yet: build it, or call it once"
            )
        for place, weight in enumerate(convolution.get_weights()):
            arrays[f"{number}/{of_type}/{place}"] = weight
    with written(FileSystems.join(str(folder), WEIGHTS)) as file:
        content = io.BytesIO()
        np.savez(content, **arrays)
        file.write(content.getvalue())
    write_json(
        FileSystems.join(str(folder), CONFIGS),
        [
            {of_type: keras.saving.serialize_keras_object(each) for of_type, each in layer.items()}
            for layer in layers
        ],
    )


def load_layers(folder) -> list[dict]:
    """The convolutions that `save_layers` wrote, with their weights: `[{type: convolution}]`.

    A class of one's own must be registered with Keras, and its module imported.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is damaged, or the two do not belong together.
    """
    paths = [FileSystems.join(str(folder), name) for name in (CONFIGS, WEIGHTS)]
    for path in paths:
        if not FileSystems.exists(path):
            raise FileNotFoundError(
                f"{path} is missing: save_layers writes {CONFIGS} and {WEIGHTS}"
            )
    layers = [
        {
            of_type: keras.saving.deserialize_keras_object(config)
            for of_type, config in layer.items()
        }
        for layer in read_json(paths[0])
    ]
    try:
        with (
            opened(paths[1]) as file,
            np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays,
        ):
            for number, of_type, convolution in _each(layers):
                own = [f"{number}/{of_type}/{place}" for place in range(len(convolution.weights))]
                convolution.set_weights([arrays[name] for name in own])
    except Exception as error:
        raise ValueError(
            f"{paths[1]} is damaged, or does not belong to {paths[0]}: {error}"
        ) from error
    return layers


def digest(folder) -> str:
    """A hash of what `save_layers` wrote."""
    hashed = hashlib.sha256()
    for name in (CONFIGS, WEIGHTS):
        with opened(FileSystems.join(str(folder), name)) as file:
            hashed.update(file.read())
    return hashed.hexdigest()


def _each(layers):
    """Number, type and convolution of all, layers counted from 1."""
    return [(number, *each) for number, layer in enumerate(layers, 1) for each in layer.items()]
