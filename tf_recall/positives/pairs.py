"""Pairs of nodes for graph models: of one session, or of one random walk."""

import keras
import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import WholeTo1000
from tf_recall.data.sessions import ByUser, Recipe
from tf_recall.data.stepwise import StepBatches
from tf_recall.features.needs import Needs
from tf_recall.positives.base import Positives
from tf_recall.positives.windows import check_whole


@keras.saving.register_keras_serializable("tf_recall")
class ItemPairs(Positives):
    """Two items of one session, at most `window` positions apart (METHODS.md P2).

    pair = (items[i], items[j]) with 0 < |i - j| <= window

    Each event is the query once an epoch, and j is drawn uniformly anew each epoch. With `window=1`
    the pairs are the edges of the graph of consecutive items, as often as they occur. A pair of an
    item with itself has weight 0.

    Args:
        sessions: the recipe that cuts interactions into sessions; None: `ByUser()`.
        window: how many positions away the other item may be.

    Raises:
        ValueError: an argument out of range; at `batches`, no session has two items that differ.

    Example:
        >>> model = PinSage(items, positives=ItemPairs(ByGap(1800), window=2))

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 4.1.
    """

    query = "item"

    tunable = {"window": [1, 20, "log"]}

    def __init__(self, sessions: Recipe | None = None, window: WholeTo1000 = 1) -> None:
        check_whole(window=window)
        self.sessions = ByUser() if sessions is None else sessions
        self.window = window

    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> StepBatches:
        sessions = self.sessions(train.to_learn, catalog)
        items = sessions.items
        lengths = np.diff(sessions.offsets)
        position = np.arange(len(items)) - np.repeat(sessions.offsets[:-1], lengths)
        left = np.repeat(lengths, lengths) - 1 - position
        before = np.minimum(position, self.window).astype(np.int32)
        behind = np.minimum(left, self.window).astype(np.int32)
        at = np.flatnonzero(before + behind)
        # a session of one item, repeated, has pairs of weight 0 only
        other = (items[1:] != items[:-1]) & (behind[:-1] > 0)
        if not other.any():
            raise ValueError("There is no pair to train on: no session has two items that differ.")

        def draw(part, rng):
            at = part["at"]
            before = part["before"]
            # [B]: first those before, then those behind
            other = rng.integers(0, before + part["behind"])
            other = at + np.where(other < before, other - before, other - before + 1)
            query = items[at]
            item = items[other]
            weight = (query != item).astype(np.float32)
            return {"query": {"item": query}, "item": {"item": item}, "weight": weight}

        columns = {"at": at, "before": before[at], "behind": behind[at]}
        return StepBatches(columns, draw, batch_size, seed)

    def get_config(self) -> dict:
        return {
            "sessions": keras.saving.serialize_keras_object(self.sessions),
            "window": self.window,
        }

    @classmethod
    def from_config(cls, config: dict) -> "ItemPairs":
        return cls(
            **{**config, "sessions": keras.saving.deserialize_keras_object(config["sessions"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class WalkPairs(Positives):
    """A node and an item on a random walk from it, without labels (METHODS.md P4, M13).

    walk = node, a neighbor of it, a neighbor of that, ...
    pair = (node, an item among the first `length` steps of the walk), drawn anew each epoch

    On a graph of users and items every other step is an item. A pair of an item with itself has
    weight 0. Where several relations lead away from a type, walks follow the first.

    Args:
        num_walks: how many walks start at each node with edges in an epoch.
        length: steps of a walk.

    Raises:
        ValueError: an argument out of range; at `batches`, no node has an edge.

    Example:
        >>> model = GraphSAGE(users, items, positives=WalkPairs(num_walks=10, length=5))

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.2
        and appendix C.
    """

    query = None
    walks = True

    tunable = {"num_walks": [5, 40, "log"], "length": [2, 20, "log"]}

    def __init__(self, num_walks: WholeTo1000 = 10, length: WholeTo1000 = 5) -> None:
        check_whole(num_walks=num_walks, length=length)
        self.num_walks = num_walks
        self.length = length

    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> StepBatches:
        graph = needs.graph
        start = needs.query
        along = {relation.of: relation for relation in reversed(graph.relations)}
        starts = np.flatnonzero(along[start].graph.degrees).astype(np.int32)
        if train.learned is not None:
            vocabulary = catalog.side(start).vocabulary
            starts = np.intersect1d(
                starts, vocabulary.encode(train.to_learn.frame[f"{start}_id"])
            ).astype(np.int32)
        if not len(starts):
            raise ValueError(f"There is no pair to train on: no {start} of the graph has an edge.")

        def draw(part, rng):
            node = part["start"]
            of_type = start
            items = []
            for _ in range(self.length):
                relation = along[of_type]
                node = relation.graph.draw(node, 1, rng)[:, 0]
                of_type = relation.near
                if of_type == "item":
                    items.append(node)
            items = np.stack(items, axis=1)  # [B, steps that end at an item]
            item = items[np.arange(len(items)), rng.integers(0, items.shape[1], len(items))]
            weight = (item > 0) & ((item != part["start"]) | (start != "item"))
            return {
                "query": {start: part["start"]},
                "item": {"item": item},
                "weight": weight.astype(np.float32),
            }

        return StepBatches({"start": np.tile(starts, self.num_walks)}, draw, batch_size, seed)

    def get_config(self) -> dict:
        return {"num_walks": self.num_walks, "length": self.length}
