"""EGES: walks on the graph of what follows what, and items made of their attributes."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.losses import NEG
from tf_recall.negatives import Popularity
from tf_recall.positives import Walks
from tf_recall.retrievers.skip_gram import SkipGram


@keras.saving.register_keras_serializable("tf_recall")
class EGES(SkipGram):
    """Items near one another on random walks, each a weighted mean of its id's and its attributes'
    vectors (M4).

    An item that training has not seen gets its vector from its attributes: METHODS.md M4.

    Positives: two items within a window of a random walk on the graph of consecutive items (P4).
    Negatives: items by popularity to the power 0.75 (N2), shared by a batch.
    Towers: for the item `WeightedTower`, a softmax over learned weights (EGES), or `MeanTower`
        (GES).
    Loss: negative sampling (L3).

    Args:
        item_tower: a `WeightedTower("item", ...)`, with `Id` among its features, all of one size.
        positives: `Walks()` over each user's sequence by default.
        negatives: `Popularity(num=64)` by default.
        loss: `NEG()` by default.
        history_length: how many of a user's latest items make its vector.

    Example:
        >>> features = [Id(64), Text("description", 64), Categorical("price_band", 64)]
        >>> tower = WeightedTower("item", features)
        >>> model = EGES(tower, Walks(ByColumn("invoice"))).adapt(split.train, catalog)

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", sections 2.3
    and 2.4.
    Departs from the paper: negatives are shared by a batch; a missing attribute takes no part in
        the mean.
    """

    towers = {"item_tower": ("weighted", "item")}

    def __init__(
        self, item_tower, positives=None, negatives=None, loss=None, history_length=LENGTH, **kwargs
    ):
        super().__init__(
            positives or Walks(),
            negatives or Popularity(num=64),
            item_tower,
            loss or NEG(),
            history_length,
            **kwargs,
        )
