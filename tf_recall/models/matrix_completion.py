"""Matrix completion: foretells the ratings that users would give, from those that they gave."""

from collections.abc import Sequence
from typing import Self

import keras
import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column, WholeFrom1
from tf_recall.losses import SquaredError
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.negatives import InBatch
from tf_recall.positives import Positives, UserItem
from tf_recall.positives.base import TrainingBatches
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.towers.rating import RatingTower

LABELS = ("weight", "rating", "user_rating")  # columns that may hold them


@keras.saving.register_keras_serializable("tf_recall")
class MatrixCompletion(Retriever):
    """Foretells ratings; it is no recall model, and is here to show why (METHODS.md M6).

    rating(u, i) = mean + b_u + b_i + p_u . q_i

    It learns from the pairs seen alone, and is asked about all others: which of them a user would
    ever come across, exposure, is what most of recall is about, and nothing in its loss tells it.
    So the items that it recommends are those that a few users rated highly. On MovieLens, every
    user's last film held out, its recall@20 is 0.046, popularity's 0.069 and ALS's 0.130: train
    `als` on the same data, or `two_tower`, and take this one to sort what these have found.

    Positives: a user and each item rated (P1).
    Negatives: none; the sampler's draws do not count.
    Towers: a vector and a bias for each user and each item, of any length.
    Loss: squared error of the rating (L10). Its regularization is the optimizer's weight decay.

    Args:
        dim: length of the vectors p and q.
        label: the column of ratings; None: `weight`, `rating` or `user_rating`, the first that the
            interactions have.
        positives: `UserItem()` by default.
        loss: `SquaredError()` by default.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Raises:
        ValueError: another loss; at `adapt`, the interactions have no such column, or all of it is
            one number.

    Example:
        >>> model = MatrixCompletion(dim=16, label="booked").adapt(split.train, catalog)
        >>> model.compile()
        >>> service = Service.build(model, catalog)         # a score is a rating

    Paper: Koren et al. 2009, "Matrix Factorization Techniques for Recommender Systems".
    Departs from the paper: weights shrink with each step, and not with each rating.
    """

    towers: dict = {}
    exposure_only = True

    tunable = {"dim": [8, 128, "log"]}

    def __init__(
        self,
        dim: WholeFrom1 = 32,
        label: Column | None = None,
        positives: Positives | None = None,
        loss: Loss | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        loss = loss or SquaredError()
        if not isinstance(loss, SquaredError):
            raise ValueError(
                f"MatrixCompletion foretells ratings by SquaredError, not by "
                f"{type(loss).__name__}: leave the loss out, or take TwoTower"
            )
        towers = RatingTower("user", dim), RatingTower("item", dim)
        super().__init__(
            positives or UserItem(), InBatch(), *towers, loss, predicts=predicts, **kwargs
        )
        self.dim = dim
        self.label = label

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        return SparseAdagrad(0.1, weight_decay=0.01)

    def adapt(self, train: Interactions, catalog: Catalog) -> Self:
        labels = self._labels(train.to_learn)
        super().adapt(train, catalog)
        self.query_tower.mean.assign(labels.mean())
        return self

    def batches(
        self, train: Interactions, catalog: Catalog, batch_size: int = 1024, seed: int = 0
    ) -> TrainingBatches:
        """As `Retriever.batches`; a row's weight is its rating."""
        train = train.to_learn
        frame = train.frame.assign(weight=self._labels(train))
        rated = Interactions(frame, train.items, train.users)
        return super().batches(rated, catalog, batch_size, seed)

    def _labels(self, train):
        names = [self.label] if self.label else LABELS
        found = [name for name in names if name in train.frame]
        labels = train.frame[found[0]].to_numpy() if found else np.zeros(1)
        if labels.dtype.kind not in "buif" or not np.isfinite(labels).all():
            raise ValueError(
                f"column {found[0]!r} must hold a rating for each interaction, numbers"
            )
        if (labels == labels[0]).all():
            missing = (
                f"{found[0]!r} is the same everywhere" if found else f"there is no {names[0]!r}"
            )
            raise ValueError(
                f"matrix_completion foretells ratings, and {missing}: name their column, as in "
                "model: {name: matrix_completion, label: stars}, or take als, which needs none; "
                f"the interactions have {', '.join(train.frame)}"
            )
        return labels.astype(np.float32)

    def parts(self) -> dict:
        given = super().parts()
        return {name: given[name] for name in ("positives", "loss", "predicts")}

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "label": self.label}
