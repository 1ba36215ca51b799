"""Files of convolutions, for workers to load: configs as JSON and weights as arrays, no pickle."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from apache_beam.io.filesystems import FileSystems

import tf_recall.towers.combinations  # noqa: F401  it and the convolutions, for Keras to know
import tf_recall.towers.smoothing  # noqa: F401
from tf_recall.beam.files import opened, read_json, write_json, written

CONFIGS, WEIGHTS = "layers.json", "weights.npz"


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer: `{relation: convolution}`, and `{type: combination}` of types of several."""

    convolutions: dict[str, keras.layers.Layer]
    combinations: dict[str, keras.layers.Layer]


def save_layers(
    layers: Sequence[dict], folder: str | Path, combinations: Sequence[dict] | None = None
) -> None:
    """Writes the convolutions of a graph network, for pipelines to read.

        layers.json  [{"convolutions": {relation: config}, "combinations": {type: config}}], the
            first layer first
        weights.npz  arrays "<layer>/<kind>/<relation or type>/<number>", layers counted from 1

    Args:
        layers: `[{relation: convolution}]`, built.
        folder: where to; files of these two names are replaced.
        combinations: `[{type: combination}]` by layer, built, of types of several relations.

    Raises:
        ValueError: no layers, or a convolution without weights yet.

    Example:
        >>> convolution = SAGEConvolution(64, Mean())
        >>> convolution.build((None, 32), (None, None, 32))
        >>> save_layers([{"item_item": convolution}], "layers")
    """
    if not layers or not all(layers):
        raise ValueError("there must be one layer or more, of one relation or more each")
    combinations = combinations or [{} for _ in layers]
    made = [Layer(*both) for both in zip(layers, combinations, strict=True)]
    arrays = {}
    for number, kind, name, part in _each(made):
        if not part.built:
            raise ValueError(
                f"layer {number} of {name!r} has no weights yet: build it, or call it once"
            )
        for index, weight in enumerate(part.get_weights()):
            arrays[f"{number}/{kind}/{name}/{index}"] = weight
    with written(FileSystems.join(str(folder), WEIGHTS)) as file:
        content = io.BytesIO()
        np.savez(content, **arrays)
        file.write(content.getvalue())
    configs = [_configs(layer) for layer in made]
    write_json(FileSystems.join(str(folder), CONFIGS), configs)


def load_layers(folder: str | Path) -> list[Layer]:
    """The layers that `save_layers` wrote, with their weights.

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
    layers = [_parts(layer) for layer in read_json(paths[0])]
    try:
        with (
            opened(paths[1]) as file,
            np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays,
        ):
            for number, kind, name, part in _each(layers):
                own = [f"{number}/{kind}/{name}/{index}" for index in range(len(part.weights))]
                part.set_weights([arrays[key] for key in own])
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
    return {
        kind: {name: keras.saving.serialize_keras_object(each) for name, each in parts.items()}
        for kind, parts in vars(layer).items()
    }


def _parts(layer):
    return Layer(
        **{
            kind: {name: keras.saving.deserialize_keras_object(each) for name, each in of.items()}
            for kind, of in layer.items()
        }
    )


def _each(layers):
    """`[(number, kind, relation or type, part)]` of all layers, counted from 1."""
    return [
        (number, kind, name, part)
        for number, layer in enumerate(layers, 1)
        for kind, parts in vars(layer).items()
        for name, part in parts.items()
    ]
