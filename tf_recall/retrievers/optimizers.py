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
from tf_recall.retrievers.keras_hooks import keep_scalars, slot
from tf_recall.retrievers.rowwise import RowwiseOptimizer, summed


@keras.saving.register_keras_serializable("tf_recall")
class SparseAdagrad(RowwiseOptimizer, keras.optimizers.Adagrad):
    """Adagrad that reads and writes only a batch's rows of a table.

    accumulator[row] += gradient[row]^2
    variable[row] -= learning_rate * gradient[row] / sqrt(accumulator[row] + epsilon)

    `gradient[row]` is the sum over the row's occurrences in the batch. A row without gradient would
    not change under `keras.optimizers.Adagrad` either: with dense gradients that optimizer computes
    the same numbers at the cost of a whole table; with rows, it squares each occurrence by itself.

    With `weight_decay` every row shrinks by `learning_rate * weight_decay` of itself at every step,
    whatever the gradient, and as much whether it is rare or popular; a row that batches leave out
    catches up on what it missed when one has it, by the learning rates of those steps. There it
    equals dense decay. In between it is read as it was last written: by the forward pass of that
    batch, and by evaluation. Scalars, such as a learned temperature, never decay; of the others
    `exclude_from_weight_decay` names those that should not.

    Args: those of `keras.optimizers.Adagrad`. The accumulators start at 1e-6 instead of 0.1: our
        losses are means over the batch, so a row's gradient is of the order of 1 / B, and a start
        of 0.1 would drown its square for epochs.

    Raises:
        ValueError: at `compile`, when an option would touch whole tables: `use_ema`,
            `gradient_accumulation_steps`; and `loss_scale_factor`.

    Example:
        >>> model.compile(optimizer=SparseAdagrad(learning_rate=0.1, weight_decay=1e-4))

    Paper: Duchi et al. 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", section 1.1; Loshchilov and Hutter 2019, "Decoupled Weight Decay
        Regularization", section 2.
    """

    tunable = {
        "learning_rate": [0.01, 1.0, "log"],
        "weight_decay": {"choices": [None, 0.001, 0.01, 0.1]},
    }

    def __init__(
        self,
        learning_rate: NumberAbove0 | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        initial_accumulator_value: NumberFrom0 = 1e-6,
        epsilon: NumberFrom0 = 1e-7,
        weight_decay: NumberFrom0 | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            learning_rate, initial_accumulator_value, epsilon, weight_decay=weight_decay, **kwargs
        )

    def update_rows(self, rows, gradient, variable, learning_rate):
        accumulator = slot(self, "accumulators", variable)
        total = self._write(accumulator, rows, tf.gather(accumulator, rows) + tf.square(gradient))
        move = learning_rate * gradient / tf.sqrt(total + self.epsilon)
        self._write(variable, rows, tf.gather(variable, rows) - move)


@keras.saving.register_keras_serializable("tf_recall")
class LazyAdam(RowwiseOptimizer, keras.optimizers.Adam):
    """Adam that reads and writes only a batch's rows of a table.

    m[row] += (1 - beta_1) * (gradient[row] - m[row])
    v[row] += (1 - beta_2) * (gradient[row]^2 - v[row])
    scale = learning_rate * sqrt(1 - beta_2^step) / (1 - beta_1^step)
    variable[row] -= scale * m[row] / (sqrt(v[row]) + epsilon)

    Equal to `keras.optimizers.Adam` where each step has every row. A row that is not in the batch
    keeps its moments and its value; dense Adam would let the moments decay and move the row.
    `step` counts all steps, not those of the row. `weight_decay` is as in `SparseAdagrad`.

    Args: those of `keras.optimizers.Adam`.

    Raises:
        ValueError: as `SparseAdagrad`.

    Example:
        >>> model.compile(optimizer=LazyAdam(learning_rate=0.001))

    Paper: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", section 2.
    """

    tunable = {
        "learning_rate": [1e-4, 0.03, "log"],
        "weight_decay": {"choices": [None, 0.001, 0.01, 0.1]},
    }

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


@keras.saving.register_keras_serializable("tf_recall")
class AdagradAdam(LazyAdam):
    """Adagrad for the rows of tables, Adam for matrices: each learns at a rate that suits it.

    accumulator[row] += gradient[row]^2
    variable[row] -= tables * learning_rate * gradient[row] / sqrt(accumulator[row] + 1e-6)

    and all that has no rows as `keras.optimizers.Adam`. A table's row is in few batches, and needs
    large steps there, as `SparseAdagrad` takes; at such a rate the matrices of a graph's
    convolutions or of attention would end with ReLUs at 0. `weight_decay` is as in `SparseAdagrad`,
    by `learning_rate` everywhere.

    Args:
        learning_rate: of matrices.
        tables: how many times that rate tables learn at.
        weight_decay: as `SparseAdagrad`.
        kwargs: those of `LazyAdam`, for matrices.

    Raises:
        ValueError: as `SparseAdagrad`.

    Example:
        >>> model.compile(optimizer=AdagradAdam(learning_rate=0.003, tables=30))

    Paper: Duchi et al. 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", section 1.1; Kingma and Ba 2015, "Adam: A Method for Stochastic
        Optimization", section 2.
    """

    tunable = {**LazyAdam.tunable, "tables": [3.0, 100.0, "log"]}

    def __init__(
        self,
        learning_rate: NumberAbove0 | keras.optimizers.schedules.LearningRateSchedule = 0.003,
        tables: NumberAbove0 = 30.0,
        weight_decay: NumberFrom0 | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.tables = tables

    def update_rows(self, rows, gradient, variable, learning_rate):
        accumulator = slot(self, "velocities", variable)
        total = self._write(accumulator, rows, tf.gather(accumulator, rows) + tf.square(gradient))
        move = self.tables * learning_rate * gradient / tf.sqrt(total + 1e-6)
        self._write(variable, rows, tf.gather(variable, rows) - move)

    def get_config(self):
        return {**super().get_config(), "tables": self.tables}


def prepare(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes any optimizer of Keras compute with rows what it computes with whole gradients.

    Keras takes the occurrences of a row in a batch for gradients of their own: it squares each by
    itself, clips each by itself, and its loss scale looks at the last of them only. Here a row's
    gradient is their sum before any of that. Ours sum rows anyway, and stay as they are. Weight
    decay leaves scalars, such as a learned temperature.

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
    if isinstance(optimizer, RowwiseOptimizer):
        optimizer.check_options()
        return
    keep_scalars(optimizer)
    apply = optimizer.apply
    update_step = optimizer.update_step

    def apply_sums(grads, trainable_variables=None):
        whole = optimizer.loss_scale_factor  # by which Keras cannot divide rows
        grads = [tf.convert_to_tensor(each) if whole else summed(each) for each in grads]
        apply(grads, trainable_variables)

    def update_by_sum(gradient, variable, learning_rate):
        # a row comes once from each replica
        update_step(summed(gradient), variable, learning_rate)

    optimizer.apply = apply_sums
    optimizer.update_step = update_by_sum
