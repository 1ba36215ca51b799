"""Two items near one another on a random walk, as training batches of a center and its contexts."""

import keras
import numpy as np

from tf_recall.graph.csr import Graph
from tf_recall.positives.stream import Block
from tf_recall.positives.windows import Windows, check_whole


@keras.saving.register_keras_serializable("tf_recall")
class Walks(Windows):
    """Two items within a window of one random walk on the graph of what followed what
    (METHODS.md P4, M4).

    M[i, j] = how often item i is directly followed by j in a session
    P(j | i) = M[i, j] / sum over k of M[i, k]
    pairs = (walk[i], walk[j]) with 0 < |i - j| <= window, and walk[i] != walk[j]

    Walks connect items that no session holds together, and each epoch takes other ones: `num_walks`
    from every item that anything followed, in random order. One ends early where nothing followed.
    What is drawn when, and what is left out, are as in `Windows`; `alpha` thins the places of a
    walk by shares among the sessions' events.

    Args:
        sessions: the recipe that cuts interactions into sessions, of `tf_recall.data.sessions`;
            None: `ByUser()`. An item that sessions lead to (`WithConversion`) is not used.
        num_walks: from each item an epoch.
        length: steps of a walk, which then has `length + 1` items.
        window, alpha: see `Windows`.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> model = EGES(tower, positives=Walks(ByGap(3600), num_walks=10, length=10))

    Wang et al., "Billion-scale Commodity Embedding for E-commerce Recommendation in Alibaba", KDD
    2018, section 3.1; Perozzi, Al-Rfou, Skiena, "DeepWalk: Online Learning of Social
    Representations", KDD 2014, section 4.2.
    """

    def __init__(self, sessions=None, num_walks=10, length=10, window=5, alpha=None):
        super().__init__(sessions, window, alpha)
        check_whole(num_walks=num_walks, length=length)
        self.num_walks, self.length = num_walks, length

    def _sequences(self, sessions, num_events):
        graph = Graph.from_sessions(sessions, int(np.max(sessions.items, initial=0)) + 1)
        return lambda rng: walk_blocks(graph, self.num_walks, self.length, num_events, rng)

    def get_config(self):
        return {**super().get_config(), "num_walks": self.num_walks, "length": self.length}


def walk_blocks(graph, num_walks, length, num_events, rng):
    """`num_walks` rounds of a walk from each node that has edges, in random order; some
    `num_events` items a block.
    """
    starts = np.flatnonzero(graph.degrees).astype(np.int32)
    num_starts = max(1, num_events // (length + 1))
    for _ in range(num_walks):
        rng.shuffle(starts)
        for first in range(0, len(starts), num_starts):
            walks = graph.walk(starts[first : first + num_starts], length, rng)
            walked = walks > 0
            offsets = np.concatenate([[0], np.cumsum(walked.sum(axis=1))])
            yield Block(walks[walked], offsets, len(walks) / (num_walks * len(starts)))
