"""SASRec: a user is a transformer's reading of their history, of which every place trains it."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.sequences import SequenceRetriever
from tf_recall.towers.attention import AttentionTower
from tf_recall.towers.base import Tower


@keras.saving.register_keras_serializable("tf_recall")
class SASRec(SequenceRetriever):
    """A transformer reads a user's history and predicts the next item (METHODS.md M17).

    query = normalize(blocks of causal self-attention over the history, at its last item)
    score = query . item_vector[item]

    There is no table of users: known, new and anonymous users are answered by what they did, in its
    order. Every place of a history is trained at once, and short histories lie side by side in one
    row of a batch.

    Positives: every event, predicted from all before it (P7).
    Negatives: items drawn by their popularity and uniformly, mixed (N2, N1). The items of a batch
        are of a few users, who often like several of them: as negatives they would be wrong ones.
    Towers: for queries an `AttentionTower`; for items one vector each, the same that histories are
        made of, or a tower over features.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        item_tower: a tower over items; with features beside the id new items are answered. None:
            `FeatureTower("item", [Id(dim)])`.
        dim: length of the vectors; 64 where the item tower does not tell.
        blocks, heads, length, dropout, seed: as in `AttentionTower`.
        positives: `Sequences()` by default; `NextItem()` gives each event a row of its own.
        negatives: `Mixture([Popularity(1024, power=1), Uniform(1024)])` by default.
        loss: `SampledSoftmax()` by default.

    Example:
        >>> model = SASRec(dim=16, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", section III.
    Departs from the paper: softmax over many negatives instead of one by cross-entropy; pre-norm;
        vectors of length 1, with a temperature.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "blocks": [1, 3],
        "length": [10, 100, "log"],
        "dropout": [0.0, 0.7],
    }

    def __init__(
        self,
        item_tower: Tower | None = None,
        dim: WholeFrom1 | None = None,
        blocks: WholeFrom1 = 2,
        heads: WholeFrom1 = 2,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.5,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        def users(items):
            return AttentionTower(items, length, dropout, seed, blocks, heads, 4 * items.dim)

        reads = (length, dropout, seed)
        super().__init__(users, item_tower, dim, *reads, positives, negatives, loss, **kwargs)
        self.blocks = blocks
        self.heads = heads

    def get_config(self) -> dict:
        return {**super().get_config(), "blocks": self.blocks, "heads": self.heads}
