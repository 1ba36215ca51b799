"""GRU4Rec: a user is a recurrent layer's state after their history."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
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
from tf_recall.towers.recurrent import RecurrentTower

DIM = 64  # where nothing tells the length of the vectors


@keras.saving.register_keras_serializable("tf_recall")
class GRU4Rec(Retriever):
    """Gated recurrent units read a history and predict the next item (METHODS.md M17, recurrent).

    query = normalize(W GRU(history) + b)
    score = query . item_vector[item]

    The small alternative to `SASRec`: fewer weights, and what lies far back fades. Everything else
    is as there.

    Positives: every event, predicted from all before it (P7).
    Negatives: items drawn by their popularity and uniformly, mixed (N2, N1). The items of a batch
        are of a few users, who often like several of them: as negatives they would be wrong ones.
    Towers: for queries a `RecurrentTower`; for items one vector each, the same that histories are
        made of, or a tower over features.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        item_tower, dim, positives, negatives, loss: as `SASRec`.
        units, length, dropout, seed: as in `RecurrentTower`.

    Example:
        >>> model = GRU4Rec(dim=16, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Hidasi et al. 2016, "Session-based Recommendations with Recurrent Neural Networks",
        section 3.
    Departs from the paper: histories lie side by side in rows, whole ones, instead of batches that
        walk along sessions; softmax over many negatives; vectors of length 1, with a temperature.
    """

    towers = {"item_tower": ("features", "item")}

    tunable = {
        "dim": [16, 256, "log"],
        "units": [32, 256, "log"],
        "length": [10, 100, "log"],
        "dropout": [0.0, 0.7],
    }

    def __init__(
        self,
        item_tower: Tower | None = None,
        dim: WholeFrom1 | None = None,
        units: WholeFrom1 = 128,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.5,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        dim = size_of([item_tower], dim) or DIM
        items = item_tower or FeatureTower("item", [Id(dim)])
        super().__init__(
            positives or Sequences(),
            negatives or Mixture([Popularity(1024, power=1), Uniform(1024)]),
            RecurrentTower(items, length, dropout, seed, units),
            items,
            loss or SampledSoftmax(),
            **kwargs,
        )
        self.dim = dim
        self.units = units
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
        own = ("dim", "units", "length", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
