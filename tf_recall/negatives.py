"""Question two: which items are negative, and how likely each is to be drawn (`log_q`)."""

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_recall")
class InBatch(keras.layers.Layer):
    """The other rows' positives are a row's negatives: METHODS.md N4.

    log_q[row] = log( max(counts[row], 1) / sum(counts) )

    They cost nothing to encode, and popular items come up often; `log_q` is what the loss subtracts to undo that. A row
    never counted (the unknown row, an item without interactions) is priced as if counted once, so that it stays finite.

    Call `adapt` once before training; the prices are a weight and survive a save.

    Example:
        >>> negatives = InBatch()
        >>> negatives.adapt([0, 3, 1])
        >>> negatives.log_q([1, 2])  # log 3/4, log 1/4

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019, section 3.
    """

    def adapt(self, counts):
        """Fits the prices.

        Args:
            counts: `[V]`, how often each row is the positive of a training example; row 0 is the unknown one.

        Raises:
            ValueError: no counts, a negative one, or none above zero.
        """
        counts = np.asarray(counts, np.float64)
        if counts.ndim != 1 or not np.all(counts >= 0) or not 0 < counts.sum() < np.inf:
            raise ValueError(f"counts must be [V], finite, none negative, not all zero; not {counts.shape}: {counts}")
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        self.prices.assign(np.log(np.maximum(counts, 1)) - np.log(counts.sum()))

    def log_q(self, rows):
        """The log probability that a negative is the item at `rows` `[...]`: float32 `[...]`."""
        if not self.built:
            raise ValueError("InBatch has no prices yet: call adapt(counts) with the items' counts in training")
        return tf.gather(self.prices.value, rows)

    def get_build_config(self):
        return {"num_rows": self.prices.shape[0]} if self.built else None

    def build_from_config(self, config):
        shape = (config["num_rows"],)
        self.prices = self.add_weight(name="prices", shape=shape, dtype="float32", trainable=False, autocast=False)
        self.built = True
