"""A temperature that is learned with the model; schedules are `keras.optimizers.schedules`."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import NumberAbove0


@keras.saving.register_keras_serializable("tf_recall")
class LearnedTemperature(keras.layers.Layer):
    """A temperature that is learned with the towers.

    temperature = lowest + exp(log)

    Args:
        initial: its first value.
        lowest: it stays above this; at a lower one a single negative would make up the gradient.
            The formula approaches the bound and never reaches it: a clipped temperature would have
            gradient 0 and no longer change.

    Raises:
        ValueError: 0 < lowest < initial does not hold.

    Example:
        >>> SampledSoftmax(temperature=LearnedTemperature(0.1))

    Paper: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
        Supervision", section 2.4.
    """

    tunable = {"initial": [0.05, 0.5, "log"]}

    def __init__(self, initial: NumberAbove0 = 0.1, lowest: NumberAbove0 = 0.01, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < lowest < initial < float("inf"):
            raise ValueError(
                f"lowest and initial must be 0 < lowest < initial, not {lowest!r} and {initial!r}"
            )
        self.initial = initial
        self.lowest = lowest
        start = keras.initializers.Constant(np.log(initial - lowest))
        self.log = self.add_weight(
            name="log", shape=(), dtype="float32", initializer=start, autocast=False
        )
        self.built = True

    def __call__(self, step: int | tf.Tensor = 0) -> tf.Tensor:
        """The temperature, a float32 scalar; it is the same at every step between updates."""
        return self.lowest + tf.exp(self.log.value)

    def get_config(self) -> dict:
        return {**super().get_config(), "initial": self.initial, "lowest": self.lowest}
