"""The base of the models that predict the next item from a history and further features."""

import functools
from collections.abc import Callable, Sequence

from tf_recall.features import ExampleAge
from tf_recall.features.base import Feature
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.negatives import InBatch, Mixture, Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import NextItem, Positives
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.base import Tower


class NextItemRetriever(Retriever):
    """A `Retriever` of the next item that makes both towers itself.

    Args:
        users: makes the query tower of the features beside the history.
        items: the item tower, whose vectors histories are made of too.
        features: those features; None: `[ExampleAge()]` where the interactions have a timestamp.
        positives, negatives, loss: as `Retriever`; None: the next item, a mixture of the other
            rows' items and uniform ones, and a sampled softmax.
    """

    towers: dict = {}

    def __init__(
        self,
        users: Callable[[list[Feature]], Tower],
        items: Tower,
        features: Sequence[Feature] | None,
        positives: Positives | None,
        negatives: Sampler | None,
        loss: Loss | None,
        **kwargs,
    ) -> None:
        by_default = features is None
        features = [ExampleAge()] if by_default else list(features)
        super().__init__(
            positives or NextItem(),
            negatives or Mixture([InBatch(), Uniform(1024)]),
            users(features),
            items,
            loss or SampledSoftmax(),
            **kwargs,
        )
        self.features = features
        self._users_without_age = functools.partial(users, []) if by_default else None

    def adapt(self, train, catalog):
        if self._users_without_age and "timestamp" not in train.frame:
            self.features = []
            self.query_tower = self._users_without_age()
        return super().adapt(train, catalog)

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # the model makes them itself
        return {**parts, "features": self.features}
