"""GraphSAGE over items alone: the graph of consecutive items in sessions, and item features."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Share, WholeFrom1
from tf_recall.data.sessions import ByUser, Recipe
from tf_recall.features import Id
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import TypedGraph
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.models.graph_sage import GraphSAGE
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import ItemPairs, Positives
from tf_recall.retrievers.graph import GraphRetriever, uniform_neighbors
from tf_recall.towers.aggregators import Aggregator, Mean
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.graph import GraphEncoder, residual, sage_layers


@keras.saving.register_keras_serializable("tf_recall")
class GraphSAGEI2I(GraphRetriever):
    """Convolutions over the graph of items that follow one another in sessions (METHODS.md M13).

    Items are queries and candidates alike. A user is the mean of the items they interacted with, in
    the training part or in the request's `history`.

    Positives: two items next to one another in a session (P2), supervised; or `WalkPairs()` (P4),
        without labels.
    Negatives: the other rows' items (N4); their sampling probability is their share of the
        positives.
    Towers: features, to which for each fan-out a convolution over a few neighbors adds, to unit
        length.
    Loss: softmax over the negatives (L7) with temperature and log q.

    Args:
        item_tower: a `FeatureTower("item", ...)`; by default one of ids.
        sessions: the recipe that cuts interactions into sessions, of which the graph is made;
            `ByUser()` by default.
        dim, fan_outs, aggregator, negatives, loss, self_supervision, neighbor_dropout,
            own_dropout: as `GraphSAGE`.
        positives: `ItemPairs(sessions)` by default.
        history_length: how many of a user's latest items make their vector.

    Raises:
        ValueError: no fan-out, or one below 1.

    Example:
        >>> tower = FeatureTower("item", [Id(64), Text("description", 32)])
        >>> model = GraphSAGEI2I(tower, ByColumn("invoice"), dim=64).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)
        >>> Service.build(model, catalog).similar(["tea"], k=10)

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.
    Departs from the paper: each layer adds to a node's own vector, `Residual`; negatives are those
        of the batch, and scores are corrected by log q.
    """

    towers = {"item_tower": ("features", "item")}

    tunable = {**GraphSAGE.tunable, "history_length": [5, 100, "log"]}

    def __init__(
        self,
        item_tower: FeatureTower | None = None,
        sessions: Recipe | None = None,
        dim: WholeFrom1 = 128,
        fan_outs: Sequence[WholeFrom1] = (10,),
        aggregator: Aggregator | None = None,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        history_length: WholeFrom1 = LENGTH,
        self_supervision: SelfSupervision | None = None,
        neighbor_dropout: Share = 0.0,
        own_dropout: Share = 0.0,
        **kwargs,
    ) -> None:
        item_tower = item_tower or FeatureTower("item", [Id(dim)])
        aggregator = aggregator or Mean()
        sessions = sessions or ByUser()
        over = {"item_item": ("item", "item")}
        layers = residual(sage_layers(dim, fan_outs, aggregator, over), over)
        super().__init__(
            positives or ItemPairs(sessions),
            negatives or InBatch(),
            GraphEncoder({"item": item_tower}, layers, over),
            loss or SampledSoftmax(),
            history_length,
            self_supervision=self_supervision,
            neighbor_dropout=neighbor_dropout,
            own_dropout=own_dropout,
            **kwargs,
        )
        self.sessions = sessions
        self.aggregator = aggregator
        self.dim = dim
        self.fan_outs = list(fan_outs)

    def make_graph(self, train, catalog):
        sessions = self.sessions(train, catalog)
        return TypedGraph.of_items(Graph.from_sessions(sessions, catalog.items.size))

    def neighbors(self):
        return uniform_neighbors(self.graph, self.fan_outs)

    def hops(self, train, catalog):
        return [self.graph["item_item"].graph]

    def parts(self) -> dict:
        return {**super().parts(), "sessions": self.sessions, "aggregator": self.aggregator}

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "fan_outs": self.fan_outs}
