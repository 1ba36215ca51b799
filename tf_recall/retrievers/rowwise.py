"""The base of optimizers that update only a batch's rows, and the sums of a row's gradients."""

import keras
import tensorflow as tf

from tf_recall.retrievers.keras_hooks import HookedOptimizer, decays, slot

Gradient = tf.Tensor | tf.IndexedSlices

_REFUSED = {
    "use_ema": "averages every row at every step; keras.optimizers.Adam takes it",
    "gradient_accumulation_steps": (
        "adds up whole tables at every step; take larger batches, or keras.optimizers.Adam"
    ),
    "loss_scale_factor": (
        "does not reach rows; wrap the optimizer in keras.optimizers.LossScaleOptimizer instead"
    ),
}


class RowwiseOptimizer(HookedOptimizer, keras.optimizers.Optimizer):
    """The base of optimizers of rows; a subclass defines `update_rows`.

    Weight decay is decoupled: `variable *= 1 - learning_rate * weight_decay` at every step, before
    the gradient. A table's row catches up when the batch has it, on all steps since it last did:

    log_decay += log(1 - learning_rate * weight_decay)           at every step, one number
    variable[row] *= exp(log_decay - log_decay when the row was last in a batch)
    """

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        if self.weight_decay:  # float64, since a step adds little to a long sum
            self._log_decay = self.add_variable(
                (), dtype="float64", name="log_decay", aggregation="only_first_replica"
            )
            # of what is excluded too: a file keeps the variables, and not what was excluded
            self._last_decays = [
                self.add_variable(each.shape[:1], dtype="float64", name=f"{each.name}_last_decay")
                for each in variables
            ]

    def begin_decays(self) -> None:
        """Lets all rows have no decay to catch up on, as rows that are new have none."""
        if self.weight_decay:
            for last in self._last_decays:
                last.assign(tf.fill(last.shape, tf.convert_to_tensor(self._log_decay)))

    def apply(self, grads, trainable_variables=None):
        if any(map(_by_row, grads)):
            self.check_options()
        super().apply(grads, trainable_variables)

    def save_own_variables(self, store: dict) -> None:
        for number, variable in enumerate(self.variables):  # Keras would copy each once more
            store[str(number)] = tf.convert_to_tensor(variable.value)

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

    def begin_decay(self):
        if self.weight_decay:
            rate = tf.cast(self.learning_rate, tf.float64)
            self._log_decay.assign_add(tf.math.log1p(-rate * self.weight_decay))

    def update_step(
        self, gradient: Gradient, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        decayed = self.weight_decay and decays(self, variable)
        if not _by_row(gradient):
            if decayed:
                rate = tf.cast(learning_rate, variable.dtype)
                self.assign_sub(variable, variable * (rate * self.weight_decay))
            super().update_step(gradient, variable, learning_rate)
            return
        if decayed:
            self._catch_up(gradient.indices, variable)
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

    def _catch_up(self, rows, variable):
        """Shrinks rows by what the steps since they were last in a batch would have."""
        last = slot(self, "last_decays", variable)
        now = tf.fill(tf.shape(rows), tf.convert_to_tensor(self._log_decay))
        shares = tf.cast(tf.exp(now - tf.gather(last, rows)), variable.dtype)
        values = tf.gather(variable, rows)
        shares = tf.reshape(shares, [-1] + [1] * (values.shape.rank - 1))  # [R, 1]
        self._write(variable, rows, values * shares)
        self._write(last, rows, now)

    def _write(self, variable, rows, values):
        self.assign(variable, tf.IndexedSlices(values, rows))
        return values


def summed(gradient: Gradient) -> Gradient:
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
