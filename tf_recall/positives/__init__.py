"""Question 1, which pairs are positive: from interactions to training batches."""

from tf_recall.positives.user_item import user_item

__all__ = ["user_item"]
