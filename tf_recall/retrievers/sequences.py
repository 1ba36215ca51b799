"""The base of the models that read a history in its order, and learn at every place of it."""

from collections.abc import Callable

import keras

from tf_recall.features import Id
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.negatives import Mixture, Popularity, Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, Sequences
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.base import Tower, size_of
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.sequence import SequenceTower

DIM = 64  # where nothing tells the length of the vectors


class SequenceRetriever(Retriever):
    """A `Retriever` whose queries are a `SequenceTower`'s reading of a history.

    A subclass gives the tower. Items have one vector each, the same that histories are made of, or
    a tower over features.

    Args:
        users: makes the query tower of the item tower.
        item_tower: a tower over items; None: one of ids.
        dim: length of the vectors; None: the item tower's, or 64.
        length, dropout, seed: as in the query tower.
        positives, negatives, loss: as `Retriever`; None: `Sequences()`, items drawn by their
            popularity and uniformly, and a sampled softmax.
    """

    towers = {"item_tower": ("features", "item")}

    def __init__(
        self,
        users: Callable[[Tower], SequenceTower],
        item_tower: Tower | None,
        dim: int | None,
        length: int,
        dropout: float,
        seed: int,
        positives: Positives | None,
        negatives: Sampler | None,
        loss: Loss | None,
        **kwargs,
    ) -> None:
        dim = size_of([item_tower], dim) or DIM
        items = item_tower or FeatureTower("item", [Id(dim)])
        super().__init__(
            positives or Sequences(),
            negatives or Mixture([Popularity(1024, power=1), Uniform(1024)]),
            users(items),
            items,
            loss or SampledSoftmax(),
            **kwargs,
        )
        self.dim = dim
        self.length = length
        self.dropout = dropout
        self.seed = seed

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        return LazyAdam(0.001)

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"]  # the model makes it itself
        return parts

    def get_config(self) -> dict:
        own = ("dim", "length", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
