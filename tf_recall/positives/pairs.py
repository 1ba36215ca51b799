"""Pairs of nodes for the models of graphs: of one session, or of one random walk."""

import keras
import numpy as np

from tf_recall.data.sessions import ByUser
from tf_recall.data.stepwise import StepBatches
from tf_recall.positives.base import Positives
from tf_recall.positives.windows import check_whole


@keras.saving.register_keras_serializable("tf_recall")
class ItemPairs(Positives):
    """Two items of one session, at most `window` places apart (METHODS.md P2), each event once an
    epoch as the query.

    pair = (items[i], items[j]) with 0 < |i - j| <= window, j drawn uniformly anew each epoch

    With `window=1` they are the edges of the graph of what follows what, as often as they occur. A
    pair of an item with itself has weight 0.

    Args:
        sessions: the recipe that cuts interactions into sessions; None: `ByUser()`.
        window: how many places away the other item may be.

    Raises:
        ValueError: an argument out of range; at `batches`, no session has two items.

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018,
    section 4.1: items taken one after the other.
    """

    query = "item"

    def __init__(self, sessions=None, window=1):
        check_whole(window=window)
        self.sessions, self.window = ByUser() if sessions is None else sessions, window

    def batches(self, train, catalog, needs, batch_size, seed=0):
        sessions = self.sessions(train, catalog)
        items, lengths = sessions.items, np.diff(sessions.offsets)
        place = np.arange(len(items)) - np.repeat(sessions.offsets[:-1], lengths)
        before = np.minimum(place, self.window).astype(np.int32)
        behind = np.minimum(np.repeat(lengths, lengths) - 1 - place, self.window).astype(np.int32)
        at = np.flatnonzero(before + behind)
        if not len(at):
            raise ValueError("There is no pair to train on: no session has two items.")

        def draw(part, rng):
            at, before = part["at"], part["before"]
            other = rng.integers(
                0, before + part["behind"]
            )  # [B]: first those before, then those behind
            other = at + np.where(other < before, other - before, other - before + 1)
            query, item = items[at], items[other]
            weight = (query != item).astype(np.float32)
            return {"query": {"item": query}, "item": {"item": item}, "weight": weight}

        return StepBatches(
            {"at": at, "before": before[at], "behind": behind[at]}, draw, batch_size, seed
        )

    def get_config(self):
        return {
            "sessions": keras.saving.serialize_keras_object(self.sessions),
            "window": self.window,
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{**config, "sessions": keras.saving.deserialize_keras_object(config["sessions"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class WalkPairs(Positives):
    """A node and an item on a random walk from it: what GraphSAGE learns from without labels
    (METHODS.md M13, P4).

    walk = node, a neighbor of it, a neighbor of that, ...
    pair = (node, an item among the first `length` steps of the walk), drawn anew each epoch

    On a graph of users and items every other step is an item. A pair of an item with itself has
    weight 0.

    Args:
        num_walks: from each node with edges an epoch.
        length: steps of a walk.

    Raises:
        ValueError: an argument out of range.

    Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", NIPS 2017,
    section 3.2 and appendix C.
    """

    query = None
    walks = True

    def __init__(self, num_walks=10, length=5):
        check_whole(num_walks=num_walks, length=length)
        self.num_walks, self.length = num_walks, length

    def batches(self, train, catalog, needs, batch_size, seed=0):
        graph, start = needs.graph, needs.query
        starts = np.flatnonzero(graph.over(start)[1].degrees).astype(np.int32)

        def draw(part, rng):
            node, of_type, items = part["start"], start, []
            for _ in range(self.length):
                of_type, edges = graph.over(of_type)
                node = edges.draw(node, 1, rng)[:, 0]
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

    def get_config(self):
        return {"num_walks": self.num_walks, "length": self.length}
