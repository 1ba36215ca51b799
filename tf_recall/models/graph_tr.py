"""GraphTR: users, items and the values of items' attributes are the nodes of one graph."""

from collections.abc import Sequence

import keras

from tf_recall.data.ranges import WholeFrom1
from tf_recall.features import Id
from tf_recall.features.base import Feature
from tf_recall.graph.typed import TypedGraph, both_ways
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.graph import GraphRetriever, uniform_neighbors
from tf_recall.towers.aggregators import Aggregator
from tf_recall.towers.combinations import Combination, FMCombination
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.graph import GraphEncoder, residual, sage_layers
from tf_recall.towers.readouts import LastLayer, Readout
from tf_recall.towers.transformer import TransformerMean
from tf_recall.towers.values import ValueTower


@keras.saving.register_keras_serializable("tf_recall")
class GraphTR(GraphRetriever):
    """Convolutions over one graph of several types of nodes, type by type (METHODS.md M16).

    H_t = g_t (W_t mean(Transformer([h ; the neighbors of type t])) + B_t h), of one t and h besides
    next h = sum_t H_t + sum over pairs of types of H_s * H_t

    The neighbors of an item are the users who interacted with it and, for each of `node_features`,
    its values; those of a user are items, those of a value the items that have it. Without them it
    is a graph of users and items. A new user gets a vector from the items of a request's
    `history`; a new item from its features, or with edges of its own after `attached`.

    Positives: a user and each item interacted with (P1); or `WalkPairs()` (P4).
    Negatives: the other rows' items (N4).
    Towers: features, to which for each fan-out the convolutions add, to unit length.
    Loss: softmax over the negatives (L7) with temperature and log q.

    Args:
        query_tower: a `FeatureTower("user", ...)`, the inputs of the user nodes; by default ids.
        item_tower: a `FeatureTower("item", ...)`, the inputs of the item nodes; by default ids.
        node_features: features of items whose values are nodes: `Categorical("brand")`,
            `MultiValued("genres")`, the words of a `Text("title")`; none by default.
        dim: length of the vectors, of every layer.
        fan_outs: how many neighbors of each type a node draws in training, first of the nodes of
            the batch: `[10, 5]` are two layers.
        aggregator: aggregates the neighbors of a type, `TransformerMean(dim)` by default;
            `Attention(dim)` is a simpler one.
        combination: combines the types, `FMCombination()` by default.
        readout: `LastLayer()` by default, or `MeanOfLayers()`.
        positives: `UserItem()` by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax()` by default.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Raises:
        ValueError: no fan-out, or one below 1; an attribute that has no vocabulary; at `adapt`, one
            that is not in the item table.

    Example:
        >>> model = GraphTR(node_features=[MultiValued("genres", 16)]).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)

    Paper: Liu et al. 2020, "Graph Neural Network for Tag Ranking in Tag-enhanced Video
        Recommendation", section 4.
    Departs from the paper: users and items are what is matched, not tags; each type's aggregate
        goes through matrices of its own beside the node's own vector, and counts by itself besides
        in pairs; each layer adds to a node's own vector, by gates g that start at 0; scores are
        corrected by log q.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "fan_outs": {"choices": [[10], [10, 5], [20, 10]]},
        "aggregator": {"choices": ["mean", {"name": "transformer", "units": 64}]},
        "combination": {"choices": ["fm", "sum"]},
        "readout": {"choices": ["last", "mean"]},
    }

    def __init__(
        self,
        query_tower: FeatureTower | None = None,
        item_tower: FeatureTower | None = None,
        node_features: Sequence[Feature] = (),
        dim: WholeFrom1 = 128,
        fan_outs: Sequence[WholeFrom1] = (10,),
        aggregator: Aggregator | None = None,
        combination: Combination | None = None,
        readout: Readout | None = None,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        self_supervision: SelfSupervision | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        aggregator = aggregator or TransformerMean(dim)
        combination = combination or FMCombination()
        bases = {
            "user": query_tower or FeatureTower("user", [Id(dim)]),
            "item": item_tower or FeatureTower("item", [Id(dim)]),
        }
        over = {"user_item": ("user", "item"), "item_user": ("item", "user")}
        for feature in node_features:
            tower = ValueTower(feature)
            bases[tower.entity] = tower
            over[f"item_{tower.entity}"] = ("item", tower.entity)
            over[f"{tower.entity}_item"] = (tower.entity, "item")
        layers = residual(sage_layers(dim, fan_outs, aggregator, over), over)
        # no vector of a value is asked for
        matched = [name for name, (of_type, _) in over.items() if of_type in ("user", "item")]
        layers[-1] = {name: layers[-1][name] for name in matched}
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            GraphEncoder(bases, layers, over, None, combination, readout),
            loss or SampledSoftmax(),
            self_supervision=self_supervision,
            predicts=predicts,
            **kwargs,
        )
        self.node_features = list(node_features)
        self.dim = dim
        self.fan_outs = list(fan_outs)
        self.aggregator = aggregator
        self.combination = combination
        self.readout = readout or LastLayer()

    def _adapt_towers(self, train, catalog):
        super()._adapt_towers(train, catalog)
        for tower in self._values():
            tower.adapt(train, catalog)

    def _values(self):
        return [tower for tower in self.encoder.bases.values() if isinstance(tower, ValueTower)]

    def make_graph(self, train, catalog):
        graph = TypedGraph.user_item(train, catalog)
        relations = list(graph.relations)
        for tower in self._values():
            relations += both_ways("item", tower.entity, tower.edges(catalog))
        return TypedGraph(relations, graph.vocabularies)

    def neighbors(self):
        drawn = uniform_neighbors(self.graph, self.fan_outs)
        layers = zip(drawn, self.encoder.convolutions, strict=True)
        return [{name: near[name] for name in layer} for near, layer in layers]

    def hops(self, train, catalog):
        return [self.graph["item_user"].graph, self.graph["user_item"].graph]

    def kept(self):
        return {"node_features": self.node_features}

    def parts(self) -> dict:
        own = ("node_features", "aggregator", "combination", "readout")
        return {**super().parts(), **{name: getattr(self, name) for name in own}}

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "fan_outs": self.fan_outs}
