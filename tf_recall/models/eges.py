"""EGES: items as means of their attributes, trained on walks over the graph of sessions."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import WholeFrom1
from tf_recall.features import Id
from tf_recall.losses import NEG
from tf_recall.losses.base import Loss
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives import Popularity
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, Walks
from tf_recall.retrievers.skip_gram import SkipGram
from tf_recall.towers.base import size_of
from tf_recall.towers.side_info import MeanTower, WeightedTower

DIM = 128  # length of the vectors, where nothing tells it


@keras.saving.register_keras_serializable("tf_recall")
class EGES(SkipGram):
    """`SkipGram` on random walks, with items as means of attribute vectors (METHODS.md M4).

    Items that are near one another on walks get vectors near one another. An item that training has
    not seen gets its vector from its attributes.

    Positives: two items within a window of a random walk on the graph of consecutive items (P4).
    Negatives: items by popularity to the power 0.75 (N2), shared by a batch.
    Towers: for items a `WeightedTower`, whose weights are learned (EGES), or a `MeanTower` (GES).
    Loss: negative sampling (L3).

    Args:
        item_tower: a `WeightedTower("item", ...)`, with `Id` among its features, all of one size;
            by default one of ids.
        positives: `Walks()` over each user's sequence by default.
        negatives: `Popularity(num=64)` by default.
        loss: `NEG()` by default.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.
        history_length: how many of a user's latest items make their vector.
        dim: length of the vectors, where no tower tells it.

    Example:
        >>> features = [Id(64), Text("description", 64), Categorical("price_band", 64)]
        >>> tower = WeightedTower("item", features)
        >>> model = EGES(tower, Walks(ByColumn("invoice"))).adapt(split.train, catalog)

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", sections 2.2 to 2.5.
    Departs from the paper: negatives are shared by a batch; a missing attribute is left out of the
        mean.
    """

    towers = {"item_tower": ("weighted", "item")}

    tunable = {
        "history_length": [5, 100, "log"],
        "negatives": {
            "choices": [{"name": "uniform", "num": 64}, {"name": "popularity", "num": 64}]
        },
    }

    def __init__(
        self,
        item_tower: MeanTower | None = None,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        history_length: WholeFrom1 = LENGTH,
        dim: WholeFrom1 | None = None,
        self_supervision: SelfSupervision | None = None,
        **kwargs,
    ) -> None:
        dim = size_of([item_tower], dim) or DIM
        super().__init__(
            positives or Walks(),
            negatives or Popularity(num=64),
            item_tower or WeightedTower("item", [Id(dim)]),
            loss or NEG(),
            history_length,
            self_supervision=self_supervision,
            **kwargs,
        )
        self.dim = dim

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim}
