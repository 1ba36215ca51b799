"""Question four: the loss that ties query, positive and negatives. Losses see scores only."""

from tf_recall.losses.pairwise import BPR, Hinge, TripletLogistic
from tf_recall.losses.pointwise import NCE, NEG, PointwiseCrossEntropy
from tf_recall.losses.softmax import SampledSoftmax, UncorrectedSoftmax

__all__ = [
    "BPR",
    "NCE",
    "NEG",
    "UncorrectedSoftmax",
    "Hinge",
    "PointwiseCrossEntropy",
    "SampledSoftmax",
    "TripletLogistic",
]
