"""Hard negatives, each row its own (METHODS.md N6); `EasyHard` mixes a few with many easy ones."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom0, WholeFrom1
from tf_recall.negatives.base import Batch, Candidates, Sampler, UniformShare
from tf_recall.negatives.frequency import Counts


class HardSampler(Sampler):
    """The base of samplers that draw for each row its own negatives.

    Args:
        num: negatives of a row; inside `EasyHard` its ratio decides instead.

    Raises:
        ValueError: `num` is not positive.
    """

    gives_own = True

    tunable: dict = {"num": [1, 8, "log"]}

    def __init__(self, num: WholeFrom1 = 1, **kwargs):
        super().__init__(**kwargs)
        if num < 1:
            raise ValueError(
                f"{type(self).__name__} must draw at least 1 item a row, not num={num}"
            )
        self.num = num

    def draw(self, batch: Batch, num: int | tf.Tensor | None = None) -> list[Candidates]:
        return self._draw(batch, self.num if num is None else num)

    def max_draws(self, batch: Batch, num: int | tf.Tensor | None = None) -> int | tf.Tensor:
        return self.num if num is None else num

    def num_draws(self, batch: Batch, num: int | tf.Tensor | None = None) -> int | tf.Tensor:
        return self.max_draws(batch, num)

    def get_config(self) -> dict:
        return {**super().get_config(), "num": self.num}


@keras.saving.register_keras_serializable("tf_recall")
class Given(UniformShare, HardSampler):
    """The negatives in the data: rejections, impressions without a click (METHODS.md N6).

    log_q[t] = -log(V)

    They are the column `negatives` of the interactions. No model uses them by default: what was
    shown had already passed every filter of the live system. The probability that the data names an
    item is not known, so all items count as equally likely.

    Args:
        num: the most negatives of a row, the first of its list; a row with fewer keeps what it has.

    Raises:
        ValueError: at the first step, the batch has no negatives.

    Example:
        >>> EasyHard(InBatch(), Given(num=4))

    Paper: Huang et al. 2020, "Embedding-based Retrieval in Facebook Search", section 6.1.
    """

    @property
    def num_given(self) -> int:
        return self.num

    def _draw(self, batch, num):
        if batch.negatives is None:
            raise ValueError(
                "Given needs negatives: give the interactions a column 'negatives' of item ids"
            )
        ids = batch.negatives[:, : self.max_draws(batch, num)]  # [b, H]
        return [Candidates(ids, own_vectors(ids, batch), valid=ids > 0)]

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        return []  # they come with the batch

    def max_draws(self, batch: Batch, num: int | tf.Tensor | None = None) -> int | tf.Tensor:
        if tf.is_tensor(num):
            return tf.minimum(self.num, num)
        return self.num if num is None else min(self.num, num)


@keras.saving.register_keras_serializable("tf_recall")
class RankWindow(Given):
    """Items near the row's item in a graph, not the nearest: a window of ranks (METHODS.md N6).

    negatives of i = `num` of the items at ranks low + 1 ... high, by visits of random walks from i
    log_q[t] = -log(V)

    For models over a graph, whose batches bring these negatives along. The walks run once, before
    training.

    Args:
        num: negatives of a row; inside `EasyHard` its ratio decides instead.
        low, high: the window of ranks: it leaves out the `low` most visited items, and all after
            the first `high`. On a graph of billions of edges the paper uses 2,000 and 5,000.

    Raises:
        ValueError: `low` is below 0, or `high` not above it.

    Example:
        >>> EasyHard(Uniform(500), Curriculum(RankWindow(num=6, low=50, high=200)))

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.3.
    """

    tunable = {**HardSampler.tunable, "low": [10, 100, "log"], "high": [150, 1000, "log"]}

    def __init__(self, num: WholeFrom1 = 1, low: WholeFrom0 = 50, high: WholeFrom1 = 200, **kwargs):
        super().__init__(num, **kwargs)
        if not 0 <= low < high:
            raise ValueError(f"the window must have 0 <= low < high, not low={low} and high={high}")
        self.low = low
        self.high = high

    def get_config(self) -> dict:
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("tf_recall")
class HighestInBatch(HardSampler):
    """The items of the batch that score highest for a row, without its positive (METHODS.md N6).

    log_q[t] = log(share of t among the positives)

    They are chosen, not drawn: log q is that of the batch from which they are chosen. An item that
    is in the batch more than once may be chosen as often. The paper uses no more than two a row.

    Args:
        num: negatives of a row; inside `EasyHard` its ratio decides instead.

    Example:
        >>> EasyHard(InBatch(), HighestInBatch(num=2))

    Paper: Huang et al. 2020, "Embedding-based Retrieval in Facebook Search", section 6.1.
    """

    from_batch = True
    other_rows_only = True

    def __init__(self, num: WholeFrom1 = 1, **kwargs):
        super().__init__(num, **kwargs)
        self.frequency = Counts()

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        self.frequency.adapt(counts)
        self.built = True

    def _draw(self, batch, num):
        items = tf.cast(batch.items, tf.float32)
        scores = tf.matmul(tf.cast(batch.query, tf.float32), items, transpose_b=True)  # [b, B]
        own = batch.local(batch.positives)[:, None] == batch.positives[None]
        scores = tf.where(own, scores.dtype.min, scores)
        best, at = tf.math.top_k(tf.stop_gradient(scores), tf.minimum(num, batch.size))  # [b, H]
        ids = tf.gather(batch.positives, at)  # [b, H]
        return [Candidates(ids, tf.gather(items, at), valid=best > scores.dtype.min)]

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        return []

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return self.frequency.log_q(ids)

    def get_build_config(self) -> dict | None:
        return self.frequency.get_build_config()

    def build_from_config(self, config: dict) -> None:
        self.frequency.build_from_config(config)
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class Curriculum(HardSampler):
    """A hard sampler that starts without negatives and adds some every epoch (METHODS.md N6).

    allowed[epoch] = clip((epoch - wait + 1) * grow, 0, num)

    Hard negatives slow down a model that has learned nothing yet. All `num` are drawn in every
    epoch, so that shapes stay the same, and those not yet allowed are masked.

    Args:
        hard: the hard sampler.
        wait: epochs without hard negatives.
        grow: how many hard negatives every further epoch adds.

    Example:
        >>> EasyHard(InBatch(), Curriculum(SameGroup("city"), wait=1), ratio=100)

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.3.
    """

    tunable = {"wait": [1, 5]}

    def __init__(self, hard: HardSampler, wait: WholeFrom0 = 1, grow: WholeFrom1 = 1, **kwargs):
        super().__init__(hard.num, **kwargs)
        if wait < 0 or grow < 1:
            raise ValueError(f"wait must be at least 0 and grow at least 1, not {wait} and {grow}")
        self.hard = hard
        self.wait = wait
        self.grow = grow

    @property
    def num_given(self) -> int:
        return self.hard.num_given

    @property
    def from_batch(self) -> bool:
        return self.hard.from_batch

    @property
    def other_rows_only(self) -> bool:
        return self.hard.other_rows_only

    @property
    def starts_empty(self) -> bool:
        return self.wait > 0 or self.hard.starts_empty

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        self.hard.adapt(counts, table, dim)
        self.built = True

    def _draw(self, batch, num):
        drawn = []
        for candidates in self.hard.draw(batch, num):
            allowed = tf.range(tf.shape(candidates.ids)[1]) < self._allowed(batch)  # [H]
            valid = candidates.valid
            if valid is None:
                valid = tf.ones_like(candidates.ids, tf.bool)
            drawn.append(candidates._replace(valid=valid & allowed))
        return drawn

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        return self.hard.ahead(step, position)

    def _allowed(self, batch):
        return (tf.cast(batch.epoch, tf.int32) - self.wait + 1) * self.grow

    def max_draws(self, batch: Batch, num: int | tf.Tensor | None = None) -> int | tf.Tensor:
        return self.hard.max_draws(batch, num)

    def num_draws(self, batch: Batch, num: int | tf.Tensor | None = None) -> int | tf.Tensor:
        return tf.clip_by_value(self._allowed(batch), 0, self.hard.num_draws(batch, num))

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return self.hard.log_q(ids, batch)

    def get_config(self) -> dict:
        config = super().get_config()
        del config["num"]
        hard = keras.saving.serialize_keras_object(self.hard)
        return {**config, "hard": hard, "wait": self.wait, "grow": self.grow}

    @classmethod
    def from_config(cls, config: dict) -> "Curriculum":
        return cls(**{**config, "hard": keras.saving.deserialize_keras_object(config["hard"])})


def own_vectors(ids: tf.Tensor, batch: Batch) -> tf.Tensor:
    """Encodes each row's own items: `[b, H]` -> `[b, H, dim]`."""
    vectors = batch.embed(tf.reshape(ids, [-1]))  # [b * H, dim]
    num = tf.shape(ids)[1] if ids.shape[1] is None else ids.shape[1]
    return tf.reshape(vectors, [-1, num, vectors.shape[1]])  # [b, H, dim]
