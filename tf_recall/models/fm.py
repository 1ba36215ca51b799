"""FM: a factorization machine whose score is the inner product of two vectors."""

from collections.abc import Sequence
from typing import Self

import keras

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import WholeFrom1
from tf_recall.features import Id
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives import InBatch, Mixture, Uniform
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.fitting import ROWS
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.towers.base import size_of
from tf_recall.towers.fm import FMItemTower, FMQueryTower

NUM_FACTORS = 128  # length of the vectors, where nothing tells it
RATE = 0.1
DECAY = 0.2  # of a weight in an epoch


@keras.saving.register_keras_serializable("tf_recall")
class FM(Retriever):
    """A factorization machine over user and item features, served as two vectors (METHODS.md M5).

    FM(u, t) = constant(u) + query . item
    query = [1, sum_user v]
    item = [W_t + V_tt, sum_item v]

    A user's constant does not change the order of items, and cancels in every loss that compares
    items.

    Positives: a user and each item interacted with (P1); with `alpha` popular items are kept less
        often (P5).
    Negatives: the other rows' items and items drawn uniformly, mixed (N5).
    Towers: `FMQueryTower` and `FMItemTower`, over any features.
    Loss: softmax over the drawn negatives (L4) with log q.
    Optimizer: by default `SparseAdagrad(0.1)` with a weight decay of 0.2 an epoch, however long the
        log, in batches of 1,024 or of the config's size: vectors of no fixed length learn a short
        history by heart without it.

    Args:
        query_tower: an `FMQueryTower("user", ...)`; by default one of ids.
        item_tower: an `FMItemTower("item", ...)` of the same size; by default one of ids.
        num_factors: length of the vectors `v`, where no tower tells it.
        positives: `UserItem()` by default.
        negatives: `Mixture([InBatch(), Uniform(1024)])` by default.
        loss: a loss that compares items: `SampledSoftmax()` by default, `BPR()`.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Example:
        >>> users = FMQueryTower("user", [Id()], 32)
        >>> items = FMItemTower("item", [Id(), MultiValued("genres")], 32)
        >>> model = FM(users, items, UserItem(alpha=1e-3)).adapt(split.train, catalog)

    Paper: Rendle 2010, "Factorization Machines", section III.
    Paper: Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback",
        section 4.
    Departs from the papers: the terms of the user alone cancel in the loss, and are left out;
        the loss is a softmax, by which it finds more than by BPR.
    """

    towers = {"query_tower": ("fm_query", "user"), "item_tower": ("fm_item", "item")}

    num_events: int | None = None  # of the training part, once adapted

    tunable = {
        "loss": {"choices": ["bpr", "sampled_softmax"]},
        "negatives": {
            "choices": [
                "in_batch",
                {"name": "popularity", "num": 256},
                {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 1024}]},
            ]
        },
    }

    def __init__(
        self,
        query_tower: FMQueryTower | None = None,
        item_tower: FMItemTower | None = None,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        num_factors: WholeFrom1 | None = None,
        self_supervision: SelfSupervision | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        dim = size_of([query_tower, item_tower], num_factors and num_factors + 1)
        num_factors = dim - 1 if dim else NUM_FACTORS
        query_tower = query_tower or FMQueryTower("user", [Id()], num_factors)
        item_tower = item_tower or FMItemTower("item", [Id()], num_factors)
        super().__init__(
            positives or UserItem(),
            negatives or Mixture([InBatch(), Uniform(1024)]),
            query_tower,
            item_tower,
            loss or SampledSoftmax(),
            self_supervision=self_supervision,
            predicts=predicts,
            **kwargs,
        )
        self.num_factors = num_factors

    def adapt(self, train: Interactions, catalog: Catalog) -> Self:
        super().adapt(train, catalog)
        self.num_events = int(catalog.items.counts.sum())
        return self

    def optimizer_for(self, batch_size: int | None = None) -> keras.optimizers.Optimizer:
        if self.num_events is None:
            return self.default_optimizer()
        steps = max(self.num_events / (batch_size or ROWS), 1)  # of an epoch
        return SparseAdagrad(RATE, weight_decay=DECAY / (RATE * steps))

    def get_config(self) -> dict:
        return {**super().get_config(), "num_factors": self.num_factors}
