"""A loss of cosines: the positive near 1, negatives below a margin."""

from numbers import Real
from typing import Annotated

import keras
import tensorflow as tf
from annotated_types import Ge, Lt

from tf_recall.data.ranges import NumberAbove0
from tf_recall.losses.base import ScoreLoss, check, mean

Cosine = Annotated[float, Ge(-1), Lt(1)]  # that leaves room above
SHARE, MOST = 1 / 3, 25.0  # by measurement, of real sets and of planted worlds


@keras.saving.register_keras_serializable("tf_recall")
class CosineContrastive(ScoreLoss):
    """The positive's cosine should be 1, and a negative's at most a margin (METHODS.md L11).

    loss[i] = 1 - s[i, +] + weight * mean_j max(0, s[i, j] - margin)

    Scores are cosines, so both towers must give vectors of length 1. Negatives below the margin
    count nothing: of many easy ones the few hard ones decide. It takes hundreds of negatives or
    more, drawn uniformly.

    Of items drawn uniformly a query's own positives come too, each by 1 / V. A pair ends above the
    margin where the share of the query's positives that it makes up is more than `weight / V`. So a
    weight of V over a query's positives leaves all pairs at the margin, one near it learns the
    observed pairs by heart, and a small one takes nearly every item for a positive.

    Args:
        margin: the cosine up to which a negative costs nothing, from -1 to below 1.
        weight: how much the mean over the negatives counts, above 0. None: by the data that a model
            adapts to, from the number of items over the mean number of a query's positives: a third
            of it, from 1 to 25.

    Raises:
        ValueError: a margin or a weight out of its range; a model whose vectors are not of length
            1.

    Example:
        >>> TwoTower(users, items, negatives=Uniform(num=1000), loss=CosineContrastive(margin=0.4))

    Paper: Mao et al. 2021, "SimpleX: A Simple and Strong Baseline for Collaborative Filtering",
        section 3.2.
    """

    unit_length = True
    scale_free = True
    tunable = {"margin": [0.0, 0.9], "weight": [1.0, 300.0, "log"]}

    def __init__(self, margin: Cosine = 0.4, weight: NumberAbove0 | None = None) -> None:
        super().__init__()
        if not (isinstance(margin, Real) and -1 <= margin < 1):
            raise ValueError(f"margin is a cosine from -1 to below 1, not {margin!r}")
        if weight is not None:
            check("weight", weight)
        self.margin = margin
        self.weight = weight

    def fitted(self, unit_length, num_items, positives):
        if self.weight is not None:
            return self
        weight = SHARE * num_items / positives
        return CosineContrastive(self.margin, min(max(weight, 1.0), MOST))

    def rows(self, positive, negatives, mask):
        if self.weight is None:
            raise ValueError(
                "weight=None is taken from the data when a model adapts: give a number"
            )
        above = tf.nn.relu(tf.where(mask, negatives, self.margin) - self.margin)  # [B, N]
        return 1 - positive + self.weight * mean(above, mask)

    def get_config(self) -> dict:
        return {"margin": self.margin, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict) -> "CosineContrastive":
        return cls(**config)
