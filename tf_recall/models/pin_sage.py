"""PinSage: the neighbors of an item are the items that random walks from it visit most."""

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Share, ShareTo1, WholeFrom1
from tf_recall.features import Id
from tf_recall.graph.neighbors import ImportantNeighbors
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.graph.visits import important
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import ItemPairs, Positives
from tf_recall.retrievers.graph import GraphRetriever
from tf_recall.towers.convolutions import PinSageConvolution
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.graph import GraphEncoder


@keras.saving.register_keras_serializable("tf_recall")
class PinSage(GraphRetriever):
    """Convolutions over the items that random walks visit most, by their visits (METHODS.md M14).

    The walks go over the graph of users and items, with restarts at the item; they run once, before
    training. Items are queries and candidates alike. A user is the mean of the items they
    interacted with.

    Positives: two items that a user interacted with, at most five apart (P2).
    Negatives: the other rows' items (N4); or, as in the paper, items drawn uniformly (N1), and from
        the second epoch on some items that walks visit, but not most often (N6).
    Towers: features, a convolution for each layer, two dense layers, to unit length.
    Loss: softmax over the negatives (L7) with temperature and log q; or, as in the paper, a margin
        (L5).

    Args:
        item_tower: a `FeatureTower("item", ...)`; by default one of ids.
        dim: length of the vectors, of every layer.
        units: length of a message, and of the dense layer before the last.
        num_layers: how many convolutions.
        num_neighbors: how many of the most visited items are neighbors of an item.
        num_walks: how many walks start at each item.
        length: how many items a walk visits.
        restart: the probability with which each step returns to the start of the walk.
        positives: `ItemPairs(window=5)` over each user's sequence by default.
        negatives: `InBatch()` by default; the paper's are `EasyHard(Uniform(500),
            Curriculum(RankWindow(num=5)), ratio=100)`.
        loss: `SampledSoftmax()` by default, by which it finds more; the paper's is `Hinge(0.1)`.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.
        neighbor_dropout: the share of nodes that a step leaves without their neighbors, so that the
            features alone learn to say who a node is.
        own_dropout: the share of nodes, others, that a step shows as unknown, with their neighbors.
        history_length: how many of a user's latest items make their vector.

    Example:
        >>> tower = FeatureTower("item", [Text("title", 64), MultiValued("genres", 32)])
        >>> model = PinSage(tower, dim=64).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)
        >>> Service.build(model, catalog).similar(["tea"], k=10)

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.
    Departs from the paper: the vectors end at unit length; negatives and loss, as above.
    """

    towers = {"item_tower": ("features", "item")}

    tunable = {
        "dim": [16, 256, "log"],
        "num_layers": [1, 3],
        "num_neighbors": [5, 50, "log"],
        "length": [3, 10],
        "restart": [0.1, 0.9],
        "history_length": [5, 100, "log"],
    }

    def __init__(
        self,
        item_tower: FeatureTower | None = None,
        dim: WholeFrom1 = 128,
        units: WholeFrom1 = 128,
        num_layers: WholeFrom1 = 2,
        num_neighbors: WholeFrom1 = 10,
        num_walks: WholeFrom1 = 100,
        length: WholeFrom1 = 5,
        restart: ShareTo1 = 0.3,
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
        layers = [{"item_item": PinSageConvolution(dim, units)} for _ in range(num_layers)]
        head = keras.Sequential(
            [keras.layers.Dense(units, "relu"), keras.layers.Dense(dim, use_bias=False)]
        )
        super().__init__(
            positives or ItemPairs(window=5),
            negatives or InBatch(),
            GraphEncoder({"item": item_tower}, layers, {"item_item": ("item", "item")}, head),
            loss or SampledSoftmax(),
            history_length,
            self_supervision=self_supervision,
            neighbor_dropout=neighbor_dropout,
            own_dropout=own_dropout,
            **kwargs,
        )
        self.dim = dim
        self.units = units
        self.num_neighbors = num_neighbors
        self.walks = {"num_walks": num_walks, "length": length, "restart": restart}

    def make_graph(self, train, catalog):
        hops = self.hops(train, catalog)
        visited = important(hops, catalog.items.size, self.num_neighbors, **self.walks)
        return TypedGraph([Relation("item", "item", visited)])

    def neighbors(self):
        near = ImportantNeighbors(self.graph["item_item"].graph, self.num_neighbors)
        return [{"item_item": near} for _ in self.encoder.convolutions]

    def hops(self, train, catalog):
        graph = TypedGraph.user_item(train, catalog)
        return [graph["item_user"].graph, graph["user_item"].graph]

    def get_config(self) -> dict:
        own = {
            "dim": self.dim,
            "units": self.units,
            "num_layers": len(self.encoder.convolutions),
            "num_neighbors": self.num_neighbors,
        }
        return {**super().get_config(), **own, **self.walks}
