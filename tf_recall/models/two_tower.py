"""The two-tower model: a query and an item are encoded apart, and trained by in-batch softmax."""

from collections.abc import Sequence

import keras

from tf_recall.data.ranges import WholeFrom1
from tf_recall.features import Id
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.base import Tower, size_of
from tf_recall.towers.features import FeatureTower

DIM = 128  # length of the vectors, where nothing tells it


@keras.saving.register_keras_serializable("tf_recall")
class TwoTower(Retriever):
    """A tower for queries and one for items, which meet in a dot product alone (METHODS.md M8).

    score = query_tower(query) . item_tower(item)

    Positives: a user and each item interacted with (P1).
    Negatives: the other rows' items (N4); their sampling probability is their share of the
        positives.
    Towers: features, concatenated, through an MLP, to unit length.
    Loss: softmax over the negatives (L7) with temperature and log q.

    Args:
        query_tower: a `FeatureTower("user", ...)`, or a `HistoryTower`; by default one of ids.
        item_tower: a `FeatureTower("item", ...)` of the same size; by default one of ids.
        dim: length of the vectors, where no tower tells it.
        positives: `UserItem()` by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax()` by default.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.
        predicts: `WatchTime("seconds")`, `FinishRate("seconds", "length")`: what else the vectors
            tell, each an endpoint of the export.

    Raises:
        ValueError: the towers end in different sizes, or not in `dim`; or the positives, the
            negatives and the loss do not go with one another.

    Example:
        >>> model = TwoTower()                          # of ids alone
        >>> model.adapt(split.train, catalog).compile()
        >>> batches = model.batches(split.train, catalog)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)

    Paper: Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations", sections 3 and 4.
    Departs from the paper: log q comes from training counts; `InBatch(Streaming())` estimates it
        from the batches, as the paper does.
    """

    tunable = {
        "negatives": {
            "choices": [
                "in_batch",
                {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 1024}]},
                {"name": "uniform", "num": 1024},
            ]
        },
    }

    def __init__(
        self,
        query_tower: Tower | None = None,
        item_tower: Tower | None = None,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        dim: WholeFrom1 | None = None,
        self_supervision: SelfSupervision | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        dim = size_of([query_tower, item_tower], dim) or DIM
        query_tower = query_tower or FeatureTower("user", [Id(dim)])
        item_tower = item_tower or FeatureTower("item", [Id(dim)])
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            query_tower,
            item_tower,
            loss or SampledSoftmax(),
            self_supervision=self_supervision,
            predicts=predicts,
            **kwargs,
        )
        self.dim = self.item_tower.dim

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim}
