"""The base of the models that know a user by several vectors."""

from collections.abc import Sequence

import keras

from tf_recall.features import History, Id
from tf_recall.features.base import Feature
from tf_recall.features.interests import InterestPooling
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.next_item import NextItemRetriever
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.interests import InterestTower


class InterestRetriever(NextItemRetriever):
    """A `NextItemRetriever` whose queries are several vectors of a user's history.

    query[k] = normalize(MLP([interest_k of the history ; its mean ; other features of the user]))

    The mean is what all interests have in common: without it they drift apart where users have one
    taste. A subclass gives the pooling. Items have one vector each, the same that histories are
    made of.

    Args:
        pooling: an `InterestPooling`.
        dim: length of the vectors.
        units: sizes of the hidden layers of the MLP that each interest goes through.
        length: how many items of a history are used, the latest.
        dropout, seed: as in `InterestTower`.
        features, positives, negatives, loss: as `NextItemRetriever`.
    """

    def __init__(
        self,
        pooling: InterestPooling,
        dim: int,
        units: Sequence[int],
        features: Sequence[Feature] | None,
        length: int,
        dropout: float,
        seed: int,
        positives: Positives | None,
        negatives: Sampler | None,
        loss: Loss | None,
        **kwargs,
    ) -> None:
        items = FeatureTower("item", [Id(dim)])
        history = History(length=length, pooling=pooling, items=items)
        mean = History(length=length, items=items, name="mean_history")

        def users(features):
            units_of_all = [*units, dim]
            return InterestTower(
                "user", [history, mean, *features], units_of_all, dropout=dropout, seed=seed
            )

        super().__init__(users, items, features, positives, negatives, loss, **kwargs)
        self.dim = dim
        self.interests = pooling.interests
        self.adaptive = pooling.adaptive
        self.units = list(units)
        self.length = length
        self.dropout = dropout
        self.seed = seed

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        # at the rate that an Adagrad of rows needs for tables, attention fits single users
        return LazyAdam(0.001)

    def get_config(self) -> dict:
        own = ("dim", "interests", "adaptive", "units", "length", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
