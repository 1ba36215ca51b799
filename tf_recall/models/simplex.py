"""SimpleX: an id and a history, cosines, and many negatives beyond a margin."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features import History, Id
from tf_recall.losses import CosineContrastive
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.negatives import Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.towers.blend import BlendTower
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class SimpleX(Retriever):
    """Users as a blend of a vector of their own and the mean of their history (METHODS.md M20).

    query = normalize(share * user_vector[user] + (1 - share) * W mean(item vectors of the history))
    score = query . item_vector[item]

    Known users have both; of unknown ones the history decides alone.

    Positives: a user and each item interacted with (P1), beside the items before it.
    Negatives: items drawn uniformly (N1), many.
    Towers: for queries a blend; for items one vector each, the same that the history is made of.
    Loss: cosine contrastive (L11).

    Args:
        dim: length of the vectors.
        share: how much a user's own vector counts, from 0 to below 1.
        length: how many items of a history are used, the latest.
        dropout, seed: as in `BlendTower`.
        positives: `UserItem()` by default.
        negatives: `Uniform(1024)` by default.
        loss: `CosineContrastive()` by default.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Example:
        >>> model = SimpleX(dim=32, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Mao et al. 2021, "SimpleX: A Simple and Strong Baseline for Collaborative Filtering",
        section 3.
    Departs from the paper: an event's history ends strictly before it; its item vectors are of
        length 1; W begins as the identity; negatives are shared by a batch; the loss's weight
        follows from the data.
    """

    towers: dict = {}
    tunable = {
        "dim": [16, 256, "log"],
        "share": [0.0, 0.9],
        "length": [10, 100, "log"],
        "dropout": [0.0, 0.3],
    }

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        share: Share = 0.35,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.0,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        items = FeatureTower("item", [Id(dim)])
        history = History(length=length, items=items)
        super().__init__(
            positives or UserItem(),
            negatives or Uniform(1024),
            BlendTower("user", [Id(dim), history], share, dropout, seed),
            items,
            loss or CosineContrastive(),
            predicts=predicts,
            **kwargs,
        )
        self.dim = dim
        self.share = share
        self.length = length
        self.dropout = dropout
        self.seed = seed

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]  # the model makes them itself
        return parts

    def get_config(self) -> dict:
        own = ("dim", "share", "length", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
