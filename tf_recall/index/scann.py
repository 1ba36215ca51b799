"""Approximate search by ScaNN: the fastest index, for servers that have its op."""

import contextlib
import functools
import uuid
import weakref
from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import ShareTo1, WholeFrom1
from tf_recall.data.tracing import traced
from tf_recall.index.base import Index, checked_settings
from tf_recall.index.depths import Ranking, looked_up, surely
from tf_recall.index.recall import DEPTH, Truth

FEW = 20_000  # vectors from which on they are compressed
MANY = 100_000  # and from which on they are partitioned
DEPTHS = 100 * 4 ** np.arange(4)  # up to so many items asked for: 100, ..., 6,400
SPARES = 2 * 4 ** np.arange(7)  # and so many filtered out: 2, 8, ..., 8,192
DEEP_QUERIES = 128  # by which those searches are tuned
LIST_OF_EACH = 2  # which of the searcher's tensors holds the list of each vector


class ScaNN(Index):
    """Scores compressed vectors, of the nearest lists only, and the best candidates exactly.

        V < 20,000:   every score, exactly
        V < 100,000:  every compressed score, the `reorder` best of them exactly
        above:        compressed scores of the `num_probes` nearest lists, the `reorder` best
                      exactly

    Use it where queries per second matter most: a SavedModel with it loads only where its ops are,
    by `from scann.scann_ops.py import scann_ops` or compiled into the server. The searcher is made
    from variables, under a name of its own: without one, two indexes of a process would both answer
    from the first.

    Args:
        num_lists: how many lists; sqrt(V) by default. Below 100,000 vectors there are none.
        num_probes: how many of them a query visits.
        reorder: how many candidates of a search for 100 are scored exactly; for other numbers as
            many more in proportion.
        min_recall: num_probes and reorder, where None, grow from 0.5 % of the lists and 150 until
            this share of the true nearest 100 is found; a warning is logged where it is not. For
            searches that ask for more or exclude items they are tuned by themselves.

    Raises:
        ImportError: when the package scann is not installed.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
        >>> index = ScaNN().build(vectors)          # logs its recall, and keeps it as index.recall
        >>> scores, positions = index.search(vectors[:2], k=100)

    Paper: Guo et al. 2020, "Accelerating Large-Scale Inference with Anisotropic Vector
        Quantization", section 3.
    """

    def __init__(
        self,
        num_lists: WholeFrom1 | None = None,
        num_probes: WholeFrom1 | None = None,
        reorder: WholeFrom1 | None = None,
        min_recall: ShareTo1 = 0.95,
    ):
        super().__init__()
        checked_settings(min_recall, num_lists=num_lists, num_probes=num_probes, reorder=reorder)
        self.num_lists = num_lists
        self.num_probes = num_probes
        self.reorder = reorder
        self.min_recall = min_recall
        _scann_ops()

    def get_config(self) -> dict:
        names = ("num_lists", "num_probes", "reorder", "min_recall")
        return {name: getattr(self, name) for name in names}

    def __str__(self):
        lists = f" in {self.lists:,} lists, {self.probes} visited" if self.lists > 1 else ""
        return f"ScaNN({self.num_items:,} vectors{lists}, {self.rescored} rescored for {DEPTH})"

    def _store(self, vectors, queries):
        partitioned = len(vectors) >= MANY
        self.lists = 1
        if partitioned:
            self.lists = min(self.num_lists or round(len(vectors) ** 0.5), len(vectors))
        self._shared_name = f"tf_recall-{uuid.uuid4()}"
        release_with(self, self._shared_name)
        builder = _scann_ops().builder(vectors, min(DEPTH, len(vectors)), "dot_product")
        if partitioned:
            unit = np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
            sample = min(len(vectors), 100 * self.lists)
            builder = builder.tree(self.lists, 1, training_sample_size=sample, spherical=unit)
        if len(vectors) >= FEW:
            builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(DEPTH)
        else:
            builder = builder.score_brute_force()
        first = builder.build(shared_name=f"{self._shared_name}-first").searcher_handle
        state = _scann_ops().scann_to_tensors(first)
        tf.raw_ops.DestroyResourceOp(resource=first)
        # what a searcher does not use is a scalar that was never set
        state = [tensor if tensor.shape.rank else tf.zeros_like(tensor) for tensor in state]
        self.state = [tf.Variable(tensor, trainable=False, name="scann") for tensor in state]
        lengths = [len(vectors)]
        if partitioned:
            lengths = np.bincount(state[LIST_OF_EACH], minlength=self.lists)
        held = np.cumsum(np.sort(lengths))  # [lists], by any 1, 2, ... lists, at least
        self.held = tf.Variable(held, dtype=tf.int32, trainable=False, name="held")
        truth = Truth(vectors, queries)
        self.probes, self.rescored = self._plain(truth)
        sizes = [len(SPARES) + 1, len(DEPTHS) + 1, 2]
        self.sizes = tf.Variable(tf.zeros(sizes, tf.int32), trainable=False, name="sizes")
        self.sizes.assign(self._deeper(vectors, queries))
        self.recall = truth.measure(self)

    def _plain(self, truth: Truth) -> tuple[int, int]:
        """What a search for up to 100 without exclusions visits and rescores."""

        def found(probes, rescored):
            return self._candidates(truth.queries, tf.constant(truth.depth), probes, rescored)[0]

        search = traced(found)

        def recall(sizes):
            return truth.recall(search(*map(tf.constant, sizes)), truth.depth)

        sizes = self.num_probes or max(1, self.lists // 200), self.reorder or 150
        return self._tuned(recall, sizes, 100 * DEPTH)

    def _deeper(self, vectors, queries):
        """What other searches visit and rescore: `[len(SPARES) + 1, len(DEPTHS) + 1, 2]`."""
        everything = self.num_probes or self.lists, 0 if self.reorder else self.num_items
        table = np.zeros([len(SPARES) + 1, len(DEPTHS) + 1, 2], np.int32)
        table[:] = everything
        table[0, 0] = self.probes, 0
        if self.num_items < FEW or (self.num_probes and self.reorder):
            table[:] = table[0, 0]
            return table
        queries = queries[:DEEP_QUERIES]
        ranking = Ranking(vectors, queries)
        search = traced(lambda *sizes: self._candidates(queries, *sizes)[0])
        for at in np.ndindex(len(SPARES), len(DEPTHS)):
            ranks = ranking.ranks(SPARES, DEPTHS, at)
            if at == (0, 0) or ranks is None:
                continue
            ends = [ranks.start - 1, ranks.stop - 1]
            least = ranking.scores[:, ends] - ranking.rounding[:, None]  # [Q, 2]
            # of the cells before it, those of fewer exclusions and of fewer items
            begin = table[: at[0] + 1, : at[1] + 1].reshape(-1, 2)[:-1].max(0)
            begin = int(begin[0]), max(int(begin[1]), self._in_proportion(ranks.stop))

            def recall(sizes, ranks=ranks, least=least):
                scores = search(*map(tf.constant, (ranks.stop, *sizes))).numpy()
                excluded, found = ((scores >= each[:, None]).sum(1) for each in least.T)
                excluded = np.minimum(excluded, ranks.start)
                return surely(np.clip(found - excluded, 0, len(ranks)) / len(ranks))

            table[at] = self._tuned(recall, begin, self.num_items)
        return table

    def _in_proportion(self, wanted):
        """How many are rescored at the ratio of a plain search."""
        return -(-wanted * self.rescored // DEPTH)

    def _tuned(self, recall, sizes, most: int):
        """Raises lists or `rescored`, whichever helps more, until `min_recall` is reached."""
        limits = (
            0 if self.num_probes else self.lists,
            0 if self.reorder else min(self.num_items, most),
        )
        while recall(sizes) < self.min_recall:
            probes, rescored = (
                min(-(-size * 3 // 2), limit) for size, limit in zip(sizes, limits, strict=True)
            )
            tries = []
            if probes > sizes[0]:
                tries.append((probes, sizes[1]))
            if rescored > sizes[1]:
                tries.append((sizes[0], rescored))
            if not tries:
                break
            sizes = max(tries, key=recall)
        return sizes

    def vectors_at(self, positions: np.ndarray | tf.Tensor) -> tf.Tensor:
        return tf.gather(self.state[-1].value(), tf.maximum(positions, 0))

    def _nearest(self, queries, k, spare):
        wanted = self._wanted(k, spare)
        sizes = looked_up(self.sizes.value(), SPARES, DEPTHS, spare, k)
        probes = tf.maximum(sizes[0], 1 + tf.searchsorted(self.held.value(), wanted[None])[0])
        rescored = self._in_proportion(tf.cast(wanted, tf.int64))  # beyond int32, of many items
        rescored = tf.cast(tf.minimum(rescored, self.num_items), tf.int32)
        rescored = tf.maximum(tf.maximum(rescored, sizes[1]), self.rescored)
        return self._candidates(queries, wanted, tf.minimum(probes, self.lists), rescored)

    def _candidates(self, queries, k, probes, rescored):
        *rest, vectors = [tensor.value() for tensor in self.state]
        searcher = _scann_ops().tensors_to_scann(vectors, *rest, shared_name=self._shared_name)
        found = _scann_ops().scann_search_batched(searcher, queries, k, rescored, probes, True)
        return tf.where(tf.math.is_nan(found.distances), -np.inf, found.distances), found.indices


def release_with(owner: Any, shared_name: str) -> None:
    """Frees the searcher of this name once `owner` is gone.

    TensorFlow keeps what has a name until the process ends: here the compressed vectors and a
    thread.

    Args:
        owner: whose graphs search with it, and nobody else's.
        shared_name: as `tensors_to_scann` was given it.
    """
    weakref.finalize(owner, _release, shared_name).atexit = False


def _release(shared_name):
    with tf.init_scope(), tf.device("cpu"), contextlib.suppress(tf.errors.OpError):
        # one that is there is found by its name; else one is made, and must be of something
        vectors, *rest = _smallest()
        handle = _scann_ops().tensors_to_scann(vectors, *rest, shared_name=shared_name)
        tf.raw_ops.DestroyResourceOp(resource=handle)


@functools.cache
def _smallest():
    """What a searcher over one vector is made of."""
    builder = _scann_ops().builder(np.ones([1, 1], np.float32), 1, "dot_product")
    searcher = builder.score_brute_force().build().searcher_handle
    *rest, vectors = _scann_ops().scann_to_tensors(searcher)
    tf.raw_ops.DestroyResourceOp(resource=searcher)
    return vectors, *(each if each.shape.rank else tf.zeros_like(each) for each in rest)


def _scann_ops():
    try:
        from scann.scann_ops.py import scann_ops
    except ImportError as error:
        raise ImportError(
            "ScaNN is not installed, or not for this machine: pip install 'tf_recall[scann]' "
            "(Linux), or take IVF"
        ) from error
    return scann_ops
