"""The second question: which items are negatives, and how likely each is drawn (`log_q`)."""

from tf_recall.negatives.frequency import Counts, Streaming
from tf_recall.negatives.from_catalog import LogUniform, Popularity, Uniform, WholeCatalog
from tf_recall.negatives.hard import Curriculum, Given, HighestInBatch, RankWindow
from tf_recall.negatives.in_batch import CrossBatch, InBatch
from tf_recall.negatives.mixture import EasyHard, Mixture
from tf_recall.negatives.same_group import SameGroup

__all__ = [
    "Counts",
    "CrossBatch",
    "Curriculum",
    "EasyHard",
    "Given",
    "HighestInBatch",
    "InBatch",
    "LogUniform",
    "Mixture",
    "Popularity",
    "RankWindow",
    "SameGroup",
    "Streaming",
    "Uniform",
    "WholeCatalog",
]
