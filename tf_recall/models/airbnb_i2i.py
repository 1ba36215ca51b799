"""Airbnb's listing embeddings: sessions that lead to a booking, negatives from the same city."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Column, WholeFrom1
from tf_recall.losses.base import Loss
from tf_recall.models.item2vec import Item2Vec
from tf_recall.negatives import EasyHard, Popularity, SameGroup
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives


@keras.saving.register_keras_serializable("tf_recall")
class AirbnbI2I(Item2Vec):
    """`Item2Vec` that also pairs each item of a session with the one booked (METHODS.md M2).

    loss[t] = NEG over the contexts in the window of t, and over the item booked in its session,
        with negatives drawn from all items, and some more from the city of t

    A user searches in one city. Negatives drawn from all items are nearly all of other cities, so
    by them alone a model learns to separate cities, not the homes of one city. An item booked
    inside the window counts twice, as context and as booked.

    Positives: two items within a window of one session (P2), and each item of a session with the
        item booked in it.
    Negatives: items by popularity to the power 0.75 (N2), and items of the center's own group (N6).
    Towers: none; each item has one vector, and while training another one as context.
    Loss: negative sampling (L3) for all four terms.

    Args:
        group: the column of the items' side table that a positive and its hard negatives share:
            city, market, category.
        dim, history_length: as `Item2Vec`.
        positives: `Windows` over `WithConversion` sessions, which hold the items booked.
        negatives: `EasyHard(Popularity(num=64), SameGroup(group), ratio=64)` by default: for each
            context 5 of all items and one of the same city. A smaller ratio separates the items of
            a city more, and cities less.
        loss: `NEG()` by default.

    Example:
        >>> sessions = WithConversion(ByColumn("search"), column="booked")
        >>> model = AirbnbI2I("city", positives=Windows(sessions)).adapt(split.train, catalog)

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking at
        Airbnb", section 3.1.
    Departs from the paper: negatives are shared by a batch, those of the same city are each
        center's own. A new item has no vector until it is trained; the paper uses the mean of the
        three nearest listings of its type and price.
    """

    tunable = {"dim": [16, 256, "log"], "history_length": [5, 100, "log"]}

    def __init__(
        self,
        group: Column,
        positives: Positives,
        dim: WholeFrom1 = 32,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        history_length: WholeFrom1 = LENGTH,
        **kwargs,
    ) -> None:
        negatives = negatives or EasyHard(Popularity(num=64), SameGroup(group), ratio=64)
        super().__init__(dim, positives, negatives, loss, history_length, **kwargs)
        self.group = group

    def get_config(self) -> dict:
        return {**super().get_config(), "group": self.group}
