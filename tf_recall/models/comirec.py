"""ComiRec: a user is several interests, each of which attends to the history by itself."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.base import Feature
from tf_recall.features.interests import INTERESTS, InterestAttention
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.interests import InterestRetriever


@keras.saving.register_keras_serializable("tf_recall")
class ComiRec(InterestRetriever):
    """A user as several vectors, each an attention over the history (METHODS.md M18, ComiRec-SA).

    A = softmax over l of W2 tanh(W1 (H + P))    H: the history's item vectors
    query[k] = normalize(MLP([A[k] H ; mean of H ; other features of the user]))
    score = max over k of query[k] . item_vector[item]

    Use it where a user has tastes that are far apart: one vector between them is near to neither.
    There is no table of users; new ones are answered from their history. A request is as many
    searches as there are interests.

    Positives: the items before an event, and the event's item (P6); of a row's vectors the one
        nearest to the positive learns.
    Negatives: the other rows' items and items drawn uniformly, mixed (N5).
    Towers: for queries self-attention over the history, several times; for items one vector each,
        the same that the history is made of.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        dim: length of the vectors.
        interests: how many vectors a user has.
        adaptive: fewer for short histories, as in `InterestAttention`.
        units: sizes of the hidden layers of the MLP; none by default, a matrix alone.
        features: further features of the query; `[ExampleAge()]` by default where the
            interactions have a timestamp; `[]` for none.
        length: how many items of a history are used, the latest.
        dropout, seed: as in `FeatureTower`, of the MLP.
        positives: `NextItem()` by default.
        negatives: `Mixture([InBatch(), Uniform(1024)])` by default.
        loss: `SampledSoftmax()` by default.

    Example:
        >>> model = ComiRec(dim=32, interests=4, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)
        >>> item_id, score = Service.build(model, catalog).recommend(["u17"], k=10)

    Paper: Cen et al. 2020, "Controllable Multi-Interest Framework for Recommendation", section 3.
    Departs from the paper: an MLP, and in it the mean of the history, which all interests have in
        common; vectors of length 1, with a temperature; log q; answers are merged by their highest
        score alone, without a term for diversity.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "interests": [2, 8],
        "length": [10, 100, "log"],
        "dropout": [0.0, 0.3],
    }

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        interests: WholeFrom1 = INTERESTS,
        adaptive: bool = False,
        units: Sequence[WholeFrom1] = (),
        features: Sequence[Feature] | None = None,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.0,
        seed: Seed = 0,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        **kwargs,
    ) -> None:
        pooling = InterestAttention(interests, adaptive)
        users = (dim, units, features, length, dropout, seed)
        super().__init__(pooling, *users, positives, negatives, loss, **kwargs)
