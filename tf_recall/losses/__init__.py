"""Question four: the loss that ties query, positive and rivals. Losses see scores only."""

from tf_recall.losses.pairwise import BPR, Hinge, TripletLogistic
from tf_recall.losses.pointwise import NCE, NEG, PointwiseCrossEntropy
from tf_recall.losses.softmax import FullSoftmax, SampledSoftmax

__all__ = [
    "BPR",
    "NCE",
    "NEG",
    "FullSoftmax",
    "Hinge",
    "PointwiseCrossEntropy",
    "SampledSoftmax",
    "TripletLogistic",
]
