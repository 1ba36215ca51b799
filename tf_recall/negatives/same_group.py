"""Hard negatives that share an attribute with the positive."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import sparse

from tf_recall.data.draws import unit
from tf_recall.data.ranges import Column, Seed, WholeFrom1
from tf_recall.features.bags import WHOLE, values_of
from tf_recall.negatives.base import Batch, Candidates
from tf_recall.negatives.frequency import check_counts
from tf_recall.negatives.hard import HardSampler, own_vectors


@keras.saving.register_keras_serializable("tf_recall")
class SameGroup(HardSampler):
    """Items that share an attribute with the positive: its city or category (METHODS.md N6).

    log_q[t] = log sum_{g of t} P(g) / size[g],  P(g) the probability that a positive picks group g

    A positive of several groups picks one of them uniformly, and one of its items uniformly. log q
    is the share of t in the draws of *all* rows. With it, over all queries, every item has the
    weight that it has in the full softmax; within a row the positive's group has more, which is
    what hard negatives are for. Items without a value are one group.

    Args:
        column: a column of the items' side table: a value, or a list of values.
        num: negatives of a row; inside `EasyHard` its ratio decides instead.
        separator: what separates several values in a text, such as "|".
        seed: same seed and step, same draws.

    Raises:
        ValueError: at `adapt`, the side table does not have the column, or each item has a value of
            its own there.

    Example:
        >>> EasyHard(InBatch(), SameGroup("genres", separator="|"))

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking
        at Airbnb", section 3.1.
    """

    def __init__(
        self,
        column: Column,
        num: WholeFrom1 = 1,
        separator: str | None = None,
        seed: Seed = 0,
        **kwargs,
    ):
        super().__init__(num, **kwargs)
        self.column = column
        self.separator = separator
        self.seed = seed

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        counts = np.maximum(check_counts(counts), 1)
        if table is None or self.column not in table:
            known = [] if table is None else list(table)
            raise ValueError(
                f"SameGroup needs column {self.column!r} of the items; there are {known}"
            )
        lines, values = values_of(table[self.column], self.separator or WHOLE)
        without = np.setdiff1d(np.arange(len(table)), lines)
        items = 1 + np.concatenate([lines, without])
        groups = np.zeros(len(items), np.int64)  # group 0: items without a value
        groups[: len(lines)] = 1 + pd.factorize(values)[0]
        member = sparse.csr_array(
            (np.ones(len(items)), (items, groups)), shape=(len(counts), groups.max() + 1)
        )
        member.data[:] = 1  # a value twice counts once
        degree = member.sum(1)  # [V]
        size = member.sum(0)  # [G]
        if len(size) and size.max() < 2:
            raise ValueError(
                f"SameGroup has no negatives: no two items share a value of {self.column!r}"
            )
        share = counts / counts[1:].sum()
        picked = member.T @ (share / np.maximum(degree, 1))  # [G], P(g)
        mass = member @ (picked / np.maximum(size, 1))  # [V]
        mass[0] = mass[1:].min()  # row 0 is never drawn; its log q is that of the rarest item

        by_group = member.T.tocsr()
        if not self.built:
            self.build_from_config(
                {"num_rows": len(counts), "num_groups": len(size), "num_pairs": member.nnz}
            )
        self.group_offsets.assign(member.indptr)
        self.groups.assign(member.indices)
        self.item_offsets.assign(by_group.indptr)
        self.items.assign(by_group.indices)
        self.log_probability.assign(np.log(mass))

    def _draw(self, batch, num):
        shape = [batch.size, num]
        u = unit([2, *shape], self.at(batch.step, batch.position))
        group = self._one_of(self.group_offsets, self.groups, batch.positives[:, None], u[0])
        ids = self._one_of(self.item_offsets, self.items, group, u[1])
        ids = batch.local(ids)  # [b, H]
        return [Candidates(ids, own_vectors(ids, batch))]

    @staticmethod
    def _one_of(offsets, values, at, u):
        """A uniform one of `values[offsets[at] : offsets[at + 1]]`, chosen by `u` in [0, 1)."""
        first = tf.gather(offsets.value, at)
        size = tf.gather(offsets.value, at + 1) - first
        return tf.gather(values.value, first + tf.cast(u * tf.cast(size, tf.float64), tf.int32))

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return tf.gather(self.log_probability.value, ids)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "column": self.column,
            "separator": self.separator,
            "seed": self.seed,
        }

    def get_build_config(self) -> dict | None:
        return self._sizes if self.built else None

    def build_from_config(self, config: dict) -> None:
        self._sizes = dict(config)
        rows = config["num_rows"]
        groups = config["num_groups"]
        pairs = config["num_pairs"]
        frozen = {"trainable": False, "autocast": False, "initializer": "zeros", "dtype": "int32"}
        self.group_offsets = self.add_weight(name="group_offsets", shape=(rows + 1,), **frozen)
        self.groups = self.add_weight(name="groups", shape=(pairs,), **frozen)
        self.item_offsets = self.add_weight(name="item_offsets", shape=(groups + 1,), **frozen)
        self.items = self.add_weight(name="items", shape=(pairs,), **frozen)
        self.log_probability = self.add_weight(
            name="log_probability", shape=(rows,), **{**frozen, "dtype": "float32"}
        )
        self.built = True
