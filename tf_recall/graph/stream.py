"""Batches of positives with the part of the graph that they need, made while the model trains."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tf_recall.data.stepwise import stepwise
from tf_recall.graph.expand import expand
from tf_recall.graph.neighbors import LeftAlone, Remembered, drawn_of
from tf_recall.graph.replicas import shares_of, stacked

if TYPE_CHECKING:
    import tensorflow as tf

WORKERS = 2  # threads that make batches
PAUSE = 0.0005  # seconds that a thread leaves to the loop which has just taken a batch


class Pairs(Protocol):
    """Batches of pairs of nodes, such as `positives.pairs.Pairs`."""

    batch_size: int
    steps_per_epoch: int

    def at(self, step: int) -> dict:
        """The batch of a step."""


class GraphBatches:
    """Batches of pairs with the nodes around them; a batch is a function of `(seed, step)`.

    Threads make the next batches while the model computes: producers and a consumer
    (METHODS.md M14). Draws are NumPy operations on whole arrays, which hold no lock, so sampling
    and computing overlap.

    The edges between a row's query and its positive are left out of the batch's graph, in both
    directions: a model whose matrices saw them would learn to copy its neighbors.

    Several replicas each get a share of the pairs, and the part of the graph that it needs, cut
    from what one device would get: a node has the same neighbors on all of them.

    Args:
        pairs: has `at(step)`, `batch_size` and `steps_per_epoch`:
            `{"query": {type: [B]}, "item": {"item": [B]}}`.
        layers: `[{relation: neighbors}]`, the first layer first, as `expand` takes them.
        over: `{relation: (type, type of its neighbors)}`.
        ahead: `step -> [item rows]`, the negatives that the sampler will draw.
        negatives: `(the batch, a random generator) -> [B, R]`, hard negatives of each row; None for
            those that the pairs bring, if any.
        seed: same seed, same batches.
        alone: the share of nodes that a step leaves without neighbors, in all layers: such a node
            is one of features alone, as a new one is.
        unknown: the share of nodes, others, that a step shows as row 0 with their neighbors: such a
            node is one of edges alone, as one is that came later.
        num_replicas: how many compute a batch together; above 1 each array gets a first size more,
            of the replicas, `[R, B / R, ...]`.
        without_positives: whether the edges to be predicted are left out.

    Raises:
        ValueError: the batch size is not a multiple of the replicas.

    Example:
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=10)
    """

    def __init__(
        self,
        pairs: Pairs,
        layers: Sequence[dict[str, Callable]],
        over: dict[str, tuple[str, str]],
        ahead: Callable[[int], list[np.ndarray]],
        negatives: Callable[[dict, np.random.Generator], np.ndarray] | None = None,
        seed: int = 0,
        alone: float = 0.0,
        unknown: float = 0.0,
        num_replicas: int = 1,
        without_positives: bool = True,
    ):
        if pairs.batch_size % num_replicas:
            raise ValueError(
                f"the batch size must be a multiple of the number of replicas, {num_replicas}, "
                f"not {pairs.batch_size}"
            )
        self._pairs = pairs
        self._layers = layers
        self._over = over
        self._ahead = ahead
        self._negatives = negatives
        self._alone = alone
        self._unknown = unknown
        self._num_replicas = num_replicas
        self._without_positives = without_positives
        self.seed = seed
        self.batch_size = pairs.batch_size
        self.steps_per_epoch = pairs.steps_per_epoch

    def __len__(self) -> int:
        return self.steps_per_epoch

    def at(self, step: int) -> dict:
        """The batch of one step, as NumPy arrays.

        It is the batch of the pairs with a `"subgraph"`: what `expand` returns, and the step.
        """
        if step < 0:
            raise ValueError(f"step is {step}; the first step is 0.")
        rng = np.random.default_rng([self.seed, step, 2])
        batch = dict(self._pairs.at(step))
        if self._negatives is not None:
            batch["negatives"] = self._negatives(batch, rng)
        shares = shares_of(batch, self._num_replicas)
        ahead = self._ahead(step)
        layers = self._layers_of(step)
        ((query_type, query),) = batch["query"].items()
        own = []
        if self._without_positives:
            own = [((query_type, "item"), query, batch["item"]["item"])]
        if len(shares) > 1:
            layers = [{key: Remembered(near) for key, near in layer.items()} for layer in layers]
            expand(_seeds(batch, ahead), layers, self._over, rng, without=own)  # draws for all
        for share in shares:
            seeds = _seeds(share, ahead)
            share["subgraph"] = expand(seeds, layers, self._over, rng, without=own)
            if self._unknown:
                self._hide(share["subgraph"], seeds, step)
            share["subgraph"]["step"] = np.int64(step)
        return shares[0] if len(shares) == 1 else stacked(shares)

    def _layers_of(self, step):
        """The neighbors of each layer, with those nodes left alone that the step leaves alone."""
        if not self._alone:
            return self._layers
        key = (self.seed, step)
        return [
            {
                relation: LeftAlone(near, self._alone, self._over[relation][0], key)
                for relation, near in layer.items()
            }
            for layer in self._layers
        ]

    def _hide(self, subgraph, seeds, step):
        """Makes row 0 of those seeds that the step shows as unknown.

        The lowest draws are of the nodes left alone (`LeftAlone`), which hear nobody.
        """
        last = subgraph["layers"][str(len(self._layers))]
        for of_type, nodes in seeds.items():
            near = [each for name, each in last.items() if self._over[name][0] == of_type]
            heard = np.any([each["weight"][: len(nodes)].any(axis=1) for each in near], axis=0)
            drawn = drawn_of(nodes, of_type, (self.seed, step))
            hidden = heard & (drawn < self._alone + self._unknown)
            subgraph["rows"][of_type][: len(nodes)][hidden] = 0

    def dataset(self, start: int = 0) -> "tf.data.Dataset":
        """An endless dataset of batches whose first element is the batch of step `start`."""

        def later(step):
            # A thread begins when a batch is taken. At that moment a loop in Python needs Python's
            # lock, to call its step, and would wait until the thread is done.
            time.sleep(PAUSE)
            return self.at(step)

        axis = 1 if self._num_replicas > 1 else 0
        return stepwise(later, start, WORKERS, free=("subgraph",), axis=axis)


def _seeds(batch, ahead):
    """The nodes whose vectors the loss of a batch needs: `{type: rising rows}`."""
    ((query_type, query),) = batch["query"].items()
    wanted = {query_type: [query]}
    wanted.setdefault("item", []).extend([batch["item"]["item"], *ahead])
    if "negatives" in batch:
        wanted["item"].append(batch["negatives"].ravel())
    return {of_type: np.unique(np.concatenate(rows)) for of_type, rows in wanted.items()}
