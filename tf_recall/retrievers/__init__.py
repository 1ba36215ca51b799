"""The binder: positives, negatives, towers and a loss become one Keras model."""
