"""A history read by self-attention, in which no place sees a later one."""

import keras
import tensorflow as tf

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.towers.base import Tower
from tf_recall.towers.sequence import SequenceTower


@keras.saving.register_keras_serializable("tf_recall")
class AttentionTower(SequenceTower):
    """A history through blocks of causal self-attention (METHODS.md M17).

    x = x + drop(attention(norm(x)))       of each place to itself and earlier ones of its history
    x = x + drop(W2 relu(W1 norm(x)))      blocks times both
    query = norm(x) at the last item

    Args:
        item_tower, length, dropout, seed: as `SequenceTower`.
        blocks: how many blocks.
        heads: of each attention; they divide the length of an item's vector.
        units: size of the hidden layer W1 of each block.

    Call: as `SequenceTower`.

    Raises:
        ValueError: as `SequenceTower`, or heads that do not divide the vectors.

    Example:
        >>> items = FeatureTower("item", [Id(32)])
        >>> tower = AttentionTower(items, blocks=1)

    Paper: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", section III.
    Departs from the paper: queries, keys and values are all of normed vectors (pre-norm); dropout
        leaves the shares of attention whole.
    """

    tunable = {**SequenceTower.tunable, "blocks": [1, 3]}

    def __init__(
        self,
        item_tower: Tower,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.0,
        seed: Seed = 0,
        blocks: WholeFrom1 = 2,
        heads: WholeFrom1 = 2,
        units: WholeFrom1 = 256,
        **kwargs,
    ) -> None:
        super().__init__(item_tower, length, dropout, seed, **kwargs)
        if self.dim % heads:
            raise ValueError(
                f"heads must divide the length of the items' vectors, {self.dim}, and are {heads}"
            )
        self.blocks = blocks
        self.heads = heads
        self.units = units
        layers = keras.layers
        self.attentions = [
            layers.MultiHeadAttention(heads, self.dim // heads) for _ in range(blocks)
        ]
        self.hidden = [layers.Dense(units, "relu") for _ in range(blocks)]
        self.outputs = [layers.Dense(self.dim) for _ in range(blocks)]
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2 * blocks + 1)]

    def build_reader(self):
        shape = (None, None, self.dim)
        for layer in self.attentions:
            layer.build(shape, shape)
        for layer in [*self.hidden, *self.norms]:
            layer.build(shape)
        for layer in self.outputs:
            layer.build((None, None, self.units))

    def read(self, x, place, training):
        mask = seen(place)  # [R, W, W]
        for at, attend in enumerate(self.attentions):
            normed = self.norms[2 * at](x)
            x += self.drop(
                attend(normed, normed, attention_mask=mask), depth=3 * at + 1, training=training
            )
            hidden = self.hidden[at](self.norms[2 * at + 1](x))
            hidden = self.drop(hidden, depth=3 * at + 2, training=training)
            x += self.drop(self.outputs[at](hidden), depth=3 * at + 3, training=training)
        return self.norms[-1](x)

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("blocks", "heads", "units")}
        return {**super().get_config(), **own}


def seen(place: tf.Tensor) -> tf.Tensor:
    """What each place sees, itself and the earlier ones of its history: bool `[R, W, W]`.

    Args:
        place: `[R, W]`, each one's number in its history; a history begins at every 0.

    Example:
        >>> seen(tf.constant([[0, 1, 0]])).numpy().astype(int)
        array([[[1, 0, 0],
                [1, 1, 0],
                [0, 0, 1]]])
    """
    history = tf.cumsum(tf.cast(place == 0, tf.int32), axis=1)
    same = history[:, :, None] == history[:, None, :]
    at = tf.range(tf.shape(place)[1])
    return same & (at[:, None] >= at)
