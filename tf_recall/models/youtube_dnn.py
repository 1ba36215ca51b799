"""YouTubeDNN: a user is the items they interacted with, so that new ones are served at once."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features import History, Id
from tf_recall.features.base import Feature
from tf_recall.features.pooling import MeanPooling, Pooling
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.next_item import NextItemRetriever
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class YouTubeDNN(NextItemRetriever):
    """The mean of a user's latest items, through an MLP, predicts the next item (METHODS.md M9).

    query = normalize(MLP([pooling of the history's item vectors ; other features of the user]))
    score = query . item_vector[item]

    There is no table of users: a user's vector is computed from their history. It is the request's,
    for known and unknown users; or, where the request brings none, that of the training part.

    Positives: the items before an event, and the event's item (P6).
    Negatives: the other rows' items and items drawn uniformly, mixed (N5).
    Towers: for queries an MLP over history and features; for items one vector each, the same that
        the history is made of.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        dim: length of the vectors.
        units: sizes of the MLP's hidden layers; none by default, a matrix alone, which needs far
            fewer events.
        features: further features of the query; `[ExampleAge()]` by default where the
            interactions have a timestamp; `[]` for none.
        length: how many items of a history are used, the latest.
        pooling: makes one vector of them, `MeanPooling()` by default.
        dropout, seed: as in `FeatureTower`, of the query's MLP.
        positives: `NextItem()` by default; `NextItem(per_user=...)` draws as many examples of each
            user, as the paper does.
        negatives: `Mixture([InBatch(), Uniform(1024)])` by default.
        loss: `SampledSoftmax()` by default.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Example:
        >>> model = YouTubeDNN(dim=32, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.
    Departs from the paper: histories and candidates share one table of item vectors; vectors are of
        length 1, with a temperature; negatives are shared by a batch.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "units": {"choices": [[], [128], [256, 128]]},
        "length": [10, 100, "log"],
        "pooling": {"choices": ["mean", "last", "last_attention"]},
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
        dim: WholeFrom1 = 128,
        units: Sequence[WholeFrom1] = (),
        features: Sequence[Feature] | None = None,
        length: WholeFrom1 = LENGTH,
        pooling: Pooling | None = None,
        dropout: Share = 0.0,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        pooling = pooling or MeanPooling()
        items = FeatureTower("item", [Id(dim)])
        history = History(length=length, pooling=pooling, items=items)

        def users(features):
            units_of_all = [*units, dim]
            return FeatureTower(
                "user", [history, *features], units_of_all, dropout=dropout, seed=seed
            )

        of_base = positives, negatives, loss
        super().__init__(users, items, features, *of_base, predicts=predicts, **kwargs)
        self.dim = dim
        self.units = list(units)
        self.length = length
        self.pooling = pooling
        self.dropout = dropout
        self.seed = seed

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        # Hidden layers die at the rate that an Adagrad of rows needs for tables.
        return LazyAdam(0.003) if self.units else super().default_optimizer()

    def parts(self) -> dict:
        return {**super().parts(), "pooling": self.pooling}

    def get_config(self) -> dict:
        own = ("dim", "units", "length", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
