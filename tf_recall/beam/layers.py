"""Files of convolutions, for workers to load: configs as JSON and weights as arrays, no pickle."""

import hashlib
import io
from pathlib import Path

import keras
import numpy as np
from apache_beam.io.filesystems import FileSystems

from tf_recall.beam.files import opened, read_json, write_json, written
from tf_recall.towers import convolutions  # noqa: F401  so that Keras knows them

CONFIGS, WEIGHTS = "layers.json", "weights.npz"


def save_layers(layers: list[dict], folder: str | Path) -> None:
    """Writes the convolutions of a graph network, for pipelines to read.

        layers.json  [{type: config of its convolution}], the first layer first
        weights.npz  arrays "<layer>/<type>/<number>", layers counted from 1

    Args:
        layers: `[{type: convolution}]`, built.
        folder: where to; files of these two names are replaced.

    Raises:
        ValueError: no layers, or a convolution without weights yet.

    Example:
        >>> convolution = SAGEConvolution(64, Mean())
        >>> convolution.build((None, 32), (None, None, 32))
        >>> save_layers([{"item": convolution}], "layers")
    """
    if not layers or not all(layers):
        raise ValueError("there must be one layer or more, of one type or more each")
    arrays = {}
    for number, of_type, convolution in _each(layers):
        if not convolution.built:
            raise ValueError(
                f"layer {number} of {of_type!r} has no weights yet: build it, or call it once"
            )
        for index, weight in enumerate(convolution.get_weights()):
            arrays[f"{number}/{of_type}/{index}"] = weight
    with written(FileSystems.join(str(folder), WEIGHTS)) as file:
        content = io.BytesIO()
        np.savez(content, **arrays)
        file.write(content.getvalue())
    configs = [_configs(layer) for layer in layers]
    write_json(FileSystems.join(str(folder), CONFIGS), configs)


def load_layers(folder: str | Path) -> list[dict]:
    """The convolutions that `save_layers` wrote, with their weights: `[{type: convolution}]`.

    A class of one's own must be registered with Keras, and its module imported.

    Args:
        folder: where they are.

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
    layers = [_convolutions(layer) for layer in read_json(paths[0])]
    try:
        with (
            opened(paths[1]) as file,
            np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays,
        ):
            for number, of_type, convolution in _each(layers):
                count = len(convolution.weights)
                own = [f"{number}/{of_type}/{index}" for index in range(count)]
                convolution.set_weights([arrays[name] for name in own])
    except Exception as error:
        raise ValueError(
            f"{paths[1]} is damaged, or does not belong to {paths[0]}: {error}"
        ) from error
    return layers


def digest(folder: str | Path) -> str:
    """A hash of what `save_layers` wrote."""
    hashed = hashlib.sha256()
    for name in (CONFIGS, WEIGHTS):
        with opened(FileSystems.join(str(folder), name)) as file:
            hashed.update(file.read())
    return hashed.hexdigest()


def _configs(layer):
    return {t: keras.saving.serialize_keras_object(each) for t, each in layer.items()}


def _convolutions(layer):
    return {t: keras.saving.deserialize_keras_object(config) for t, config in layer.items()}


def _each(layers):
    """`[(number, type, convolution)]` of all convolutions, layers counted from 1."""
    return [(number, *each) for number, layer in enumerate(layers, 1) for each in layer.items()]
