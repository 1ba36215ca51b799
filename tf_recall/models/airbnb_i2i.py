"""Airbnb's listing embeddings: sessions that lead to a booking, and negatives from the same
city.
"""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.models.item2vec import Item2Vec
from tf_recall.negatives import EasyHard, Popularity, SameGroup


@keras.saving.register_keras_serializable("tf_recall")
class AirbnbI2I(Item2Vec):
    """`Item2Vec` in which the item finally booked is near every item of its session
    (METHODS.md M2).

    loss[t] = NEG over the contexts in the window of t, and over the item booked, wherever it
    stands; the negatives are drawn from all items, and some more from the city of t

    Those who search stay in one city: of negatives drawn from everywhere nearly all are from
    another one, so they tell cities apart and not the homes of a city. An item booked inside the
    window counts twice, as context and as booked.

    Positives: two items within a window of one session (P2), and each item of a session with the
        one booked.
    Negatives: items by popularity to the power 0.75 (N2), and items of the center's own group (N6).
    Towers: none; a vector per item, and one more as context while training.
    Loss: negative sampling (L3) for all four terms.

    Args:
        group: the column of the items' side table in which competitors agree: city, market,
            category.
        dim, history_length: see `Item2Vec`.
        positives: `Windows` over `WithConversion` sessions, which say what was booked.
        negatives: `EasyHard(Popularity(num=64), SameGroup(group), ratio=64)` by default: beside
            each context 5 from everywhere and one of the same city. A smaller ratio tells the items
            of a city further apart, and cities less.
        loss: `NEG()` by default.

    Example:
        >>> sessions = WithConversion(ByColumn("search"), column="booked")
        >>> model = AirbnbI2I("city", positives=Windows(sessions)).adapt(split.train, catalog)

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking at
        Airbnb", section
    3.1.
    Departs from the paper: negatives are shared by a batch, those of the same city are each
        center's own. A new item
    has no vector until it is trained; the paper takes the mean of the three nearest of its kind and
    price.
    """

    def __init__(
        self, group, positives, dim=32, negatives=None, loss=None, history_length=LENGTH, **kwargs
    ):
        negatives = negatives or EasyHard(Popularity(num=64), SameGroup(group), ratio=64)
        super().__init__(dim, positives, negatives, loss, history_length, **kwargs)
        self.group = group

    def get_config(self):
        return {**super().get_config(), "group": self.group}
