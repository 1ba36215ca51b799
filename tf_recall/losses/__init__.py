"""Question 4, which loss: from the vectors of queries, positives and negatives to one number."""

from tf_recall.losses.cosine import CosineContrastive
from tf_recall.losses.nce_loss import NCELoss
from tf_recall.losses.pairwise import BPR, Hinge, TripletLogistic
from tf_recall.losses.pointwise import NCE, NEG, PointwiseCrossEntropy, SquaredError
from tf_recall.losses.retrieval_task import RetrievalTask
from tf_recall.losses.softmax import SampledSoftmax, UncorrectedSoftmax

__all__ = [
    "BPR",
    "NCE",
    "NEG",
    "NCELoss",
    "CosineContrastive",
    "Hinge",
    "PointwiseCrossEntropy",
    "RetrievalTask",
    "SampledSoftmax",
    "SquaredError",
    "TripletLogistic",
    "UncorrectedSoftmax",
]
