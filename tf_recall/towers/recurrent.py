"""A history read by a recurrent layer, item after item."""

import keras
import tensorflow as tf

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.towers.base import Tower
from tf_recall.towers.sequence import SequenceTower


class RestartingCell(keras.layers.Layer):
    """A GRU cell whose state is 0 again where a history begins.

    Call: inputs `[R, 1 + D]`, the first number 1 where a history begins, else 0; states ->
        `(output [R, units], [state])`.
    """

    def __init__(self, units: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.cell = keras.layers.GRUCell(units)
        self.state_size = units

    def build(self, shape: tuple) -> None:
        self.cell.build((None, shape[-1] - 1))
        self.built = True

    def call(
        self, inputs: tf.Tensor, states: list[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        goes_on = 1 - inputs[:, :1]
        return self.cell(inputs[:, 1:], [states[0] * goes_on], training=training)


@keras.saving.register_keras_serializable("tf_recall")
class RecurrentTower(SequenceTower):
    """A history through gated recurrent units, item after item (METHODS.md M17's alternative).

    h[t] = GRU(x[t], h[t - 1])
    query = W drop(h) + b at the last item

    Args:
        item_tower, length, dropout, seed: as `SequenceTower`.
        units: size of the state.

    Call: as `SequenceTower`.

    Raises:
        ValueError: as `SequenceTower`.

    Example:
        >>> tower = RecurrentTower(FeatureTower("item", [Id(32)]), units=64)

    Paper: Hidasi et al. 2016, "Session-based Recommendations with Recurrent Neural Networks",
        section 3.
    """

    def __init__(
        self,
        item_tower: Tower,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.0,
        seed: Seed = 0,
        units: WholeFrom1 = 128,
        **kwargs,
    ) -> None:
        super().__init__(item_tower, length, dropout, seed, **kwargs)
        self.units = units
        self.reader = keras.layers.RNN(RestartingCell(units), return_sequences=True)
        self.dense = keras.layers.Dense(self.dim)

    def build_reader(self):
        self.reader.build((None, None, 1 + self.dim))
        self.dense.build((None, None, self.units))

    def read(self, x, place, training):
        begins = tf.cast(place == 0, x.dtype)[..., None]
        states = self.reader(tf.concat([begins, x], axis=-1), training=training)
        return self.dense(self.drop(states, depth=1, training=training))

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}
