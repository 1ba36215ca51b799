"""Implicit ALS: users and items solved in turn by weighted least squares over all pairs."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import keras
import numpy as np
from scipy import sparse

from tf_recall.data.arguments import shown
from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes
from tf_recall.data.ranges import Column, NumberAbove0, NumberFrom0, WholeFrom1
from tf_recall.losses import SquaredError
from tf_recall.negatives import WholeCatalog
from tf_recall.positives import UserItem
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.least_squares import half_sweep, penalty_of, squares
from tf_recall.towers.fold_in import FoldInTower, VectorTower, Weighing

if TYPE_CHECKING:
    from tf_recall.config import Train

STEPS = {"item": (3, 0.0), "user": (6, 1e-5)}  # of a solver, and where it ends earlier
SPREAD = 0.1  # length of the vectors that a training begins with


@keras.saving.register_keras_serializable("tf_recall")
class ALS(Retriever):
    """Matrix factorization of all pairs of users and items by alternating least squares (M7).

    METHODS.md M7:

        loss = sum over the pairs seen of c(u, i) (1 - x_u . y_i)^2
               + alpha_0 * sum over all pairs of (x_u . y_i)^2
               + sum over u of penalty(u) |x_u|^2 + sum over i of penalty(i) |y_i|^2
        c(u, i) = 1 + alpha * r(u, i)
        penalty(u) = regularization * (|I_u| + alpha_0 |I|) ** nu,  and the same of items

    r is the sum of the pair's weights, or the number of its interactions. With the vectors of one
    side held fixed, those of the other are each the solution of a system of `dim` equations. A
    sweep solves all items, then all users: it is an epoch of training. Nothing is drawn, and all
    pairs count, though only those seen are looked at. What gradients need has no meaning here:
    `train.optimizer` and the like are refused, and `batch_size` changes nothing.

    A new user is solved from the request's history, in the export too. Similar items are what would
    be recommended to a user with that item alone.

    Positives: a user and each item interacted with, once (P1).
    Negatives: all pairs, at the weight `alpha_0`.
    Towers: a vector for each user and each item, of any length; users also by fold-in.
    Loss: squared error (L10), weighted.

    Args:
        dim: length of the vectors.
        alpha: how much more a pair counts, the larger its r; 0: all pairs alike.
        alpha_0: the weight of all pairs, seen or not, whose score should be 0; None: such that
            together they weigh 40 times what those seen do, and none more than one that is.
        regularization: how strongly long vectors are held down; None: such that what pairs thrown
            at random would explain is held down, as `Weighing.fitted` says.
        nu: how much more strongly those of active users and of popular items, from 0, all alike.
        weight: the column of how much an interaction counts in r; without a column `weight`, 1.

    Raises:
        ValueError: an argument is out of its range; from `train`, as `Likes.fit`, or settings that
            need gradients.

    Example:
        >>> model = ALS(dim=64).adapt(split.train, catalog)
        >>> model.compile()
        >>> history = model.train(split.train, catalog, Train(epochs=3))
        >>> service = Service.build(model, catalog)

    Paper: Hu et al. 2008, "Collaborative Filtering for Implicit Feedback Datasets", section 4.
    Paper: Rendle et al. 2021, "Revisiting the Performance of iALS on Item Recommendation
        Benchmarks", section 3.
    Departs from the paper: systems are solved by a few steps of conjugate gradients from the last
        sweep's vectors, on axes on which what they have in common is diagonal.
    """

    towers: dict = {}
    by_gradients = False

    tunable = {
        "dim": [32, 256, "log"],
        "alpha_0": [0.003, 3.0, "log"],
        "regularization": [1e-5, 0.1, "log"],
        "nu": [0.0, 1.0],
    }

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        alpha: NumberFrom0 = 0.0,
        alpha_0: NumberAbove0 | None = None,
        regularization: NumberAbove0 | None = None,
        nu: NumberFrom0 = 1.0,
        weight: Column = "weight",
        **kwargs,
    ) -> None:
        items = VectorTower("item", dim, Weighing(alpha, alpha_0, regularization, nu))
        parts = UserItem(), WholeCatalog(), FoldInTower(items), items, SquaredError()
        super().__init__(*parts, **kwargs)
        self.dim = dim
        self.weight = weight

    def adapt(self, train: Interactions, catalog: Catalog) -> Self:
        super().adapt(train, catalog)
        self.item_tower.weighing = self.weighing.fitted(*self._sizes(train, catalog))
        for tower in (self.query_tower, self.item_tower):
            known = catalog.side(tower.entity).vocabulary.counts > 0
            known[0] = False
            spread = SPREAD / np.sqrt(self.dim)
            drawn = np.asarray(keras.random.normal(tower.vectors.shape, stddev=spread))
            tower.vectors.assign(drawn * known[:, None])
        return self

    def compile(self, optimizer=None, *args, **kwargs) -> None:
        """As `Retriever.compile`; it takes no optimizer."""
        if optimizer is not None:
            raise ValueError(
                f"optimizer={type(optimizer).__name__} does not go with ALS, which is solved in "
                "sweeps, without gradients: leave it out"
            )
        super().compile(self.default_optimizer(), *args, **kwargs)

    def compile_from_config(self, config):
        self.compile()

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """One that Keras asks for and nothing uses."""
        return keras.optimizers.SGD()

    def fit(self, *args, **kwargs) -> keras.callbacks.History:
        raise ValueError(
            "an ALS is not fitted to batches: model.train(train, catalog, Train(epochs=10))"
        )

    def batches(self, train, catalog, batch_size=1024, seed=0):
        raise ValueError(
            "an ALS learns from no batches: model.train(train, catalog, Train(epochs=10))"
        )

    def check_settings(self, settings: "Train") -> None:
        for name in ("optimizer", "jit_compile", "precision", "strategy"):
            value = getattr(settings, name)
            if value != getattr(type(settings), name):
                raise ValueError(
                    f"train.{name} is {shown(value)}, and als is solved in sweeps, without "
                    f"gradients, on one device: leave train.{name} out"
                )

    def train(
        self,
        train: Interactions,
        catalog: Catalog,
        settings: "Train",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        initial_epoch: int = 0,
    ) -> keras.callbacks.History:
        """As `Retriever.train`, by sweeps: an epoch is one, of two steps, items and then users.

        The loss is the objective, divided by the number of pairs seen.
        """
        self._check_adapted()
        self.check_settings(settings)
        check_same(f"this {type(self).__name__}", self.item_tower.identity, catalog.identity)
        by_user = Likes.fit(train, catalog, weight=self.weight).matrix
        sides = [
            (self.item_tower, self.query_tower, by_user.T.tocsr()),
            (self.query_tower, self.item_tower, by_user),
        ]
        followed = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            add_progbar=True,
            model=self,
            verbose=1 if sys.stderr.isatty() else 2,
            epochs=settings.most_epochs(),
            steps=len(sides),
        )
        self.stop_training, logs = False, None
        followed.on_train_begin()
        for epoch in range(initial_epoch, settings.most_epochs()):
            self.epoch.assign(self.first_epoch + epoch)
            followed.on_epoch_begin(epoch)
            for number, side in enumerate(sides):
                followed.on_train_batch_begin(number)
                logs = {"loss": self._half_sweep(*side) / by_user.nnz}
                followed.on_train_batch_end(number, logs)
            self._note_everybody(by_user)
            followed.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        followed.on_train_end(logs)
        return self.history

    def _sizes(self, train, catalog):
        """How many users and items have pairs, how many pairs there are, and the mean of r."""
        pairs = catalog.seen.rows
        total = train.frame[self.weight].sum() if self.weight in train.frame else len(train)
        known = (np.count_nonzero(side.counts[1:]) for side in (catalog.users, catalog.items))
        return *known, len(pairs), float(total) / len(pairs)

    def _half_sweep(self, tower, other, pairs: sparse.csr_matrix) -> float:
        """Solves one side, and returns the objective."""
        others = other.vectors.numpy()
        start = tower.vectors.numpy()
        solved = half_sweep(pairs, others, start, self.weighing, *STEPS[tower.entity])
        tower.vectors.assign(solved.vectors)
        if tower is self.item_tower:
            tower.square.assign(squares(solved.vectors))
        counts = np.bincount(pairs.indices, minlength=pairs.shape[1])
        self.step.assign_add(1)
        return solved.loss + penalty_of(others, counts, pairs.shape[0] - 1, self.weighing)

    def _note_everybody(self, pairs):
        """Solves for a user who has each item by the share of users who have it."""
        num_users = np.count_nonzero(np.diff(pairs.indptr))
        share = np.bincount(pairs.indices, minlength=pairs.shape[1]) / num_users
        weight = ((1 + self.weighing.alpha) * share).astype(np.float32)[:, None]
        items = self.item_tower.vectors.numpy()
        solved = self.item_tower.solved(
            (items.T @ (weight * items))[None], (weight * items).sum(axis=0)[None], [share.sum()]
        )
        self.query_tower.everybody.assign(solved[0])

    def parts(self) -> dict:
        return {}  # all of its own making

    def get_config(self) -> dict:
        own = {**vars(self.weighing), "dim": self.dim, "weight": self.weight}
        return {**super().get_config(), **own}

    @property
    def weighing(self) -> Weighing:
        """What pairs and vectors cost; complete once the model is adapted."""
        return self.item_tower.weighing

    @property
    def alpha(self) -> float:
        return self.weighing.alpha

    @property
    def alpha_0(self) -> float | None:
        return self.weighing.alpha_0

    @property
    def regularization(self) -> float | None:
        return self.weighing.regularization

    @property
    def nu(self) -> float:
        return self.weighing.nu
