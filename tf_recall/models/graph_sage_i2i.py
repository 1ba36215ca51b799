"""GraphSAGE over items alone: what follows what in sessions, and what the items are."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.sessions import ByUser
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import TypedGraph
from tf_recall.losses import SampledSoftmax
from tf_recall.negatives import InBatch
from tf_recall.positives import ItemPairs
from tf_recall.retrievers.graph import GraphRetriever, uniform_neighbors
from tf_recall.towers.aggregators import Mean
from tf_recall.towers.graph import GraphEncoder, sage_layers


@keras.saving.register_keras_serializable("tf_recall")
class GraphSAGEI2I(GraphRetriever):
    """Convolutions over the graph of items that follow one another in sessions (METHODS.md M13).

    Items are queries and candidates alike; a user is the mean of the items taken, known or said by
    the request.

    Positives: two items next to one another in a session, supervised; or `WalkPairs()` (P4),
        without labels.
    Negatives: the other rows' items (N4), priced by their share of the training positives.
    Towers: features, then a convolution over a few neighbors for each fan-out, to unit length.
    Loss: softmax over them (L7) with temperature and log q.

    Args:
        item_tower: a `FeatureTower("item", ...)`.
        sessions: the recipe that cuts interactions into sessions, whose graph it is; `ByUser()` by
            default.
        dim, fan_outs, aggregator, negatives, loss: as `GraphSAGE`.
        positives: `ItemPairs(sessions)` by default.
        history_length: how many of a user's latest items make its vector.

    Example:
        >>> tower = FeatureTower("item", [Id(64), Text("description", 32)])
        >>> model = GraphSAGEI2I(tower, ByColumn("invoice"), dim=64).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)
        >>> Service.build(model, catalog).similar(["tea"], k=10)

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.
    Departs from the paper: negatives are those of the batch, and priced.
    """

    towers = {"item_tower": ("features", "item")}

    def __init__(
        self,
        item_tower,
        sessions=None,
        dim=64,
        fan_outs=(10, 5),
        aggregator=None,
        positives=None,
        negatives=None,
        loss=None,
        history_length=LENGTH,
        **kwargs,
    ):
        aggregator = aggregator or Mean()
        sessions = sessions or ByUser()
        over = {"item": "item"}
        layers = sage_layers(dim, fan_outs, aggregator, over)
        super().__init__(
            positives or ItemPairs(sessions),
            negatives or InBatch(),
            GraphEncoder({"item": item_tower}, layers, over),
            loss or SampledSoftmax(0.1),
            history_length,
            **kwargs,
        )
        self.sessions = sessions
        self.aggregator = aggregator
        self.dim = dim
        self.fan_outs = list(fan_outs)

    def make_graph(self, train, catalog):
        return TypedGraph.of_items(
            Graph.from_sessions(self.sessions(train, catalog), catalog.items.size)
        )

    def neighbors(self):
        return uniform_neighbors(self.graph, self.fan_outs)

    def hops(self, train, catalog):
        return [self.graph.over("item")[1]]

    def parts(self):
        return {**super().parts(), "sessions": self.sessions, "aggregator": self.aggregator}

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "fan_outs": self.fan_outs}
