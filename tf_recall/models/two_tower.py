"""Two towers, in-batch softmax: the workhorse of candidate retrieval."""

import keras

from tf_recall.losses import SampledSoftmax
from tf_recall.negatives import InBatch
from tf_recall.positives import UserItem
from tf_recall.retrievers.base import Retriever


@keras.saving.register_keras_serializable("tf_recall")
class TwoTower(Retriever):
    """A tower for the query, a tower for the item, and nothing between them but the final dot
    (METHODS.md M8).

    Positives: a user and each item interacted with (P1).
    Negatives: the other rows' items (N4), priced by their share of the training positives.
    Towers: features, concatenated, through an MLP, to unit length.
    Loss: softmax over them (L7) with temperature and log q.

    Args:
        query_tower: a `FeatureTower("user", ...)`, or a `HistoryTower`.
        item_tower: a `FeatureTower("item", ...)` that ends in the same size.
        positives: the positives, `UserItem()` by default.
        negatives: the sampler, `InBatch()` by default.
        loss: the loss, `SampledSoftmax()` by default.

    Example:
        >>> model = TwoTower(FeatureTower("user", [Id(32)]), FeatureTower("item", [Id(32)]))
        >>> model.adapt(split.train, catalog).compile(optimizer=SparseAdagrad(0.1))
        >>> batches = model.batches(split.train, catalog)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)

    Paper: Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
        recommendations", sections 3 and 4.
    Departs from the paper: log q comes from training counts; `InBatch(Streaming())` takes the
        paper's estimate.
    """

    def __init__(
        self, query_tower, item_tower, positives=None, negatives=None, loss=None, **kwargs
    ):
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            query_tower,
            item_tower,
            loss or SampledSoftmax(),
            **kwargs,
        )
