"""The age of a training example."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.values import to_number
from tf_recall.features.base import Feature, InputColumn
from tf_recall.features.numbers import beyond


@keras.saving.register_keras_serializable("tf_recall")
class ExampleAge(Feature):
    """How old a training example is; 0 when serving, so that the answer is for now (METHODS.md M9).

    age = (latest - timestamp) / (latest - earliest),  of the training part, so from 0 to 1
    vector = [age, sqrt(age), age^2]

    What is popular changes. A model that is told each example's age learns by how much, and asked
    at age 0 it answers as of the end of the training part instead of its mean.

    Args:
        column: the time of each interaction, in seconds; a missing one is as of now.

    Call: ages `[B, 1]` float32 -> `[B, 3]`.

    Raises:
        ValueError: at `adapt`, the interactions have no such column, or it holds no times.

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.3.
    """

    code_dtype = "float32"
    raw_dtype = tf.float64
    raw_specs: dict = {}  # a request brings no age
    describes = False

    def __init__(self, column: InputColumn = "timestamp", name: str = "example_age", **kwargs):
        super().__init__(column, name=name, **kwargs)

    @property
    def code_shape(self):
        return (1,)

    @property
    def dim(self):
        return 3

    def to_raw(self, values):
        return to_number(values, self.column)

    def adapt(self, raw):
        known = raw[~beyond(raw).numpy()]
        if not len(known):
            raise ValueError(f"column {self.column!r} holds no time in the training part")
        self.build_from_config({})
        self.earliest.assign(known.min())
        self.latest.assign(known.max())

    def go_on(self, earlier, raw):
        self.adapt(np.append(raw, [earlier.earliest.numpy(), earlier.latest.numpy()]))

    def build_from_config(self, config):
        for name in ("earliest", "latest"):
            of_name = self.add_weight(name=name, dtype="float64", trainable=False)
            setattr(self, name, of_name)
        self.built = True

    def get_build_config(self):
        return {"adapted": True} if self.built else None

    def encode(self, raw):
        earliest, latest = self.earliest.value, self.latest.value
        age = (latest - raw) / tf.maximum(latest - earliest, 1.0)
        age = tf.where(~beyond(raw), tf.clip_by_value(age, 0.0, 1.0), 0.0)
        return tf.cast(age, tf.float32)[:, None]  # [B, 1]

    def given(self, inputs):
        if self.name in inputs:
            return inputs[self.name]
        rows = next(iter(inputs.values()))
        return tf.zeros([tf.shape(rows)[0], 1])

    def from_request(self, rows, raw, history, stored):
        return tf.zeros([tf.shape(rows)[0], 1])

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        return tf.concat([codes, tf.sqrt(codes), codes**2], axis=1)  # [B, 3]
