"""MIND: a user is several interests, to which the items of the history are routed."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.base import Feature
from tf_recall.features.interests import INTERESTS, CapsuleRouting
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives
from tf_recall.retrievers.interests import InterestRetriever


@keras.saving.register_keras_serializable("tf_recall")
class MIND(InterestRetriever):
    """A user as several vectors, capsules of a history's items (METHODS.md M18, MIND).

    query[k] = normalize(MLP([capsule k of the history ; its mean ; other features of the user]))
    score = max over k of query[k] . item_vector[item]

    The capsules are made by dynamic routing, see `CapsuleRouting`. Use it where a user has tastes
    that are far apart; `ComiRec` is the other model of several interests. There is no table of
    users; new ones are answered from their history.

    Positives: the items before an event, and the event's item (P6); of a row's vectors the one
        nearest to the positive learns.
    Negatives: the other rows' items and items drawn uniformly, mixed (N5).
    Towers: for queries capsules of the history; for items one vector each, the same that the
        history is made of.
    Loss: softmax over the drawn negatives (L4) with temperature and log q.

    Args:
        dim: length of the vectors.
        interests: how many vectors a user has.
        adaptive: fewer for short histories: max(1, min(interests, log2 of their length)).
        iterations: how often items are routed.
        units: sizes of the hidden layers of the MLP; none by default, a matrix alone.
        features: further features of the query; `[ExampleAge()]` by default where the
            interactions have a timestamp; `[]` for none.
        length: how many items of a history are used, the latest.
        dropout: as in `FeatureTower`, of the MLP.
        seed: of the dropout's and of the routing's draws.
        positives: `NextItem()` by default.
        negatives: `Mixture([InBatch(), Uniform(1024)])` by default.
        loss: `SampledSoftmax()` by default.

    Example:
        >>> model = MIND(dim=32, interests=4, length=20).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=256)
        >>> history = model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch)

    Paper: Li et al. 2019, "Multi-Interest Network with Dynamic Routing for Recommendation at
        Tmall", section 3.
    Departs from the paper: the nearest interest learns alone, label-aware attention of infinite
        power; the first logits are drawn once by position, not anew for each user; the mean
        of the history, which all interests have in common; vectors of
        length 1, with a temperature; log q.
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
        iterations: WholeFrom1 = 3,
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
        pooling = CapsuleRouting(interests, adaptive, iterations, seed)
        users = (dim, units, features, length, dropout, seed)
        super().__init__(pooling, *users, positives, negatives, loss, **kwargs)
        self.iterations = iterations

    def get_config(self) -> dict:
        return {**super().get_config(), "iterations": self.iterations}
