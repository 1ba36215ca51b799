"""Question 1, which pairs are positive: from interactions to training batches."""

from tf_recall.positives.base import Positives
from tf_recall.positives.next_item import NextItem
from tf_recall.positives.pairs import ItemPairs, WalkPairs
from tf_recall.positives.sequences import Sequences
from tf_recall.positives.user_halves import UserHalves
from tf_recall.positives.user_item import UserItem, user_item
from tf_recall.positives.walks import Walks
from tf_recall.positives.windows import ShrinkingWindows, Windows

__all__ = [
    "ItemPairs",
    "NextItem",
    "Positives",
    "Sequences",
    "ShrinkingWindows",
    "UserHalves",
    "UserItem",
    "WalkPairs",
    "Walks",
    "Windows",
    "user_item",
]
