"""LightGCN: a vector for each user and item, smoothed over the graph between them."""

import keras

from tf_recall.data.ranges import WholeFrom1
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.negatives import InBatch, Mixture, Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.propagation import PropagationRetriever
from tf_recall.towers.propagation import Propagation


@keras.saving.register_keras_serializable("tf_recall")
class LightGCN(PropagationRetriever):
    """Vectors of ids alone, averaged with those of neighbors (METHODS.md M19).

        E[k + 1][v] = sum over the neighbors u of v of E[k][u] / sqrt(|N_v| |N_u|)
        vector[v] = mean of E[0][v], ..., E[K][v]
        score = vector[user] . vector[item]

    Positives: a user and each item interacted with (P1).
    Towers: a vector for each user and each item.
    """

    def __init__(
        self,
        dim: WholeFrom1 = 64,
        num_layers: WholeFrom1 = 3,
        normalize: bool = True,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            positives or UserItem(),
            negatives or Mixture([InBatch(), Uniform(1024)]),
            Propagation(dim, num_layers),
            loss or SampledSoftmax(),
            normalize,
            **kwargs,
        )
