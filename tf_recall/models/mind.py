"""MIND: a user is several interests, each of which attends to the history by itself."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.base import Feature
from tf_recall.features.interests import INTERESTS, CapsuleRouting
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.interests import InterestRetriever


@keras.saving.register_keras_serializable("tf_recall")
class MIND(InterestRetriever):
    """Several vectors a user by self-attention; the one nearest to a positive learns (METHODS.md M18)."""

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        interests: WholeFrom1 = INTERESTS,
        adaptive: bool = False,
        units: Sequence[WholeFrom1] = (),
        features: Sequence[Feature] | None = None,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.0,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        pooling = CapsuleRouting(interests, adaptive)
        users = (dim, units, features, length, dropout, seed)
        super().__init__(pooling, *users, positives, negatives, loss, **kwargs)
