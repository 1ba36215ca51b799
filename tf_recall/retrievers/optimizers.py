"""Optimizers that update only the rows of a batch: a step costs the same in a larger table.

They are for tables read by row (`tf_recall.features.embedding.RowEmbedding`), whose gradients are
`tf.IndexedSlices`; any other variable is updated by the Keras optimizer they extend. Shapes are
static and every operation has an XLA kernel. Of mixed precisions prefer bfloat16: float16 needs
`keras.optimizers.LossScaleOptimizer`, which a model's `compile` adds.
"""

import keras
import tensorflow as tf

from tf_recall.data.ranges import (
    NumberAbove0,
    NumberFrom0,
    Share,
    ShareTo1,
    WholeFrom1,
    WholeFrom2,
)
from tf_recall.retrievers.keras_hooks import ClippingOptimizer, decays, slot, variables_of

_REFUSED = {
    "use_ema": "averages every row at every step; keras.optimizers.Adam takes it",
    "gradient_accumulation_steps": (
        "adds up whole tables at every step; take larger batches, or keras.optimizers.Adam"
    ),
    "loss_scale_factor": (
        "does not reach rows; wrap the optimizer in keras.optimizers.LossScaleOptimizer instead"
    ),
}


class _RowwiseOptimizer(ClippingOptimizer, keras.optimizers.Optimizer):
    """The base of optimizers of rows; a subclass defines `update_rows`."""

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        named = zip(grads, trainable_variables or variables_of(self), strict=False)
        tables = [variable for gradient, variable in named if _by_row(gradient)]
        if tables:
            self.check_options()
        for table in tables:
            if self.weight_decay and decays(self, table):
                raise ValueError(
                    f"weight_decay={self.weight_decay} would shrink every row of {table.name} at "
                    "every step: before training, call "
                    f"exclude_from_weight_decay(var_names=[{table.name!r}]) on the optimizer"
                )
        super().apply(grads, trainable_variables)

    def check_options(self) -> None:
        """Raises a ValueError where an option would touch whole tables."""
        for option, why in _REFUSED.items():
            if getattr(self, option):
                value = getattr(self, option)
                raise ValueError(f"leave {option}={value} out of {type(self).__name__}: it {why}")

    def clip(self, grads, clip_dense):
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return grads
        # A table's norm is that of its rows' sums: the first occurrence of a row carries its sum,
        # the others zero.
        values = [_sum_once(gradient) if _by_row(gradient) else gradient for gradient in grads]
        clipped = clip_dense(values)
        for at, gradient in enumerate(grads):
            if _by_row(gradient):
                clipped[at] = tf.IndexedSlices(clipped[at], gradient.indices, gradient.dense_shape)
        return clipped

    def update_step(self, gradient, variable, learning_rate):
        if not _by_row(gradient):
            super().update_step(gradient, variable, learning_rate)
            return
        values = tf.cast(_sum_everywhere(gradient), variable.dtype)
        self.update_rows(gradient.indices, values, variable, tf.cast(learning_rate, variable.dtype))

    def update_rows(
        self,
        rows: tf.Tensor,
        gradient: tf.Tensor,
        variable: keras.Variable,
        learning_rate: tf.Tensor,
    ) -> None:
        """Updates `variable` and its state at `rows` `[R]` by `gradient` `[R, dim]`.

        A row that occurs twice has the same gradient twice, the sum: its new value is written
        twice, not added twice.
        """
        raise NotImplementedError

    def _write(self, variable, rows, values):
        self.assign(variable, tf.IndexedSlices(values, rows))
        return values


@keras.saving.register_keras_serializable("tf_recall")
class SparseAdagrad(_RowwiseOptimizer, keras.optimizers.Adagrad):
    """Adagrad that reads and writes only a batch's rows of a table.

    accumulator[row] += gradient[row]^2
    variable[row] -= learning_rate * gradient[row] / sqrt(accumulator[row] + epsilon)

    `gradient[row]` is the sum over the row's occurrences in the batch. A row without gradient would
    not change under `keras.optimizers.Adagrad` either: with dense gradients that optimizer computes
    the same numbers at the cost of a whole table; with rows, it squares each occurrence by itself.

    Args: those of `keras.optimizers.Adagrad`. The accumulators start at 1e-6 instead of 0.1: our
        losses are means over the batch, so a row's gradient is of the order of 1 / B, and a start
        of 0.1 would drown its square for epochs.

    Raises:
        ValueError: at `compile`, when an option would touch whole tables: `use_ema`,
            `gradient_accumulation_steps`; and `loss_scale_factor`. At the first step,
            `weight_decay` of a table that is not excluded.

    Example:
        >>> model.compile(optimizer=SparseAdagrad(learning_rate=0.1))

    Paper: Duchi et al. 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", section 1.1.
    """

    tunable = {"learning_rate": [0.01, 1.0, "log"]}

    def __init__(
        self,
        learning_rate: NumberAbove0 | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        initial_accumulator_value: NumberFrom0 = 1e-6,
        epsilon: NumberFrom0 = 1e-7,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, initial_accumulator_value, epsilon, **kwargs)

    def update_rows(self, rows, gradient, variable, learning_rate):
        accumulator = slot(self, "accumulators", variable)
        total = self._write(accumulator, rows, tf.gather(accumulator, rows) + tf.square(gradient))
        move = learning_rate * gradient / tf.sqrt(total + self.epsilon)
        self._write(variable, rows, tf.gather(variable, rows) - move)


@keras.saving.register_keras_serializable("tf_recall")
class LazyAdam(_RowwiseOptimizer, keras.optimizers.Adam):
    """Adam that reads and writes only a batch's rows of a table.

    m[row] += (1 - beta_1) * (gradient[row] - m[row])
    v[row] += (1 - beta_2) * (gradient[row]^2 - v[row])
    scale = learning_rate * sqrt(1 - beta_2^step) / (1 - beta_1^step)
    variable[row] -= scale * m[row] / (sqrt(v[row]) + epsilon)

    Equal to `keras.optimizers.Adam` where each step has every row. A row that is not in the batch
    keeps its moments and its value; dense Adam would let the moments decay and move the row.
    `step` counts all steps, not those of the row.

    Args: those of `keras.optimizers.Adam`.

    Raises:
        ValueError: as `SparseAdagrad`.

    Example:
        >>> model.compile(optimizer=LazyAdam(learning_rate=0.001))

    Paper: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", section 2.
    """

    tunable = {"learning_rate": [1e-4, 0.03, "log"]}

    def __init__(
        self,
        learning_rate: NumberAbove0 | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: Share = 0.9,
        beta_2: Share = 0.999,
        epsilon: NumberFrom0 = 1e-7,
        amsgrad: bool = False,
        weight_decay: NumberFrom0 | None = None,
        clipnorm: NumberAbove0 | None = None,
        clipvalue: NumberAbove0 | None = None,
        global_clipnorm: NumberAbove0 | None = None,
        use_ema: bool = False,
        ema_momentum: ShareTo1 = 0.99,
        ema_overwrite_frequency: WholeFrom1 | None = None,
        loss_scale_factor: NumberAbove0 | None = None,
        gradient_accumulation_steps: WholeFrom2 | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            **kwargs,
        )

    def update_rows(self, rows, gradient, variable, learning_rate):
        step = tf.cast(self.iterations + 1, variable.dtype)
        scale = learning_rate * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        m = self._blend(slot(self, "momentums", variable), rows, gradient, 1 - self.beta_1)
        v = self._blend(
            slot(self, "velocities", variable), rows, tf.square(gradient), 1 - self.beta_2
        )
        if self.amsgrad:
            largest = slot(self, "velocity_hats", variable)
            v = self._write(largest, rows, tf.maximum(tf.gather(largest, rows), v))
        move = scale * m / (tf.sqrt(v) + self.epsilon)
        self._write(variable, rows, tf.gather(variable, rows) - move)

    def _blend(self, moment, rows, values, share):
        old = tf.gather(moment, rows)
        return self._write(moment, rows, old + (values - old) * share)


def prepare(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes any optimizer of Keras compute with rows what it computes with whole gradients.

    Keras takes the occurrences of a row in a batch for gradients of their own: it squares each by
    itself, clips each by itself, and its loss scale looks at the last of them only. Here a row's
    gradient is their sum before any of that. Ours sum rows anyway, and stay as they are.

    Args:
        optimizer: one that a model is compiled with; its methods are replaced.

    Raises:
        ValueError: one of ours has an option that would touch whole tables.
    """
    for inner in getattr(optimizer, "optimizers", ()):  # of a `MultiOptimizer`
        prepare(inner)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        prepare(optimizer.inner_optimizer)
        check_finite = type(optimizer).check_finite

        def of_occurrences(grads):
            return check_finite(optimizer, [getattr(each, "values", each) for each in grads])

        optimizer.check_finite = of_occurrences
        return
    if isinstance(optimizer, _RowwiseOptimizer):
        optimizer.check_options()
        return
    apply = optimizer.apply
    update_step = optimizer.update_step

    def apply_sums(grads, trainable_variables=None):
        whole = optimizer.loss_scale_factor  # by which Keras cannot divide rows
        grads = [tf.convert_to_tensor(each) if whole else _summed(each) for each in grads]
        apply(grads, trainable_variables)

    def update_by_sum(gradient, variable, learning_rate):
        # a row comes once from each replica
        update_step(_summed(gradient), variable, learning_rate)

    optimizer.apply = apply_sums
    optimizer.update_step = update_by_sum


def _summed(gradient):
    """The same gradient, with a row's sum at its first occurrence and 0 at the others."""
    if not _by_row(gradient):
        return gradient
    return tf.IndexedSlices(_sum_once(gradient), gradient.indices, gradient.dense_shape)


def _by_row(gradient):
    return isinstance(gradient, tf.IndexedSlices)


def _sum_everywhere(gradient):
    """Each occurrence of a row gets the sum over all its occurrences: `[R, dim]`."""
    number = tf.unique(gradient.indices)[1]  # [R]
    sums = tf.math.unsorted_segment_sum(gradient.values, number, tf.size(number))
    return tf.gather(sums, number)


def _sum_once(gradient):
    """The first occurrence of a row gets the sum over all of them, the others 0: `[R, dim]`."""
    number = tf.unique(gradient.indices)[1]  # [R]
    at = tf.range(tf.size(number))
    first = tf.gather(tf.math.unsorted_segment_min(at, number, tf.size(number)), number) == at
    first = tf.reshape(first, [-1] + [1] * (gradient.values.shape.rank - 1))  # [R, 1]
    return tf.where(first, _sum_everywhere(gradient), 0)
