"""Airbnb's type embeddings: users and items by what they are like, so that new ones are
answered.
"""

import keras

from tf_recall.features import Crossed
from tf_recall.losses import NEG
from tf_recall.negatives import Uniform
from tf_recall.positives import UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class AirbnbU2I(Retriever):
    """Rules turn users and items into types; a type that books another has a vector near it
    (METHODS.md M3).

    score[u, t] = user_vector[type(u)] . item_vector[type(t)]

    A user or an item with few events, or none, has the type of its attributes: it is answered from
    the first day, a user also from attributes that a request brings. All items of a type have the
    same score.

    Positives: a user's and an item's type where the user booked the item (P1).
    Negatives: the types of items drawn uniformly (N1), and of those that rejected the user (N6).
    Towers: for either side one vector per type.
    Loss: negative sampling (L3).

    Args:
        user_type: the rules of a user's type, see `Crossed`: columns, with `edges` or `quantiles`
            where they are numbers.
        item_type: the rules of an item's type.
        dim: length of the vectors.
        positives: `UserItem(where="booked")` where the log has more than bookings; `UserItem()` by
            default.
        negatives: `Uniform(num=64)` by default; `EasyHard(Uniform(num=64), Given(2), ratio=32)`
            learns from rejections too, the log's column `negatives`.
        loss: `NEG()` by default.

    Example:
        >>> user_type = ["country", {"column": "budget", "quantiles": 5}]
        >>> item_type = ["city", {"column": "price", "edges": [50, 100]}]
        >>> model = AirbnbU2I(user_type, item_type, positives=UserItem(where="booked"))
        >>> model = model.adapt(split.train, catalog)
        >>> Service.build(model, catalog).recommend(["somebody new"], country="de", budget=120.0)

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking at
        Airbnb", section
    3.2.
    Departs from the paper: pairs are drawn one by one, not by windows over a user's mixed sequence
        of types; random
    negatives are types by how many items have them.
    """

    towers = {}

    def __init__(
        self, user_type, item_type, dim=32, positives=None, negatives=None, loss=None, **kwargs
    ):
        query = FeatureTower("user", [Crossed(user_type, dim)], normalize=False)
        item = FeatureTower("item", [Crossed(item_type, dim)], normalize=False)
        super().__init__(
            positives or UserItem(),
            negatives or Uniform(num=64),
            query,
            item,
            loss or NEG(),
            **kwargs,
        )
        self.user_type = user_type
        self.item_type = item_type
        self.dim = dim

    def parts(self):
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # of its own making
        return parts

    def get_config(self):
        own = {"user_type": self.user_type, "item_type": self.item_type, "dim": self.dim}
        return {**super().get_config(), **own}
