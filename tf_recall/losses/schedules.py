"""Schedules of a learning rate or a temperature: one of a whole run, and those of Keras."""

import math

import keras
import tensorflow as tf

from tf_recall.data.ranges import (
    Filled,
    NumberAbove0,
    NumberFrom0,
    Share,
    ShareTo1,
    WholeFrom0,
    WholeFrom1,
)


@keras.saving.register_keras_serializable("tf_recall")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to a peak in the first share of a run, then falls along a cosine to its end.

    first = warm_up * steps
    rise = min(1, (step + 1) / first)
    done = clip((step - first) / (steps - first), 0, 1)
    rate = peak * rise * (lowest + (1 - lowest) * (1 + cos(pi * done)) / 2)

    As a config's learning rate it knows the run: `steps` is `train.epochs` times the steps of an
    epoch. Where training stops early it has not come to its end.

    Args:
        peak: the highest value.
        warm_up: the share of the steps in which it rises; 0 starts at the peak.
        lowest: the share of the peak where it ends; 1 stays at the peak once it is reached.
        steps: how many steps there are. None: those of the run, which a config fills in.
        start: the step that they are counted from, as of a run that goes on from another one.

    Raises:
        ValueError: an argument is out of its range; at the first step, nobody has given `steps`.

    Example:
        >>> batches = model.batches(split.train, catalog)
        >>> rate = WarmUpCosine(0.1, warm_up=0.05, steps=10 * batches.steps_per_epoch)
        >>> model.compile(SparseAdagrad(rate))

    Paper: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts",
        section 3; Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2.
    """

    def __init__(
        self,
        peak: NumberAbove0,
        warm_up: Share = 0.1,
        lowest: ShareTo1 = 0.0,
        steps: WholeFrom1 | None = None,
        start: WholeFrom0 = 0,
    ) -> None:
        super().__init__()
        if not (peak > 0 and 0 <= warm_up < 1 and 0 <= lowest <= 1):
            raise ValueError(
                "peak must be above 0, warm_up from 0 to below 1 and lowest from 0 to 1, not "
                f"{peak!r}, {warm_up!r} and {lowest!r}"
            )
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps!r}")
        self.peak = peak
        self.warm_up = warm_up
        self.lowest = lowest
        self.steps = steps
        self.start = start

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The value at a step, counted from 0: a float32 scalar."""
        if self.steps is None:
            raise ValueError(
                "WarmUpCosine does not know how many steps there are: give it steps=epochs * "
                "batches.steps_per_epoch, or let a config's train.optimizer.learning_rate have it"
            )
        step = tf.cast(step - self.start, tf.float32)
        first = self.warm_up * self.steps
        rise = tf.minimum(1.0, (step + 1) / max(first, 1.0))
        done = tf.clip_by_value((step - first) / (self.steps - first), 0.0, 1.0)
        fall = self.lowest + (1 - self.lowest) * (1 + tf.cos(math.pi * done)) / 2
        return self.peak * rise * fall

    def get_config(self) -> dict:
        return {
            name: getattr(self, name) for name in ("peak", "warm_up", "lowest", "steps", "start")
        }


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
