"""Hard negatives: near misses, each row its own: METHODS.md N6. `EasyHard` puts a few among many
easy ones.
"""

import keras
import tensorflow as tf

from tf_recall.negatives.base import Candidates, Sampler, UniformShare
from tf_recall.negatives.frequency import Counts


class HardSampler(Sampler):
    """A sampler of each row's own negatives.

    Args:
        num: negatives of a row; inside `EasyHard` its ratio decides instead.

    Raises:
        ValueError: `num` is not positive.
    """

    gives_own = True

    def __init__(self, num=1, **kwargs):
        super().__init__(**kwargs)
        if num < 1:
            raise ValueError(
                f"{type(self).__name__} must draw at least 1 item a row, not num={num}"
            )
        self.num = num

    def draw(self, batch, num=None):
        return self._draw(batch, self.num if num is None else num)

    def max_draws(self, batch, num=None):
        return self.num if num is None else num

    def num_draws(self, batch, num=None):
        return self.max_draws(batch, num)

    def get_config(self):
        return {**super().get_config(), "num": self.num}


@keras.saving.register_keras_serializable("tf_recall")
class Given(UniformShare, HardSampler):
    """The negatives that the data names for a row: rejections, items that ranking eliminated,
    impressions not clicked.

    log_q[t] = -log(V)

    They are the column `negatives` of the interactions, and off by default: what was shown had
    already passed every filter of the live system. Nobody knows how likely a row is to name an
    item, so any is as likely as another.

    Args: `num`, negatives of a row at most, the first ones of its list. A row that names fewer has
        fewer.

    Raises:
        ValueError: at the first step, the batch names no negatives.

    Huang et al., "Embedding-based Retrieval in Facebook Search", KDD 2020, section 6.1.
    """

    @property
    def num_given(self):
        return self.num

    def _draw(self, batch, num):
        if batch.negatives is None:
            raise ValueError(
                "Given asks for negatives: give the interactions a column 'negatives' of item ids"
            )
        ids = batch.negatives[:, : self.max_draws(batch, num)]  # [b, H]
        return [Candidates(ids, own_vectors(ids, batch), valid=ids > 0)]

    def ahead(self, step, place=()):
        return []  # they come with the batch

    def max_draws(self, batch, num=None):
        if tf.is_tensor(num):
            return tf.minimum(self.num, num)
        return self.num if num is None else min(self.num, num)


@keras.saving.register_keras_serializable("tf_recall")
class RankWindow(Given):
    """Items that random walks from the row's item visit, but not most often: near, and not what is
    meant.

    negatives of i = `num` of those at the ranks `low + 1 ... high` of the items by visits of random
    walks from i log_q[t] = -log(V)

    For the models of graphs, whose batches bring them along: the walks are taken once, before
    training.

    Args:
        num: negatives of a row; inside `EasyHard` its ratio decides instead.
        low, high: the window: the `low` most visited are left out, as well as what comes after the
            first `high`. On a graph of billions of edges the paper takes 2,000 and 5,000.

    Raises:
        ValueError: `low` is below 0, or `high` not above it.

    Example:
        >>> EasyHard(Uniform(500), Curriculum(RankWindow(num=6, low=50, high=200)))

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018,
    section 3.3.
    """

    def __init__(self, num=1, low=50, high=200, **kwargs):
        super().__init__(num, **kwargs)
        if not 0 <= low < high:
            raise ValueError(f"the window must have 0 <= low < high, not low={low} and high={high}")
        self.low, self.high = low, high

    def get_config(self):
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("tf_recall")
class HighestInBatch(HardSampler):
    """The batch's items that score highest for a row, its own positive left out.

    log_q[t] = log(the share of t among the positives)

    They are chosen, not drawn: the price is that of the batch from which they are chosen. Of an
    item that is in the batch more than once, each copy may be chosen.

    Args: `num`, negatives of a row; inside `EasyHard` its ratio decides instead.

    Huang et al., "Embedding-based Retrieval in Facebook Search", KDD 2020, section 6.1: no more
    than two a row.
    """

    from_batch = True

    def __init__(self, num=1, **kwargs):
        super().__init__(num, **kwargs)
        self.frequency = Counts()

    def adapt(self, counts, table=None, dim=None):
        self.frequency.adapt(counts)
        self.built = True

    def _draw(self, batch, num):
        items = tf.cast(batch.items, tf.float32)
        scores = tf.matmul(tf.cast(batch.query, tf.float32), items, transpose_b=True)  # [b, B]
        own = batch.local(batch.positives)[:, None] == batch.positives[None]
        scores = tf.where(own, scores.dtype.min, scores)
        best, at = tf.math.top_k(tf.stop_gradient(scores), tf.minimum(num, batch.size))  # [b, H]
        return [
            Candidates(
                tf.gather(batch.positives, at), tf.gather(items, at), valid=best > scores.dtype.min
            )
        ]

    def ahead(self, step, place=()):
        return []

    def log_q(self, ids, batch=None):
        return self.frequency.log_q(ids)

    def get_build_config(self):
        return self.frequency.get_build_config()

    def build_from_config(self, config):
        self.frequency.build_from_config(config)
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class Curriculum(HardSampler):
    """A hard sampler whose negatives are let in epoch by epoch: none at first, `grow` more each
    epoch after.

    allowed[epoch] = clip((epoch - wait + 1) * grow, 0, num)

    Hard negatives slow down a model that has learned nothing yet. The rest is drawn as well, so
    that shapes stay, and masked.

    Args:
        hard: the hard sampler.
        wait: epochs without any.
        grow: how many more each epoch lets in.

    Example:
        >>> EasyHard(InBatch(), Curriculum(SameGroup("city"), wait=1), ratio=100)

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018,
    section 3.3.
    """

    def __init__(self, hard, wait=1, grow=1, **kwargs):
        super().__init__(hard.num, **kwargs)
        if wait < 0 or grow < 1:
            raise ValueError(f"wait must be at least 0 and grow at least 1, not {wait} and {grow}")
        self.hard, self.wait, self.grow = hard, wait, grow

    @property
    def num_given(self):
        return self.hard.num_given

    @property
    def from_batch(self):
        return self.hard.from_batch

    def adapt(self, counts, table=None, dim=None):
        self.hard.adapt(counts, table, dim)
        self.built = True

    def _draw(self, batch, num):
        drawn = []
        for candidates in self.hard.draw(batch, num):
            allowed = tf.range(tf.shape(candidates.ids)[1]) < self._allowed(batch)  # [H]
            valid = (
                tf.ones_like(candidates.ids, tf.bool)
                if candidates.valid is None
                else candidates.valid
            )
            drawn.append(candidates._replace(valid=valid & allowed))
        return drawn

    def ahead(self, step, place=()):
        return self.hard.ahead(step, place)

    def _allowed(self, batch):
        return (tf.cast(batch.epoch, tf.int32) - self.wait + 1) * self.grow

    def max_draws(self, batch, num=None):
        return self.hard.max_draws(batch, num)

    def num_draws(self, batch, num=None):
        return tf.clip_by_value(self._allowed(batch), 0, self.hard.num_draws(batch, num))

    def log_q(self, ids, batch=None):
        return self.hard.log_q(ids, batch)

    def get_config(self):
        config = super().get_config()
        del config["num"]
        hard = keras.saving.serialize_keras_object(self.hard)
        return {**config, "hard": hard, "wait": self.wait, "grow": self.grow}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "hard": keras.saving.deserialize_keras_object(config["hard"])})


def own_vectors(ids, batch):
    """The vectors `[b, H, dim]` of `ids` `[b, H]`."""
    vectors = batch.embed(tf.reshape(ids, [-1]))  # [b * H, dim]
    num = tf.shape(ids)[1] if ids.shape[1] is None else ids.shape[1]
    return tf.reshape(vectors, [-1, num, vectors.shape[1]])
