"""GRU4Rec: a user is a recurrent layer's state after their history."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.sequences import SequenceRetriever
from tf_recall.towers.base import Tower
from tf_recall.towers.recurrent import RecurrentTower


@keras.saving.register_keras_serializable("tf_recall")
class GRU4Rec(SequenceRetriever):
    """Gated recurrent units read a history and predict the next item (METHODS.md M17, recurrent).

    query = normalize(W GRU(history) + b)
    score = query . item_vector[item]

    The small alternative to `SASRec`: fewer weights, and what lies far back fades. Everything else
    is as there.

    Positives: every event, predicted from all before it (P7).
    Negatives: items drawn by their popularity and uniformly, mixed (N2, N1). The items of a batch
        are of a few users, who often like several of them: as negatives they would be wrong ones.
    Towers: for queries a `RecurrentTower`; for items one vector each, the same that histories are
        made of, or a tower over features.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        item_tower, dim, positives, negatives, loss: as `SASRec`.
        units, length, dropout, seed: as in `RecurrentTower`.

    Example:
        >>> model = GRU4Rec(dim=16, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Hidasi et al. 2016, "Session-based Recommendations with Recurrent Neural Networks",
        section 3.
    Departs from the paper: histories lie side by side in rows, whole ones, instead of batches that
        walk along sessions; softmax over many negatives; vectors of length 1, with a temperature.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "units": [32, 256, "log"],
        "length": [10, 100, "log"],
        "dropout": [0.0, 0.7],
    }

    def __init__(
        self,
        item_tower: Tower | None = None,
        dim: WholeFrom1 | None = None,
        units: WholeFrom1 = 128,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.5,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        def users(items):
            return RecurrentTower(items, length, dropout, seed, units)

        reads = (length, dropout, seed)
        super().__init__(users, item_tower, dim, *reads, positives, negatives, loss, **kwargs)
        self.units = units

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}
