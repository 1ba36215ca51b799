"""MultiBiSage: PinSage over each of several graphs that connect items, read together."""

from collections.abc import Sequence

import keras

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Filled, ShareTo1, WholeFrom1
from tf_recall.features import Id
from tf_recall.graph.bipartite import Bipartite, UserEdges
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
from tf_recall.towers.combinations import ConcatCombination, TransformerCombination
from tf_recall.towers.convolutions import PinSageConvolution
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.graph import GraphEncoder
from tf_recall.towers.stacks import PartConvolution


@keras.saving.register_keras_serializable("tf_recall")
class MultiBiSage(GraphRetriever):
    """PinSage over a bipartite graph per relation, an item's vectors through a transformer (M15).

    For each of `relations`, such as users or the values of an attribute, walks from item to item
    find an item's neighbors, and convolutions of its own aggregate them (METHODS.md M14). An item
    then has a vector by each relation; a transformer reads them as a sequence. Items are queries
    and candidates alike. A user is the mean of the items they interacted with.

    Positives: two items that a user interacted with, at most five apart (P2).
    Negatives: the other rows' items (N4).
    Towers: features, a stack of convolutions for each relation, a transformer, two dense layers, to
        unit length.
    Loss: softmax over the negatives (L7) with temperature and log q.

    Args:
        item_tower: a `FeatureTower("item", ...)`; by default one of ids.
        relations: what connects items: `UserEdges()`, `AttributeEdges("genres")`,
            `SessionEdges(ByGap(1800))`, `WordEdges("title")`; by default users alone, and then
            there is nothing for a transformer to read together.
        dim: length of the vectors, of every layer.
        units: length of a message, and of hidden layers.
        heads: of the transformer's attention; they divide `dim`.
        num_layers: how many convolutions each relation has, one after the other.
        num_neighbors: how many of the most visited items are neighbors of an item by a relation.
        num_walks: how many walks start at each item.
        length: how many items a walk visits.
        restart: the probability with which each step returns to the start of the walk.
        positives: `ItemPairs(window=5)` over each user's sequence by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax()` by default.
        history_length: how many of a user's latest items make their vector.
        self_supervision: `SelfSupervision()`, an extra loss of the items' features; or None.

    Raises:
        ValueError: no relations, or two of one name; at `adapt`, a column that is not in the item
            table.

    Example:
        >>> relations = [UserEdges(), AttributeEdges("genres"), WordEdges("title")]
        >>> model = MultiBiSage(relations=relations, dim=64).adapt(split.train, catalog)
        >>> model.compile()
        >>> batches = model.batches(split.train, catalog, batch_size=1024)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5)
        >>> Service.build(model, catalog).similar(["tea"], k=10)

    Paper: Gurukar et al. 2022, "MultiBiSage: A Web-Scale Recommendation System Using Multiple
        Bipartite Graphs at Pinterest", sections 3 and 4.
    Departs from the paper: neighbors are items, those that walks across the bipartite graph visit
        most; the vectors end at unit length; scores are corrected by log q.
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
        relations: Filled[Bipartite] | None = None,
        dim: WholeFrom1 = 128,
        units: WholeFrom1 = 128,
        heads: WholeFrom1 = 2,
        num_layers: WholeFrom1 = 1,
        num_neighbors: WholeFrom1 = 10,
        num_walks: WholeFrom1 = 100,
        length: WholeFrom1 = 5,
        restart: ShareTo1 = 0.3,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        history_length: WholeFrom1 = LENGTH,
        self_supervision: SelfSupervision | None = None,
        **kwargs,
    ) -> None:
        relations = [UserEdges()] if relations is None else list(relations)
        names = [relation.name for relation in relations]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"relations must be one or more with names that differ, got {names}")
        layers = stacks(names, dim, units, num_layers)
        patterns = [ConcatCombination()] * (num_layers - 1)
        patterns.append(TransformerCombination(heads, units))
        head = keras.Sequential(
            [keras.layers.Dense(units, "relu"), keras.layers.Dense(dim, use_bias=False)]
        )
        over = {name: ("item", "item") for name in names}
        bases = {"item": item_tower or FeatureTower("item", [Id(dim)])}
        super().__init__(
            positives or ItemPairs(window=5),
            negatives or InBatch(),
            GraphEncoder(bases, layers, over, head, patterns),
            loss or SampledSoftmax(),
            history_length,
            self_supervision=self_supervision,
            **kwargs,
        )
        self.relations = relations
        self.dim = dim
        self.units = units
        self.heads = heads
        self.num_neighbors = num_neighbors
        self.walks = {"num_walks": num_walks, "length": length, "restart": restart}

    def make_graph(self, train, catalog):
        found = []
        for relation in self.relations:
            hops = relation.hops(train, catalog)
            near = important(hops, catalog.items.size, self.num_neighbors, **self.walks)
            found.append(Relation("item", "item", near, relation.name))
        return TypedGraph(found)

    def neighbors(self):
        near = {
            each.name: ImportantNeighbors(each.graph, self.num_neighbors)
            for each in self.graph.relations
        }
        return [near for _ in self.encoder.convolutions]

    def hops(self, train, catalog):
        return UserEdges().hops(train, catalog)

    def parts(self) -> dict:
        return {**super().parts(), "relations": self.relations}

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("dim", "units", "heads", "num_neighbors")}
        layers = {"num_layers": len(self.encoder.convolutions)}
        return {**super().get_config(), **own, **layers, **self.walks}


def stacks(names: Sequence[str], dim: int, units: int, num_layers: int) -> list[dict]:
    """PinSage's convolutions by layer and relation; those of a relation read its vectors alone.

    Args:
        names: of the relations.
        dim: length of a relation's vector.
        units: length of a message.
        num_layers: how many layers.
    """
    layers = []
    for layer in range(num_layers):
        convolutions = {}
        for at, name in enumerate(names):
            convolutions[name] = PinSageConvolution(dim, units)
            if layer and len(names) > 1:
                convolutions[name] = PartConvolution(convolutions[name], at * dim, dim)
        layers.append(convolutions)
    return layers
