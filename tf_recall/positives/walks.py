"""Two items near one another on a random walk, as batches of centers and their contexts."""

from collections.abc import Iterator

import keras
import numpy as np

from tf_recall.data.ranges import NumberAbove0, WholeTo1000
from tf_recall.data.sessions import Recipe
from tf_recall.graph.csr import Graph
from tf_recall.positives.stream import Block
from tf_recall.positives.windows import Windows, check_whole


@keras.saving.register_keras_serializable("tf_recall")
class Walks(Windows):
    """Two items in a window of one random walk on the graph of consecutive items (METHODS.md P4).

    M[i, j] = how often item i is directly followed by j in a session
    P(j | i) = M[i, j] / sum over k of M[i, k]
    pairs = (walk[i], walk[j]) with 0 < |i - j| <= window, and walk[i] != walk[j]

    Walks connect items that no session holds together. Each epoch draws new walks: `num_walks` from
    every item that another one followed, in random order. A walk ends early where no item followed.
    Draws and omissions are as in `Windows`; `alpha` thins the positions of a walk by the items'
    shares of the sessions' events.

    Args:
        sessions: the recipe that cuts interactions into sessions, of `tf_recall.data.sessions`;
            None: `ByUser()`. An item that sessions lead to (`WithConversion`) is not used.
        num_walks: how many walks start at each item in an epoch.
        length: steps of a walk, which then has `length + 1` items.
        window, alpha: as `Windows`.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> model = EGES(tower, positives=Walks(ByGap(3600), num_walks=10, length=10))

    Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
        Alibaba", sections 2.2 and 2.3.
    Paper: Perozzi et al. 2014, "DeepWalk: Online Learning of Social Representations", section 4.2.
    """

    tunable = {**Windows.tunable, "num_walks": [5, 40, "log"], "length": [5, 40, "log"]}

    def __init__(
        self,
        sessions: Recipe | None = None,
        num_walks: WholeTo1000 = 10,
        length: WholeTo1000 = 10,
        window: WholeTo1000 = 5,
        alpha: NumberAbove0 | None = None,
    ) -> None:
        super().__init__(sessions, window, alpha)
        check_whole(num_walks=num_walks, length=length)
        self.num_walks = num_walks
        self.length = length

    def _sequences(self, sessions, num_events):
        graph = Graph.from_sessions(sessions, int(np.max(sessions.items, initial=0)) + 1)
        return lambda rng: walk_blocks(graph, self.num_walks, self.length, num_events, rng)

    def get_config(self) -> dict:
        return {**super().get_config(), "num_walks": self.num_walks, "length": self.length}


def walk_blocks(
    graph: Graph, num_walks: int, length: int, num_events: int, rng: np.random.Generator
) -> Iterator[Block]:
    """Random walks from each node that has edges, in blocks of about `num_events` items.

    Args:
        graph: what is walked on.
        num_walks: how many rounds, in each of which one walk starts at each node.
        length: steps of a walk.
        num_events: items of a block.
        rng: of the draws, and of the order of the nodes in a round.
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
