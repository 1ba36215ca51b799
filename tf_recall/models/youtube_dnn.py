"""YouTubeDNN: users by what they did, so that new ones are answered from their first click."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.features import ExampleAge, History, Id
from tf_recall.features.pooling import MeanPooling
from tf_recall.losses import SampledSoftmax
from tf_recall.negatives import InBatch, Mixture, Uniform
from tf_recall.positives import NextItem
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class YouTubeDNN(Retriever):
    """The mean of a user's latest items, through an MLP, predicts the next one (METHODS.md M9).

    query = normalize(MLP([pooling of the history's item vectors ; other features of the user]))
    score = query . item_vector[item]

    There is no table of users: who a user is, is what they did. A request that brings a history is
    answered from it, known user or not; one that brings none, from what training kept.

    Positives: an event's item, after the items before the event (P6).
    Negatives: the other rows' items and items drawn uniformly, mixed (N5).
    Towers: for the query an MLP over history and features; for the item a vector per item, the same
        that the history is made of.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        dim: length of the vectors.
        units: sizes of the MLP's hidden layers.
        features: further features of the query; `[ExampleAge()]` by default, which asks for the
            interactions' timestamp; `[]` for none.
        length: how many items of a history, the latest.
        pooling: what makes one vector of them, `MeanPooling()` by default.
        positives: `NextItem()` by default; `NextItem(per_user=...)` takes as many examples of each
            user, as the paper does.
        negatives: `Mixture([InBatch(), Uniform(1024)])` by default.
        loss: `SampledSoftmax(0.1)` by default.

    Example:
        >>> model = YouTubeDNN(dim=32, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.
    Departs from the paper: the history's item vectors are those that are recommended; vectors are
        of length 1, with a temperature; negatives are shared by a batch.
    """

    towers: dict = {}

    def __init__(
        self,
        dim=64,
        units=(128,),
        features=None,
        length=LENGTH,
        pooling=None,
        positives=None,
        negatives=None,
        loss=None,
        **kwargs,
    ):
        features = [ExampleAge()] if features is None else list(features)
        pooling = pooling or MeanPooling()
        items = FeatureTower("item", [Id(dim)])
        history = History(length=length, pooling=pooling, items=items)
        super().__init__(
            positives or NextItem(),
            negatives or Mixture([InBatch(), Uniform(1024)]),
            FeatureTower("user", [history, *features], [*units, dim]),
            items,
            loss or SampledSoftmax(0.1),
            **kwargs,
        )
        self.dim = dim
        self.units = list(units)
        self.features = features
        self.length = length
        self.pooling = pooling

    def parts(self):
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # of its own making
        return {**parts, "pooling": self.pooling, "features": self.features}

    def get_config(self):
        own = {"dim": self.dim, "units": self.units, "length": self.length}
        return {**super().get_config(), **own}
