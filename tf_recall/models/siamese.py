"""Siamese U2U: users are near one another whose histories are like two halves of one."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features import History
from tf_recall.features.pooling import MeanPooling, Pooling
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserHalves
from tf_recall.recommend.neighbors import NeighborService
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class Siamese(Retriever):
    """One tower for both halves of a history, so that like-minded users are near (METHODS.md M11).

    vector = normalize(pooling of the history's item vectors), or an MLP of it
    score(user, other) = vector[user] . vector[other]

    The candidates are users. Its service finds the users nearest to one, and recommends what they
    did last (U2U2I): `NeighborService`. Users are what they did: a new one is answered from the
    history in the request.

    Positives: a random half of a user's history and the other half (P3).
    Negatives: the other rows' users (N4).
    Towers: the same one on both sides, over the history alone.
    Loss: softmax over the batch (L7) with temperature and log q.

    Args:
        dim: length of the vectors.
        units: sizes of the MLP's hidden layers, a matrix follows them; by default there is neither,
            and a user is the mean of their items.
        length: how many items of a history are used, the latest; of each half in training.
        pooling: makes one vector of them, `MeanPooling()` by default.
        dropout, seed: as in `FeatureTower`.
        top: how many nearest users recommend.
        last: how many of their latest items each of them recommends.
        positives: `UserHalves()` by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax()` by default.

    Example:
        >>> model = Siamese(dim=32, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)
        >>> Service.build(model, catalog).similar_users(["u17"], k=10)

    Paper: Huang et al. 2013, "Learning Deep Structured Semantic Models for Web Search using
        Clickthrough Data", section 3, for towers that meet in a cosine.
    Departs from the paper: both sides are users, and share one tower.
    """

    towers: dict = {}
    service = NeighborService
    tunable = {
        "dim": [16, 256, "log"],
        "units": {"choices": [[], [128]]},
        "length": [10, 100, "log"],
        "top": [20, 500, "log"],
        "last": [5, 100, "log"],
    }

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        units: Sequence[WholeFrom1] = (),
        length: WholeFrom1 = LENGTH,
        pooling: Pooling | None = None,
        dropout: Share = 0.0,
        seed: Seed = 0,
        top: WholeFrom1 = 100,
        last: WholeFrom1 = LENGTH,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        pooling = pooling or MeanPooling()
        layers = [*units, dim] if units else []
        tower = FeatureTower(
            "user", [History(dim, length, pooling)], layers, dropout=dropout, seed=seed
        )
        super().__init__(
            positives or UserHalves(),
            negatives or InBatch(),
            tower,
            tower,
            loss or SampledSoftmax(),
            **kwargs,
        )
        self.dim = dim
        self.units = list(units)
        self.length = length
        self.pooling = pooling
        self.dropout = dropout
        self.seed = seed
        self.top = top
        self.last = last

    @property
    def serving(self) -> dict:
        return {"top": self.top, "last": self.last}

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        # Hidden layers die at the rate that an Adagrad of rows needs for tables.
        return LazyAdam(0.003) if self.units else super().default_optimizer()

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # the model makes them itself
        return {**parts, "pooling": self.pooling}

    def get_config(self) -> dict:
        own = ("dim", "units", "length", "dropout", "seed", "top", "last")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
