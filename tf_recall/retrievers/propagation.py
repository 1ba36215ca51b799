"""The base of models whose vectors are propagated along the edges of users and items."""

from typing import TYPE_CHECKING, Self

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.draws import unit_of
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.graph.csr import Graph
from tf_recall.graph.layerwise import ByLayers
from tf_recall.graph.typed import TypedGraph, both_ways
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import adapt_heads
from tf_recall.negatives.base import Sampler
from tf_recall.positives.base import Positives, TrainingBatches
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.distribution import own_part
from tf_recall.retrievers.graph import ahead
from tf_recall.retrievers.learnable import check_edges, check_graph, check_rows
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.retrievers.parts import deserialized, unbuilt
from tf_recall.retrievers.vectors import Encoded
from tf_recall.towers.propagated import PropagatedTower
from tf_recall.towers.propagation import Propagation

if TYPE_CHECKING:
    from tf_recall.config import Train

STEPS = 100  # of an epoch, about
FEWEST = 64  # rows of a batch, which are a multiple of them
NO_XLA = "sparse products are nothing that XLA compiles"


class PropagationRetriever(Retriever):
    """A `Retriever` of vectors that are propagated along the graph's edges, anew in each step.

    Batches are large, about a hundred an epoch where none are asked for. The positives' own edges
    stay in the graph.

    After training, and whenever the catalog is embedded, `refresh` stores all vectors; serving then
    reads tables and needs no graph.

    Args:
        positives, negatives, loss: as `Retriever`.
        propagation: the `Propagation`.
        normalize: whether vectors are of length 1.
        unknown_rate: the share of a step's users that are shown as the unknown one, who so learns
            what is liked by anybody.

    Raises:
        ValueError: as `Retriever`; from `compile` and `check_settings`, XLA, where steps are of the
            whole graph.
    """

    towers: dict = {}
    batch_follows_data = True

    def __init__(
        self,
        positives: Positives,
        negatives: Sampler,
        propagation: Propagation,
        loss: Loss,
        normalize: bool,
        unknown_rate: float,
        **kwargs,
    ) -> None:
        sides = (PropagatedTower(entity, propagation, normalize) for entity in ("user", "item"))
        super().__init__(positives, negatives, *sides, loss, **kwargs)
        self.propagation = propagation
        self.normalize = normalize
        self.unknown_rate = unknown_rate

    def adapt(self, train: Interactions, catalog: Catalog, graph: TypedGraph | None = None) -> Self:
        """As `Retriever.adapt`, and makes the graph of the training part.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.
            graph: a `TypedGraph` of users and items instead, such as one of memory maps.

        Raises:
            ValueError: as `Retriever.adapt`; or the graph is of another catalog, or has no edges.
        """
        self._begin(train, catalog, graph)
        super().adapt(train, catalog)
        self.propagation.way.check(self.negatives)
        self.propagation.start()
        return self

    def _begin(self, train, catalog, graph=None):
        """Makes the vectors and the graph of a catalog."""
        if not self.propagation.built:
            sizes = {"user": catalog.users.size, "item": catalog.items.size}
            self.propagation.build_from_config(sizes)
            self.propagation.come_from(catalog)
        if graph is None:
            graph = TypedGraph(both_ways("user", "item", edges(train, catalog)))
        check_rows(graph, catalog)
        check_edges(graph)
        self.propagation.connect(graph)

    def build_from_config(self, config: dict) -> None:
        self.propagation.build_from_config(config["propagation"])
        super().build_from_config({name: {} for name in ("item_tower", "query_tower")})

    def get_build_config(self) -> dict | None:
        return {"propagation": self.propagation.get_build_config()} if self.built else None

    def default_batch_size(self, train: Interactions) -> int:
        rows = len(train) // STEPS // FEWEST * FEWEST
        return int(np.clip(rows, FEWEST, self.propagation.way.most_rows))

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        return LazyAdam(0.01)

    def batches(
        self,
        train: Interactions,
        catalog: Catalog,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> TrainingBatches:
        """As `Retriever.batches`; without a `batch_size` about a hundred an epoch."""
        batch_size = batch_size or self.default_batch_size(train)
        pairs = super().batches(train, catalog, batch_size, seed)
        if self.propagation.graph is None:  # of a model that was saved
            self._begin(train, catalog)
        replicas = self.distribute_strategy.num_replicas_in_sync
        propagation = self.propagation
        return propagation.way.batches(propagation, pairs, ahead(self.negatives), seed, replicas)

    def compile(self, *args, jit_compile: str | bool = False, **kwargs) -> None:
        """As `Retriever.compile`; steps of the whole graph go without XLA."""
        if jit_compile is True and not self.propagation.way.supports_xla:
            raise ValueError(
                f"jit_compile=True does not go with {type(self).__name__}, whose {NO_XLA}: leave "
                "it out"
            )
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def check_settings(self, settings: "Train") -> None:
        if settings.jit_compile and not self.propagation.way.supports_xla:
            raise ValueError(
                f"train.jit_compile is true, and {type(self).__name__}'s {NO_XLA}: leave "
                "train.jit_compile out"
            )

    def call(self, batch: dict, training: bool = False) -> tf.Tensor:
        return super().call(own_part(batch) if "subgraph" in batch else batch, training)

    def encode(self, batch: dict, training: bool) -> Encoded:
        rows = batch["item"]["item"]
        self.check_replicas(rows)
        found = self.propagation.way.found(self.propagation, batch)
        asking = batch["query"]["user"]
        if training:
            drawn = unit_of(asking, [0, self.step.value])
            asking = tf.where(drawn >= self.unknown_rate, asking, 0)
        query = self.query_tower.finished(found("user", asking))

        def embed(rows):
            return self.item_tower.finished(found("item", rows))

        return self._pairs(query, rows, embed, batch.get("weight"), self.step.value)

    def refresh(self) -> None:
        """Stores every user's and every item's vectors; a saved model has them."""
        if self.propagation.graph is None:
            return
        users, items, sent = self.propagation.over_all()
        self.query_tower.refresh(users, sent)
        self.item_tower.refresh(items, sent)

    def by_layers(self) -> ByLayers:
        """What `tf_recall.graph.layerwise` computes the served vectors from, its last layer's.

        Raises:
            ValueError: the model has no graph, since it was loaded.
        """
        check_graph(self.propagation.graph)
        layers = self.propagation.layers(self.normalize)
        return ByLayers(self.propagation.all_nodes(), layers, self.propagation.graph)

    def fit(self, *args, **kwargs) -> keras.callbacks.History:
        """As `Retriever.fit`, then `refresh`."""
        history = super().fit(*args, **kwargs)
        self.refresh()
        return history

    def embed_catalog(self) -> np.ndarray:
        """As `Retriever.embed_catalog`, propagated anew where the graph is known."""
        self._check_adapted()
        self.refresh()
        return super().embed_catalog()

    def attached(self, interactions: Interactions, catalog: Catalog) -> tuple[Self, Catalog]:
        """The trained model on a larger graph: new users and items get vectors from their edges.

        What is new has no vector of its own until it is trained: E[0] is 0 there.

        Args:
            interactions: all that are known by now, old ones too.
            catalog: the catalog that the model was trained on.

        Returns:
            A model, and its catalog; `Service.build` takes both.

        Raises:
            ValueError: the model was trained on another catalog.

        Example:
            >>> model, catalog = model.attached(interactions, catalog)
            >>> Service.build(model, catalog).similar(catalog.items.ids[-1:])  # a new item
        """
        check_same(f"this {type(self).__name__}", self.item_tower.identity, catalog.identity)
        catalog = catalog.grown(interactions)
        model = type(self)(**deserialized(unbuilt(self.get_config())))
        model._begin(interactions, catalog)
        model._adapt_towers(interactions, catalog)
        model._adapt_training(catalog)
        dim = model.item_tower.dim
        adapt_heads(model.predicts, interactions, catalog, dim, self.predicts)
        model.built = True
        for entity, table in model.propagation.tables.items():
            old = self.propagation.tables[entity].value
            table.assign(tf.pad(old, [[0, table.shape[0] - old.shape[0]], [0, 0]]))
        model.refresh()
        return model, catalog

    def parts(self) -> dict:
        parts = super().parts()
        for made in ("query_tower", "item_tower", "self_supervision"):
            del parts[made]
        return {**parts, "propagation": self.propagation.way}

    def get_config(self) -> dict:
        own = {"dim": self.propagation.dim, "num_layers": self.propagation.num_layers}
        shown = {"normalize": self.normalize, "unknown_rate": self.unknown_rate}
        return {**super().get_config(), **own, **shown}


def edges(train: Interactions, catalog: Catalog) -> Graph:
    """The graph from users to the items that they had; an interaction of weight 0 is none.

    Args:
        train: the interactions.
        catalog: which knows the rows; others are left out.

    Raises:
        ValueError: there are no edges.
    """
    users = train.rows("user", catalog.users)
    items = train.rows("item", catalog.items)
    used = (users > 0) & (items > 0)
    if "weight" in train.frame:
        used &= train.frame["weight"].to_numpy() > 0
    if not used.any():
        raise ValueError(
            "there is nothing to learn: the graph has no edges from users to items; the catalog "
            "knows none of them, or all weights are 0"
        )
    return Graph.from_edges(users[used], items[used], None, catalog.users.size, catalog.items.size)
