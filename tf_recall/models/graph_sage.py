"""GraphSAGE: users and items as the nodes of one graph, each told by its neighbors."""

import keras

from tf_recall.graph.typed import TypedGraph
from tf_recall.losses import SampledSoftmax
from tf_recall.negatives import InBatch
from tf_recall.positives import UserItem
from tf_recall.retrievers.graph import GraphRetriever, uniform_neighbors
from tf_recall.towers.aggregators import Mean
from tf_recall.towers.graph import GraphEncoder, sage_layers


@keras.saving.register_keras_serializable("tf_recall")
class GraphSAGE(GraphRetriever):
    """Convolutions over the graph of users and items (METHODS.md M13).

    A new user is answered from the items of a request's `history`, which are his edges; a new item
    from its features, or with edges of its own after `attached`.

    Positives: a user and each item interacted with (P1), supervised; or `WalkPairs()` (P4), without
        labels.
    Negatives: the other rows' items (N4), priced by their share of the training positives.
    Towers: features, then a convolution over a few neighbors for each fan-out, to unit length.
    Loss: softmax over them (L7) with temperature and log q.

    Args:
        query_tower: a `FeatureTower("user", ...)`: what is known of a user before his edges.
        item_tower: a `FeatureTower("item", ...)`.
        dim: length of the vectors, of every layer.
        fan_outs: how many neighbors a node sees while training, its own first: `[10, 5]` are two
            layers.
        aggregator: what becomes of the neighbors, `Mean()` by default.
        positives: `UserItem()` by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax(0.1)` by default.

    Raises:
        ValueError: no fan-out, or one below 1.

    Example:
        >>> users = FeatureTower("user", [Id(64)])
        >>> items = FeatureTower("item", [Id(64), MultiValued("genres")])
        >>> model = GraphSAGE(users, items, dim=64, fan_outs=[10, 5]).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.
    Departs from the paper: each layer has its own weights for users and for items; negatives are
        priced.
    """

    def __init__(
        self,
        query_tower,
        item_tower,
        dim=64,
        fan_outs=(10, 5),
        aggregator=None,
        positives=None,
        negatives=None,
        loss=None,
        **kwargs,
    ):
        aggregator = aggregator or Mean()
        over = {"user": "item", "item": "user"}
        layers = sage_layers(dim, fan_outs, aggregator, over)
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            GraphEncoder({"user": query_tower, "item": item_tower}, layers, over),
            loss or SampledSoftmax(0.1),
            **kwargs,
        )
        self.dim = dim
        self.fan_outs = list(fan_outs)
        self.aggregator = aggregator

    def make_graph(self, train, catalog):
        return TypedGraph.user_item(train, catalog)

    def neighbors(self):
        return uniform_neighbors(self.graph, self.fan_outs)

    def hops(self, train, catalog):
        return [self.graph.over("item")[1], self.graph.over("user")[1]]

    def parts(self):
        return {**super().parts(), "aggregator": self.aggregator}

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "fan_outs": self.fan_outs}
