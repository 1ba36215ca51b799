"""Views of items: their features with some of them, or some of their values, left out at random."""

import zlib

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tf_recall.data.draws import unit
from tf_recall.data.ranges import ShareAbove0
from tf_recall.features.bags import BagOfWords
from tf_recall.features.base import Feature

Codes = dict[str, tf.Tensor]

COUNTED = 20_000  # items of which mutual information is counted, at most
BUCKETS = 16  # of a number


class View(keras.layers.Layer):
    """Leaves out something of the features of N items, twice (METHODS.md M12).

    A feature that is left out has the code of an item of which nothing is known.

    Call: `change(first, second, unknown, seed)`; equal seeds leave out the same.
    """

    @classmethod
    def unfit(cls, features: list[Feature]) -> str | None:
        """Why a tower of these features has no such view; None where it has."""
        if len(features) < 2:
            return f"{cls.__name__} leaves out some of several features"
        return None

    def adapt(self, codes: dict[str, np.ndarray]) -> None:
        """Counts what the view depends on, once.

        Args:
            codes: those of all rows by feature, `[V, *code_shape]`; row 0 is the unknown item.
        """
        self.build_from_config({})

    def build_from_config(self, config: dict) -> None:
        self.built = True

    def get_build_config(self) -> dict | None:
        return {} if self.built else None

    def change(
        self, first: Codes, second: Codes, unknown: Codes, seed: tf.Tensor
    ) -> tuple[Codes, Codes]:
        """The codes of both views, with more left out.

        Args:
            first, second: codes by feature, `[N, *code_shape]`.
            unknown: the code of the unknown item by feature, `[*code_shape]`.
            seed: integers `[2]`.
        """
        raise NotImplementedError


class MaskView(View):
    """The base of views that leave out whole features: `hidden` says which of each item."""

    def hidden(self, num: int, num_features: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Which features of which items each view leaves out: two bool `[N or 1, F]`."""
        raise NotImplementedError

    def change(self, first, second, unknown, seed):
        names = list(first)
        num = first[names[0]].shape[0]
        pair = []
        for codes, hidden in zip((first, second), self.hidden(num, len(names), seed), strict=True):
            pair.append(
                {
                    name: tf.where(_like(hidden[:, at], codes[name]), unknown[name], codes[name])
                    for at, name in enumerate(names)
                }
            )
        return tuple(pair)


@keras.saving.register_keras_serializable("tf_recall")
class RandomMask(MaskView):
    """Leaves out each feature of each item with a probability, in both views (METHODS.md M12).

    At least one feature of an item is kept, the one drawn highest.

    Args:
        rate: the probability, above 0 and below 1.

    Paper: Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations",
        section 3.3.
    """

    tunable = {"rate": [0.1, 0.8]}

    def __init__(self, rate: ShareAbove0 = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)
        _check_rate(rate)
        self.rate = rate

    def hidden(self, num, num_features, seed):
        drawn = unit([2, num, num_features], seed)
        kept = (drawn >= self.rate) | (drawn == tf.reduce_max(drawn, axis=2, keepdims=True))
        return tuple(tf.unstack(~kept))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("tf_recall")
class ValueDropout(View):
    """Leaves out values of features of several values, such as genres or words (METHODS.md M12).

    Each value goes with a probability, in both views; of an item's known values at least one is
    kept, the one drawn highest. Other features stay as they are.

    Args:
        rate: the probability, above 0 and below 1.

    Paper: Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations",
        section 3.3.
    """

    tunable = {"rate": [0.1, 0.8]}

    def __init__(self, rate: ShareAbove0 = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)
        _check_rate(rate)
        self.rate = rate

    @classmethod
    def unfit(cls, features):
        if not any(isinstance(feature, BagOfWords) for feature in features):
            return f"{cls.__name__} leaves out values of MultiValued or Text features"
        return None

    def build_from_config(self, config: dict) -> None:
        self.bags = config["bags"]
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"bags": list(self.bags)} if self.built else None

    def adapt(self, codes):
        whole = {name: of_rows for name, of_rows in codes.items() if _is_bag(of_rows)}
        self.build_from_config({"bags": list(whole)})

    def change(self, first, second, unknown, seed):
        pair = dict(first), dict(second)
        for at, name in enumerate(self.bags):
            num, length = first[name].shape
            drawn = tf.unstack(unit([2, num, length], seed + tf.constant([at, 0], tf.int64)))
            for codes, each in zip(pair, drawn, strict=True):
                each = tf.where(codes[name] > 0, each, -1.0)
                kept = (each >= self.rate) | (each == tf.reduce_max(each, axis=1, keepdims=True))
                codes[name] = tf.where(kept, codes[name], 0)
        return pair

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("tf_recall")
class Complementary(MaskView):
    """Deals the features out to the two views, half each, anew in each step (METHODS.md M12).

    What one view shows the other leaves out, so that no feature tells by itself that both are of
    one item.

    Paper: Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations",
        section 3.3.
    """

    def hidden(self, num, num_features, seed):
        drawn = unit([num_features], seed)
        rank = tf.argsort(tf.argsort(drawn))  # [F]
        half = (rank < num_features // 2)[None]  # [1, F]
        return half, ~half


@keras.saving.register_keras_serializable("tf_recall")
class CorrelatedMask(MaskView):
    """Leaves out features that tell much of one another together (METHODS.md M12).

    group = a feature drawn anew in each step, and the half of the features most tied to it
    tie(f, g) = sum over values a, b of p(a, b) log(p(a, b) / (p(a) p(b))), their mutual information

    The first view leaves out the group, the second all others. Were the features dealt out at
    random, one that follows from another would be in the other view, and the two would be found
    together by it alone. The ties are counted once, in `adapt`, and saved with the model. Each
    value of a feature of several values counts for its share; numbers count by 16 buckets.

    Paper: Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations",
        section 3.3.
    """

    def build_from_config(self, config: dict) -> None:
        size = config["num_features"]
        self.ties = self.add_weight(
            name="ties", shape=(size, size), trainable=False, initializer="zeros", dtype="float32"
        )
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"num_features": self.ties.shape[0]} if self.built else None

    def adapt(self, codes):
        self.build_from_config({"num_features": len(codes)})
        self.ties.assign(mutual_information(list(codes.values())))

    def hidden(self, num, num_features, seed):
        first = tf.cast(unit([], seed) * num_features, tf.int32)  # the feature drawn
        own = tf.one_hot(first, num_features, np.inf, 0.0)  # it comes first among its ties
        rank = tf.argsort(tf.argsort(self.ties.value[first] + own, direction="DESCENDING"))
        group = (rank < group_size(num_features))[None]  # [1, F]
        return group, ~group


def group_size(num_features: int) -> int:
    """How many features a correlated group has: one and half of all, but not all."""
    return min(1 + num_features // 2, num_features - 1)


def mutual_information(codes: list[np.ndarray]) -> np.ndarray:
    """How much each feature tells of each other: float32 `[F, F]`, in nats.

    Args:
        codes: of each feature, `[V, *code_shape]`; row 0, the unknown item, does not count.
    """
    num = len(codes[0]) - 1
    rows = 1 + np.unique(np.linspace(0, num - 1, min(num, COUNTED)).astype(np.int64))
    shares = [_shares(of_rows[rows]) for of_rows in codes]
    return np.array([[_information(one, other) for other in shares] for one in shares], np.float32)


def _information(one, other):
    joint = (one.T @ other).tocoo() / one.shape[0]
    left = np.asarray(one.mean(axis=0)).ravel()[joint.row]
    right = np.asarray(other.mean(axis=0)).ravel()[joint.col]
    return float(np.sum(joint.data * np.log(joint.data / (left * right))))


def _shares(codes):
    """Each item's values as shares of it: `[n, values]` CSR, rows that sum to 1."""
    num = len(codes)
    flat = codes.reshape(num, -1)
    if codes.dtype.kind == "f":  # a value is a number's place and its bucket
        edges = np.quantile(flat, np.linspace(0, 1, BUCKETS + 1)[1:-1], axis=0)
        places = range(flat.shape[1])
        flat = np.stack([np.searchsorted(edges[:, at], flat[:, at]) for at in places], axis=1)
        values = flat + BUCKETS * np.arange(flat.shape[1])
        counts = np.ones_like(values)
    else:
        values = flat
        counts = (flat > 0).astype(np.int64)
        counts[~counts.any(axis=1), 0] = 1  # nothing known is a value too
    line, place = np.nonzero(counts)
    weight = 1 / counts.sum(axis=1)[line]
    _, column = np.unique(values[line, place], return_inverse=True)
    return sparse.csr_matrix((weight, (line, column.ravel())))


def salt_of(view: View, position: int) -> int:
    """A number of its own for each kind of view and its place among several."""
    return zlib.crc32(f"{type(view).__name__} {position}".encode())


def _is_bag(codes):
    return codes.ndim == 2 and codes.dtype.kind == "i"


def _like(mask, codes):
    """A mask `[N]`, with the rank of codes `[N, ...]`."""
    return tf.reshape(mask, [-1] + [1] * (codes.shape.rank - 1))


def _check_rate(rate):
    if not 0 < rate < 1:
        raise ValueError(f"rate must be above 0 and below 1, not {rate!r}")
