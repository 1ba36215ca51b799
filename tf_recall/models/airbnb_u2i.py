"""Airbnb's type embeddings: users and items by their attributes, so that new ones have vectors."""

from collections.abc import Sequence

import keras

from tf_recall.data.ranges import Filled, WholeFrom1
from tf_recall.features import Crossed
from tf_recall.features.crossed import Rule
from tf_recall.losses import NEG
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.negatives import Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class AirbnbU2I(Retriever):
    """A vector for each type of users and items; rules on attributes define types (METHODS.md M3).

    score[u, t] = user_vector[type(u)] . item_vector[type(t)]

    A user or an item with few events, or none, has the type of its attributes, and so a vector from
    the first day; a request may bring a user's attributes. All items of a type have the same score.

    Positives: the types of a user and of an item that the user booked (P1).
    Negatives: the types of items drawn uniformly (N1), and of those that rejected the user (N6).
    Towers: on each side one vector for each type.
    Loss: negative sampling (L3).

    Args:
        user_type: the rules of a user's type, as `Crossed`: columns, with `edges` or `quantiles`
            where they are numbers.
        item_type: the rules of an item's type.
        dim: length of the vectors.
        positives: `UserItem(where="booked")` where the log has more than bookings; `UserItem()` by
            default.
        negatives: `Uniform(num=64)` by default; `EasyHard(Uniform(num=64), Given(2), ratio=32)`
            learns from rejections too, which are in the log's column `negatives`.
        loss: `NEG()` by default.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Example:
        >>> user_type = ["country", {"column": "budget", "quantiles": 5}]
        >>> item_type = ["city", {"column": "price", "edges": [50, 100]}]
        >>> model = AirbnbU2I(user_type, item_type, positives=UserItem(where="booked"))
        >>> model = model.adapt(split.train, catalog)
        >>> Service.build(model, catalog).recommend(["somebody new"], country="de", budget=120.0)

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking at
        Airbnb", section 3.2.
    Departs from the paper: pairs are drawn one by one, not by windows over a user's mixed sequence
        of types; random negatives are types in proportion to their number of items.
    """

    towers: dict = {}

    tunable = {"dim": [16, 256, "log"]}

    def __init__(
        self,
        user_type: Filled[Rule],
        item_type: Filled[Rule],
        dim: WholeFrom1 = 32,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        query = FeatureTower("user", [Crossed(user_type, dim)], normalize=False)
        item = FeatureTower("item", [Crossed(item_type, dim)], normalize=False)
        super().__init__(
            positives or UserItem(),
            negatives or Uniform(num=64),
            query,
            item,
            loss or NEG(),
            predicts=predicts,
            **kwargs,
        )
        self.user_type = user_type
        self.item_type = item_type
        self.dim = dim

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # the model makes them itself
        return parts

    def get_config(self) -> dict:
        own = {"user_type": self.user_type, "item_type": self.item_type, "dim": self.dim}
        return {**super().get_config(), **own}
