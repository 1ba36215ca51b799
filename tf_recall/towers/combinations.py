"""Combinations: a node's vectors by several relations become one."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1
from tf_recall.towers.convolutions import Convolution
from tf_recall.towers.transformer import TransformerBlock


class Combination(keras.layers.Layer):
    """One vector of the vectors that a node has by each of its relations.

    A node type of one relation has nothing to combine, and gets none.

    Call: `[n, R, D]`, the vectors by relation -> `[n, dim(R, D)]`.
    """

    def dim(self, num: int, size: int) -> int:
        """The length of what comes of `num` vectors of length `size`."""
        return size


@keras.saving.register_keras_serializable("tf_recall")
class SumCombination(Combination):
    """The sum over the relations (METHODS.md M16's plainest case).

    vector = sum_r H_r

    Call: as `Combination`.

    Paper: Schlichtkrull et al. 2018, "Modeling Relational Data with Graph Convolutional Networks",
        section 2.1.
    """

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(vectors, axis=1)


@keras.saving.register_keras_serializable("tf_recall")
class MeanCombination(Combination):
    """The mean over the relations.

    vector = sum_r H_r / R

    Call: as `Combination`.
    """

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(vectors, axis=1)


@keras.saving.register_keras_serializable("tf_recall")
class FMCombination(Combination):
    """Relations that count by themselves and by what they say together (METHODS.md M16).

    vector = sum_r H_r + sum over r < s of H_r * H_s,  number by number

    The second sum is ((sum_r H_r)^2 - sum_r H_r^2) / 2.

    Call: as `Combination`.

    Example:
        >>> FMCombination()(tf.constant([[[1.0], [2.0], [3.0]]])).numpy()  # 6 + 2 + 3 + 6
        array([[17.]], dtype=float32)

    Paper: Liu et al. 2020, "Graph Neural Network for Tag Ranking in Tag-enhanced Video
        Recommendation", section 4.
    Departs from the paper: the sum of the relations stays beside that of the pairs, as a
        factorization machine has both, so that what one relation alone says is not lost.
    """

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(vectors, axis=1)
        return total + (tf.square(total) - tf.reduce_sum(tf.square(vectors), axis=1)) / 2


@keras.saving.register_keras_serializable("tf_recall")
class TransformerCombination(Combination):
    """The relations' vectors as a sequence through a transformer (METHODS.md M15).

    vector = mean over r of TransformerBlock([H_1 + place_1 ; ... ; H_R + place_R])_r

    Args:
        heads: of the attention; they divide the length of the vectors.
        units: size of the block's hidden layer.

    Call: as `Combination`.

    Raises:
        ValueError: at the first call, heads that do not divide the vectors.

    Paper: Gurukar et al. 2022, "MultiBiSage: A Web-Scale Recommendation System Using Multiple
        Bipartite Graphs at Pinterest", section 4.
    """

    tunable = {"heads": {"choices": [1, 2, 4]}, "units": [32, 512, "log"]}

    def __init__(self, heads: WholeFrom1 = 2, units: WholeFrom1 = 128, **kwargs) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.units = units

    def build(self, input_shape: tuple) -> None:
        _, num, size = input_shape
        self.places = self.add_weight(name="places", shape=(num, size), initializer="zeros")
        self.block = TransformerBlock(size, self.heads, self.units, dtype=self.dtype_policy)
        self.block.build()
        self.built = True

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        vectors += tf.cast(self.places, vectors.dtype)
        return tf.reduce_mean(self.block(vectors, tf.ones(tf.shape(vectors)[:2])), axis=1)

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads, "units": self.units}


@keras.saving.register_keras_serializable("tf_recall")
class ConcatCombination(Combination):
    """The relations' vectors side by side, of which the next layer may read each by itself.

    vector = [H_1 ; ... ; H_R]

    Call: as `Combination`.
    """

    def dim(self, num, size):
        return num * size

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        _, num, size = vectors.shape
        return tf.reshape(vectors, [-1, num * size])


def like(part: keras.layers.Layer) -> keras.layers.Layer:
    """A part of the same settings, with weights of its own."""
    return keras.saving.deserialize_keras_object(_alone(keras.saving.serialize_keras_object(part)))


def _alone(config):
    """A serialized part without the marks by which Keras makes one object of several copies.

    While a model file is read, whatever is serialized twice is marked as one.
    """
    if isinstance(config, dict):
        return {key: _alone(value) for key, value in config.items() if key != "shared_object_id"}
    return [_alone(value) for value in config] if isinstance(config, list) else config


def combinations(
    layers: Sequence[dict[str, Convolution]],
    over: dict[str, tuple[str, str]],
    pattern: Combination | Sequence[Combination] | None,
) -> list[dict[str, Combination]]:
    """A combination for each layer and type of several relations: `[{type: combination}]`.

    Args:
        layers: `[{relation: convolution}]`.
        over: `{relation: (type, type of its neighbors)}`.
        pattern: what they are to be like; or one pattern for each layer.

    Raises:
        ValueError: a type has several relations, and there is no pattern, or their convolutions
            differ in `dim`.
    """
    patterns = pattern if isinstance(pattern, list | tuple) else [pattern] * len(layers)
    made = []
    for number, (layer, own) in enumerate(zip(layers, patterns, strict=True), 1):
        dims: dict[str, list] = {}
        for name, convolution in layer.items():
            dims.setdefault(over[name][0], []).append(convolution.dim)
        several = {of_type: sizes for of_type, sizes in dims.items() if len(sizes) > 1}
        for of_type, sizes in several.items():
            if own is None or len(set(sizes)) > 1:
                raise ValueError(
                    f"layer {number} has {len(sizes)} relations at {of_type!r}, of dims {sizes}: "
                    "they need one dim, and a combination, such as SumCombination()"
                )
        made.append({of_type: like(own) for of_type in several})
    return made
