"""The two-tower model: a query and an item are encoded apart, and trained by in-batch softmax."""

import keras

from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.base import Tower


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
        query_tower: a `FeatureTower("user", ...)`, or a `HistoryTower`.
        item_tower: a `FeatureTower("item", ...)` of the same size.
        positives: `UserItem()` by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax()` by default.

    Raises:
        ValueError: the towers end in different sizes; or the positives, the negatives and the loss
            do not go with one another.

    Example:
        >>> model = TwoTower(FeatureTower("user", [Id(32)]), FeatureTower("item", [Id(32)]))
        >>> model.adapt(split.train, catalog).compile(optimizer=SparseAdagrad(0.1))
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
        query_tower: Tower,
        item_tower: Tower,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            query_tower,
            item_tower,
            loss or SampledSoftmax(),
            **kwargs,
        )
