"""GraphSAGE: users and items are the nodes of one graph, encoded with their neighbors."""

from collections.abc import Sequence

import keras

from tf_recall.data.ranges import Share, WholeFrom1
from tf_recall.features import Id
from tf_recall.graph.typed import TypedGraph
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.graph import GraphRetriever, uniform_neighbors
from tf_recall.towers.aggregators import Aggregator, Mean
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.graph import GraphEncoder, residual, sage_layers


@keras.saving.register_keras_serializable("tf_recall")
class GraphSAGE(GraphRetriever):
    """Convolutions over the graph of users and items (METHODS.md M13).

    A new user gets a vector from the items of a request's `history`, which are their edges; a new
    item from its features, or with edges of its own after `attached`.

    Positives: a user and each item interacted with (P1), supervised; or `WalkPairs()` (P4), without
        labels.
    Negatives: the other rows' items (N4); their sampling probability is their share of the
        positives.
    Towers: features, to which for each fan-out a convolution over a few neighbors adds, to unit
        length: at first the model is a two-tower, and it learns what neighbors add.
    Loss: softmax over the negatives (L7) with temperature and log q.

    Args:
        query_tower: a `FeatureTower("user", ...)`, the inputs of the user nodes; by default ids.
        item_tower: a `FeatureTower("item", ...)`, the inputs of the item nodes; by default ids.
        dim: length of the vectors, of every layer.
        fan_outs: how many neighbors of a node training draws, first of the nodes of the batch:
            `[10, 5]` are two layers; `[10]` by default, which finds more for less where vectors of
            ids learn.
        aggregator: aggregates the messages of the neighbors, `Mean()` by default.
        positives: `UserItem()` by default.
        negatives: `InBatch()` by default; `Uniform` draws items too that nobody took yet, and
            pushes them away.
        loss: `SampledSoftmax()` by default.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.
        neighbor_dropout: the share of nodes that a step leaves without their neighbors, so that the
            features alone learn to say who a node is.
        own_dropout: the share of nodes, others, that a step shows as unknown, with their neighbors,
            so that these alone learn to say who a node is: a new item once it has edges, or a new
            user with a history. None: 0.1, or what `neighbor_dropout` leaves of 1, where a node is
            its id alone; 0 where features tell of new ones.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

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
    Departs from the paper: each layer has its own weights for users and for items, and adds to a
        node's own vector, `Residual`; some nodes learn without neighbors; scores are corrected by
        log q.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "fan_outs": {"choices": [[10], [10, 5], [20, 10]]},
        "aggregator": {
            "choices": [
                "mean",
                {"name": "max_pool", "units": 64},
                {"name": "attention", "units": 64},
            ]
        },
        "neighbor_dropout": [0.0, 0.8],
        "negatives": {
            "choices": [
                "in_batch",
                {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 1024}]},
            ]
        },
    }

    def __init__(
        self,
        query_tower: FeatureTower | None = None,
        item_tower: FeatureTower | None = None,
        dim: WholeFrom1 = 128,
        fan_outs: Sequence[WholeFrom1] = (10,),
        aggregator: Aggregator | None = None,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        self_supervision: SelfSupervision | None = None,
        neighbor_dropout: Share = 0.8,
        own_dropout: Share | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        query_tower = query_tower or FeatureTower("user", [Id(dim)])
        item_tower = item_tower or FeatureTower("item", [Id(dim)])
        aggregator = aggregator or Mean()
        if own_dropout is None:
            features = [*query_tower.features, *item_tower.features]
            ids_alone = all(isinstance(each, Id) for each in features)
            own_dropout = min(0.1, 1.0 - neighbor_dropout) if ids_alone else 0.0
        over = {"user_item": ("user", "item"), "item_user": ("item", "user")}
        layers = residual(sage_layers(dim, fan_outs, aggregator, over), over)
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            GraphEncoder({"user": query_tower, "item": item_tower}, layers, over),
            loss or SampledSoftmax(),
            self_supervision=self_supervision,
            neighbor_dropout=neighbor_dropout,
            own_dropout=own_dropout,
            predicts=predicts,
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
        return [self.graph["item_user"].graph, self.graph["user_item"].graph]

    def parts(self) -> dict:
        return {**super().parts(), "aggregator": self.aggregator}

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "fan_outs": self.fan_outs}
