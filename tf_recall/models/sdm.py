"""SDM: the session of now and the history of long, weighed by who the user is."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom0, WholeFrom1
from tf_recall.features import History, Id
from tf_recall.features.base import Feature
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.next_item import NextItemRetriever
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.sdm import SDMTower


@keras.saving.register_keras_serializable("tf_recall")
class SDM(NextItemRetriever):
    """The latest items by self-attention, all by attention, and a gate between (METHODS.md M10).

    query = normalize((1 - gate) * long + gate * short),  as in `SDMTower`
    score = query . item_vector[item]

    A user's vector is computed from their history, as in `YouTubeDNN`: it is the request's, for
    known and unknown users; or, where the request brings none, that of the training part.

    Positives: the items before an event, and the event's item (P6).
    Negatives: the other rows' items and items drawn uniformly, mixed (N5).
    Towers: for queries an `SDMTower`; for items a vector each, with attributes of these and the id
        through a matrix: the same tables that the history is made of.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        dim: length of the vectors.
        features: what describes the user, such as `[Categorical("country")]`: the profile that
            attends; none by default: then all users attend alike.
        item_features: features of the items beside their ids, such as `[Categorical("brand")]`; the
            long history is weighed by each on its own. None by default.
        session: how many items, the latest, are the session.
        length: how many items are the history, the latest; the session is part of it.
        gaps: as in `History`, of the session: how many buckets of time.
        num_heads: of the self-attention over the session; they divide `dim`.
        dropout, seed: as in `SDMTower`.
        positives: `NextItem()` by default.
        negatives: `Mixture([InBatch(), Uniform(1024)])` by default.
        loss: `SampledSoftmax()` by default.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Example:
        >>> model = SDM(dim=32, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Lv et al. 2019, "SDM: Sequential Deep Matching Model for Online Large-scale Recommender
        System", section 3.
    Departs from the paper: the session is the latest items, whatever the time between them, with
        vectors of their places, and of `gaps`, instead of an LSTM; the history holds the session
        too, so that a short one is not empty; vectors are of length 1, with a temperature;
        negatives are shared by a batch.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "session": [3, 20, "log"],
        "length": [10, 100, "log"],
        "num_heads": {"choices": [1, 2, 4]},
        "dropout": [0.0, 0.3],
    }

    def __init__(
        self,
        dim: WholeFrom1 = 64,
        features: Sequence[Feature] = (),
        item_features: Sequence[Feature] = (),
        session: WholeFrom1 = 10,
        length: WholeFrom1 = LENGTH,
        gaps: WholeFrom0 = 0,
        num_heads: WholeFrom1 = 2,
        dropout: Share = 0.2,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        items = FeatureTower("item", [Id(dim), *item_features], [dim] if item_features else [])
        history = History(length=length, items=items, gaps=gaps)

        def users(features):
            return SDMTower("user", [history, *features], session, num_heads, dropout, seed)

        of_base = positives, negatives, loss
        super().__init__(users, items, features, *of_base, predicts=predicts, **kwargs)
        self.dim = dim
        self.item_features = list(item_features)
        self.session = session
        self.length = length
        self.gaps = gaps
        self.num_heads = num_heads
        self.dropout = dropout
        self.seed = seed

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        return LazyAdam(0.003)  # attention learns little at the rate that tables need

    def parts(self) -> dict:
        return {**super().parts(), "item_features": self.item_features}

    def get_config(self) -> dict:
        own = ("dim", "session", "length", "gaps", "num_heads", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
