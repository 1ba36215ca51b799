"""FM recall: a factorization machine, cut in two so that an inner product serves it."""

import keras

from tf_recall.losses import BPR
from tf_recall.negatives import Popularity
from tf_recall.positives import UserItem
from tf_recall.retrievers.base import Retriever


@keras.saving.register_keras_serializable("tf_recall")
class FM(Retriever):
    """A factorization machine over user and item features, served as two vectors (METHODS.md M5).

    FM(u, t) = constant(u) + query . item,  query = [1, sum_user v],  item = [W_t + V_tt, sum_item
    v]

    What is constant for a user ranks nothing, and drops out of every loss that compares items.

    Positives: a user and each item interacted with (P1); popular items thinned out with `alpha`
        (P5).
    Negatives: items by popularity to the power 0.75 (N2).
    Towers: `FMQueryTower` and `FMItemTower`, over any features.
    Loss: BPR (L6); `SampledSoftmax` works as well.

    Args:
        query_tower: an `FMQueryTower("user", ...)`.
        item_tower: an `FMItemTower("item", ...)` of the same size.
        positives: `UserItem()` by default.
        negatives: `Popularity(num=256)` by default.
        loss: a loss that compares items: `BPR()` by default, `SampledSoftmax()`.

    Example:
        >>> users = FMQueryTower("user", [Id()], 32)
        >>> items = FMItemTower("item", [Id(), MultiValued("genres")], 32)
        >>> model = FM(users, items, UserItem(alpha=1e-3)).adapt(split.train, catalog)

    Paper: Rendle 2010, "Factorization Machines", section III; Rendle et al. 2009 (BPR), section 4.
    Departs from the paper: the terms of the user alone are left out, they cancel in the loss.
    """

    towers = {"query_tower": ("fm_query", "user"), "item_tower": ("fm_item", "item")}

    def __init__(
        self, query_tower, item_tower, positives=None, negatives=None, loss=None, **kwargs
    ):
        super().__init__(
            positives or UserItem(),
            negatives or Popularity(num=256),
            query_tower,
            item_tower,
            loss or BPR(),
            **kwargs,
        )
