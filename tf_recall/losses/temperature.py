"""Temperatures that change: on a schedule (any of `keras.optimizers.schedules`), or learned with
the model.
"""

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_recall")
class LearnedTemperature(keras.layers.Layer):
    """A temperature that trains with the towers.

    temperature = lowest + exp(log)

    Args:
        initial: where it starts.
        lowest: what it stays above; a smaller one makes gradients of one negative only. It is a
            bound to approach, not to hit: at a hard one the gradient would be 0, and the
                temperature stuck.

    Raises:
        ValueError: not 0 < lowest < initial.

    Example:
        >>> SampledSoftmax(temperature=LearnedTemperature(0.1))

    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML
    2021, section 2.4.
    """

    def __init__(self, initial=0.1, lowest=0.01, **kwargs):
        super().__init__(**kwargs)
        if not 0 < lowest < initial < float("inf"):
            raise ValueError(
                f"lowest and initial must be 0 < lowest < initial, not {lowest!r} and {initial!r}"
            )
        self.initial, self.lowest = initial, lowest
        start = keras.initializers.Constant(np.log(initial - lowest))
        self.log = self.add_weight(
            name="log", shape=(), dtype="float32", initializer=start, autocast=False
        )
        self.built = True

    def __call__(self, step=0):
        """The temperature of a step: a float32 scalar. The step does not matter."""
        return self.lowest + tf.exp(self.log.value)

    def get_config(self):
        return {**super().get_config(), "initial": self.initial, "lowest": self.lowest}
