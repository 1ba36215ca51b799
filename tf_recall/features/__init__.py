"""Features: each turns the raw values of a column into a vector for a tower."""

from tf_recall.features.crossed import Crossed
from tf_recall.features.numbers import Buckets, LogNumeric, Numeric, Pretrained, Timestamp
from tf_recall.features.words import Categorical, Id, MultiValued, Text

__all__ = [
    "Buckets",
    "Categorical",
    "Crossed",
    "Id",
    "LogNumeric",
    "MultiValued",
    "Numeric",
    "Pretrained",
    "Text",
    "Timestamp",
]
