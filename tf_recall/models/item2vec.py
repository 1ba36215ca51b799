"""Item2Vec: word2vec with sessions as sentences and items as words."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import WholeFrom1
from tf_recall.features import Id
from tf_recall.losses import NEG
from tf_recall.losses.base import Loss
from tf_recall.negatives import Popularity
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, ShrinkingWindows
from tf_recall.retrievers.skip_gram import SkipGram
from tf_recall.towers.features import FeatureTower


@keras.saving.register_keras_serializable("tf_recall")
class Item2Vec(SkipGram):
    """Items near one another in a session have vectors near one another (METHODS.md M1).

    Positives: two items within a window of one session (P2); with `alpha` popular items are kept
        less often (P5).
    Negatives: items by popularity to the power 0.75 (N2), shared by a batch.
    Towers: none; each item has one vector, and while training another one as context.
    Loss: negative sampling (L3); with `NCE()` noise contrastive estimation (L2).

    Args:
        dim: length of the vectors.
        positives: `ShrinkingWindows(window=10)` over each user's sequence by default; `Windows` for
            fixed ones.
        negatives: `Popularity(num=64)` by default.
        loss: `NEG()` by default.
        history_length: how many of a user's latest items make their vector.

    Example:
        >>> model = Item2Vec(dim=64, positives=ShrinkingWindows(ByColumn("invoice")))
        >>> model = model.adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=4096)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=10)
        >>> Service.build(model, catalog).similar(["tea"], k=10)

    Paper: Barkan and Koenigstein 2016, "Item2Vec: Neural Item Embedding for Collaborative
        Filtering", section 3.
    Departs from the paper: negatives are shared by a batch; windows may be smaller than the
        session.
    """

    towers: dict = {}

    tunable = {
        "dim": [16, 256, "log"],
        "history_length": [5, 100, "log"],
        "negatives": {
            "choices": [{"name": "uniform", "num": 64}, {"name": "popularity", "num": 64}]
        },
    }

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        history_length: WholeFrom1 = LENGTH,
        **kwargs,
    ) -> None:
        super().__init__(
            positives or ShrinkingWindows(window=10),
            negatives or Popularity(num=64),
            FeatureTower("item", [Id(dim, unknown_rate=0)]),
            loss or NEG(),
            history_length,
            **kwargs,
        )
        self.dim = dim

    def parts(self) -> dict:
        parts = super().parts()
        del parts["item_tower"]  # the model makes it itself
        return parts

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim}
