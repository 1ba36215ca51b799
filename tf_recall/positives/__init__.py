"""Question 1, which pairs are positive: from interactions to training batches."""

from tf_recall.positives.user_item import user_item
from tf_recall.positives.windows import ShrinkingWindows, Windows

__all__ = ["ShrinkingWindows", "Windows", "user_item"]
