"""The base of the models that know a user by several vectors."""

import functools
from collections.abc import Sequence

import keras

from tf_recall.features import ExampleAge, History, Id
from tf_recall.features.base import Feature
from tf_recall.features.interests import InterestPooling
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.negatives import InBatch, Mixture, Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import NextItem, Positives
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.interests import InterestTower


class InterestRetriever(Retriever):
    """A `Retriever` of the next item, whose queries are several vectors of a user's history.

    query[k] = normalize(MLP([interest_k of the history ; its mean ; other features of the user]))

    The mean is what all interests have in common: without it they drift apart where users have one
    taste. A subclass gives the pooling. Items have one vector each, the same that histories are
    made of.

    Args:
        pooling: an `InterestPooling`.
        dim: length of the vectors.
        units: sizes of the hidden layers of the MLP that each interest goes through.
        features: further features of the query; None: `[ExampleAge()]` where the interactions have
            a timestamp.
        length: how many items of a history are used, the latest.
        dropout, seed: as in `InterestTower`.
        positives, negatives, loss: as `Retriever`; None: the next item, a mixture of the other
            rows' items and uniform ones, and a sampled softmax.
    """

    towers: dict = {}

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
        by_default = features is None
        features = [ExampleAge()] if by_default else list(features)
        items = FeatureTower("item", [Id(dim)])
        history = History(length=length, pooling=pooling, items=items)
        mean = History(length=length, items=items, name="mean_history")

        def users(features):
            units_of_all = [*units, dim]
            return InterestTower(
                "user", [history, mean, *features], units_of_all, dropout=dropout, seed=seed
            )

        super().__init__(
            positives or NextItem(),
            negatives or Mixture([InBatch(), Uniform(1024)]),
            users(features),
            items,
            loss or SampledSoftmax(),
            **kwargs,
        )
        self.dim = dim
        self.interests = pooling.interests
        self.adaptive = pooling.adaptive
        self.units = list(units)
        self.features = features
        self.length = length
        self.dropout = dropout
        self.seed = seed
        self._users_without_age = functools.partial(users, []) if by_default else None

    def adapt(self, train, catalog):
        if self._users_without_age and "timestamp" not in train.frame:
            self.features = []
            self.query_tower = self._users_without_age()
        return super().adapt(train, catalog)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        # at the rate that an Adagrad of rows needs for tables, attention fits single users
        return LazyAdam(0.001)

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # the model makes them itself
        return {**parts, "features": self.features}

    def get_config(self) -> dict:
        own = ("dim", "interests", "adaptive", "units", "length", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
