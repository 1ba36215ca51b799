"""Keras's schedules of a temperature or a learning rate, with the types of their arguments."""

import keras

from tf_recall.data.ranges import (
    Filled,
    NumberAbove0,
    NumberFrom0,
    ShareTo1,
    WholeFrom0,
    WholeFrom1,
)


@keras.saving.register_keras_serializable("tf_recall")
class ExponentialDecay(keras.optimizers.schedules.ExponentialDecay):
    """Falls by the same factor in every `decay_steps` steps.

    Args: those of `keras.optimizers.schedules.ExponentialDecay`.
    """

    def __init__(
        self,
        initial_learning_rate: NumberAbove0,
        decay_steps: WholeFrom1,
        decay_rate: NumberAbove0,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)


@keras.saving.register_keras_serializable("tf_recall")
class PolynomialDecay(keras.optimizers.schedules.PolynomialDecay):
    """Falls to `end_learning_rate` in `decay_steps` steps, in a straight line or a power's curve.

    Args: those of `keras.optimizers.schedules.PolynomialDecay`.
    """

    def __init__(
        self,
        initial_learning_rate: NumberAbove0,
        decay_steps: WholeFrom1,
        end_learning_rate: NumberFrom0 = 0.0001,
        power: NumberAbove0 = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, end_learning_rate, power, cycle, name)


@keras.saving.register_keras_serializable("tf_recall")
class CosineDecay(keras.optimizers.schedules.CosineDecay):
    """Falls to the share `alpha` along a cosine, where asked after a rise to `warmup_target`.

    Args: those of `keras.optimizers.schedules.CosineDecay`.
    """

    def __init__(
        self,
        initial_learning_rate: NumberFrom0,
        decay_steps: WholeFrom1,
        alpha: ShareTo1 = 0.0,
        name: str = "CosineDecay",
        warmup_target: NumberAbove0 | None = None,
        warmup_steps: WholeFrom0 = 0,
    ) -> None:
        super().__init__(
            initial_learning_rate, decay_steps, alpha, name, warmup_target, warmup_steps
        )


@keras.saving.register_keras_serializable("tf_recall")
class PiecewiseConstantDecay(keras.optimizers.schedules.PiecewiseConstantDecay):
    """Takes one of `values` up to each of `boundaries`, and the last one from there on.

    Args: those of `keras.optimizers.schedules.PiecewiseConstantDecay`.

    Raises:
        ValueError: the boundaries do not rise, or there is not one value more than boundaries.
    """

    def __init__(
        self,
        boundaries: Filled[WholeFrom0],
        values: Filled[NumberAbove0],
        name: str = "PiecewiseConstant",
    ) -> None:
        if list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"boundaries must be rising steps, not {list(boundaries)}")
        super().__init__(boundaries, values, name)
