"""Features: each turns the raw values of a column into a vector for a tower."""

from tf_recall.features.age import ExampleAge
from tf_recall.features.attention import LastAttention, ProfileAttention, RequestAttention
from tf_recall.features.bags import MultiValued, Text
from tf_recall.features.crossed import Crossed
from tf_recall.features.history import History
from tf_recall.features.interests import CapsuleRouting, InterestAttention
from tf_recall.features.numbers import Buckets, LogNumeric, Numeric, Pretrained, Timestamp
from tf_recall.features.pooling import LastPooling, MeanPooling
from tf_recall.features.words import Categorical, Id

__all__ = [
    "Buckets",
    "CapsuleRouting",
    "Categorical",
    "Crossed",
    "ExampleAge",
    "History",
    "Id",
    "InterestAttention",
    "LastAttention",
    "LastPooling",
    "LogNumeric",
    "MeanPooling",
    "MultiValued",
    "Numeric",
    "Pretrained",
    "ProfileAttention",
    "RequestAttention",
    "Text",
    "Timestamp",
]
