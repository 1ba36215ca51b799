"""The base of the graph models: pairs of nodes, whose vectors are made of neighbors' vectors."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import LENGTH
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Share
from tf_recall.data.tracing import traced
from tf_recall.features.needs import Needs
from tf_recall.graph.csr import Graph
from tf_recall.graph.layerwise import ByLayers
from tf_recall.graph.neighbors import UniformNeighbors
from tf_recall.graph.stream import GraphBatches
from tf_recall.graph.typed import TypedGraph
from tf_recall.graph.visits import important
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import adapt_heads, labels_of
from tf_recall.negatives import RankWindow
from tf_recall.negatives.base import Sampler
from tf_recall.negatives.hard import HardSampler
from tf_recall.positives.base import Positives
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.distribution import own_part
from tf_recall.retrievers.keras_hooks import sublayers
from tf_recall.retrievers.learnable import check_catalog, check_edges, check_graph, check_rows
from tf_recall.retrievers.optimizers import AdagradAdam
from tf_recall.retrievers.parts import deserialized, unbuilt
from tf_recall.retrievers.vectors import Encoded
from tf_recall.towers.base import Tower
from tf_recall.towers.graph import GraphEncoder, GraphTower
from tf_recall.towers.history import HistoryTower

logger = logging.getLogger("tf_recall")

DRAWN_STEPS = 16  # whose negatives are drawn together
VISITS = {"num_walks": 200, "length": 5, "restart": 0.3}  # walks that rank a window's items


def uniform_neighbors(
    graph: TypedGraph, fan_outs: Sequence[int]
) -> list[dict[str, UniformNeighbors]]:
    """Neighbors drawn uniformly, by layer and relation.

    Args:
        graph: the `TypedGraph`.
        fan_outs: how many of a node, first of the nodes of the batch, then of their neighbors, ...
    """
    layers = []
    for num in reversed(fan_outs):
        layers.append({each.name: UniformNeighbors(each.graph, num) for each in graph.relations})
    return layers


def ahead(negatives: Sampler) -> Callable[[int], list[np.ndarray]]:
    """The function from a step to the rows of items that a sampler will draw from outside a batch.

    A call of TensorFlow costs more than what it draws for a step, so one draws for many.

    Args:
        negatives: the sampler, whose draws are known before the step.
    """
    kinds = [tf.TensorSpec(rows.shape, rows.dtype) for rows in negatives.ahead(0)]
    if not kinds:
        return lambda step: []

    def draw(steps):
        return tf.map_fn(negatives.ahead, steps, fn_output_signature=kinds)

    drawn = traced(draw, [tf.TensorSpec([DRAWN_STEPS], tf.int64)])

    @functools.lru_cache(2)  # threads may be at the end of one block and the beginning of another
    def block(number):
        steps = tf.range(number * DRAWN_STEPS, (number + 1) * DRAWN_STEPS, dtype=tf.int64)
        return [rows.numpy() for rows in drawn(steps)]

    return lambda step: [rows[step % DRAWN_STEPS] for rows in block(step // DRAWN_STEPS)]


class GraphRetriever(Retriever):
    """A `Retriever` whose towers aggregate a node's neighbors (METHODS.md M13, M14).

    A batch brings the part of the graph around its nodes, drawn on the host while the step before
    is computed. Each of those nodes is encoded once, as query, positive, negative or neighbor. The
    negatives must be known before the step: `Sampler.ahead`.

    After training, and whenever the catalog is embedded, `refresh` computes every node's vector
    from all of its neighbors, layer by layer; serving then reads tables and needs no graph.

    Args:
        encoder: the `GraphEncoder`.
        positives, negatives, loss: as `Retriever`.
        history_length: how many of a user's latest items make their vector, where the graph has no
            users.
        neighbor_dropout: the share of nodes that a step leaves without their neighbors, so that the
            features alone learn to say who a node is; what is served has all neighbors.
        own_dropout: the share of nodes, others, that a step shows as unknown, with their neighbors,
            so that these alone learn to say who a node is that comes later.

    Call: a batch of `GraphBatches` -> the loss, a scalar.

    Raises:
        ValueError: the two shares are more than all; at `adapt`, the sampler's draws are not known
            before the step; at a step, the batches were made for another number of replicas.
    """

    has_graph = True
    graph: TypedGraph | None = None

    def __init__(
        self,
        positives: Positives,
        negatives: Sampler,
        encoder: GraphEncoder,
        loss: Loss,
        history_length: int = LENGTH,
        neighbor_dropout: Share = 0.0,
        own_dropout: Share = 0.0,
        **kwargs,
    ) -> None:
        if neighbor_dropout + own_dropout > 1:
            raise ValueError(
                "neighbor_dropout and own_dropout are shares of different nodes, at most 1 "
                f"together, not {neighbor_dropout} and {own_dropout}"
            )
        item_tower = GraphTower("item", encoder)
        if "user" in encoder.bases:
            query_tower = GraphTower("user", encoder)
        else:
            query_tower = HistoryTower(item_tower, history_length)
        super().__init__(positives, negatives, query_tower, item_tower, loss, **kwargs)
        self.encoder = encoder
        self.history_length = history_length
        self.neighbor_dropout = neighbor_dropout
        self.own_dropout = own_dropout

    @property
    def query_type(self) -> str:
        """The type of the nodes that are queries in training."""
        return "user" if "user" in self.item_tower.encoder.bases else "item"

    @property
    def feature_tower(self) -> Tower:
        return self.item_tower.encoder.bases["item"]

    def needs(self) -> Needs:
        negatives = 0 if self._windows() else self.negatives.num_given
        given = {"negatives": negatives, "labels": labels_of(self.predicts)}
        return Needs(self.query_type, graph=self.graph, **given)

    def make_graph(self, train: Interactions, catalog: Catalog) -> TypedGraph:
        """Makes the graph whose neighbors the convolutions aggregate."""
        raise NotImplementedError

    def neighbors(self) -> list[dict]:
        """The samplers of neighbors, `[{relation: neighbors}]`, the first layer first."""
        raise NotImplementedError

    def hops(self, train: Interactions, catalog: Catalog) -> list[Graph]:
        """The graphs, used in turn, of the walks from items to items that a `RankWindow` needs."""
        raise NotImplementedError

    def adapt(self, train: Interactions, catalog: Catalog, graph: TypedGraph | None = None) -> Self:
        """As `Retriever.adapt`, and makes the graph of the training part.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.
            graph: a `TypedGraph` of its rows instead, such as one of memory maps.

        Raises:
            ValueError: as `Retriever.adapt`; or the graph is of another catalog.
        """
        if graph is not None:
            check_rows(graph, catalog)
        counted = catalog.with_counts(self.positives.counts(train, catalog))
        check_catalog(self, counted)
        self._adapt_towers(train, counted)
        self._adapt_training(counted)
        adapt_heads(self.predicts, train, catalog, self.item_tower.dim)
        self.negatives.ahead(0)  # raises where the draws are not known before the step
        self.graph = graph or self.make_graph(train, catalog)
        check_edges(self.graph)
        self._build()
        return self

    def _build(self, config=None):
        self.encoder.build_from_config(config or self.encoder.get_build_config())
        self.item_tower.build_from_config({})
        if self.query_type == "user":
            self.query_tower.build_from_config({})
        self.built = True

    def build_from_config(self, config: dict) -> None:
        self._build(config["encoder"])
        if self.query_type == "item":
            self.query_tower.build_from_config(config["query_tower"])

    def get_build_config(self) -> dict | None:
        if not self.built:
            return None
        return {name: getattr(self, name).get_build_config() for name in ("encoder", "query_tower")}

    def batches(
        self, train: Interactions, catalog: Catalog, batch_size: int = 1024, seed: int = 0
    ) -> GraphBatches:
        """As `Retriever.batches`; each batch brings its part of the graph along."""
        if self.built and self.graph is None:  # of a model that was saved
            self.graph = self.make_graph(train, catalog)
        pairs = super().batches(train, catalog, batch_size, seed)
        return GraphBatches(
            pairs,
            self.neighbors(),
            self.encoder.over,
            ahead(self.negatives),
            self._rank_window(train, catalog, seed),
            seed,
            self.neighbor_dropout,
            self.own_dropout,
            self.distribute_strategy.num_replicas_in_sync,
        )

    def _windows(self):
        return [layer for layer in sublayers(self.negatives) if isinstance(layer, RankWindow)]

    def _rank_window(self, train, catalog, seed):
        """The function that draws hard negatives for a `RankWindow`; None where there is none."""
        windows = self._windows()
        if not windows:
            return None
        (window,) = windows
        hops = self.hops(train, catalog)
        ranked = important(hops, catalog.items.size, window.high, seed=seed, **VISITS)
        if ranked.degrees.max() <= window.low:
            none = (
                f"RankWindow has no negatives: walks from an item reach {ranked.degrees.max()} "
                f"others at most, and it leaves out the nearest low={window.low}: lower it"
            )
            if isinstance(self.negatives, HardSampler):
                raise ValueError(none)
            logger.warning("%s; those of the other samplers remain", none)

        def negatives(batch, rng):
            nodes = batch["query"].get("item", batch["item"]["item"])
            begin = ranked.offsets[nodes]
            inside = np.minimum(ranked.degrees[nodes], window.high) - window.low  # items in it
            drawn = rng.random([len(nodes), window.num]) * inside[:, None]  # [B, H]
            rank = window.low + drawn.astype(np.int64)
            rows = ranked.targets[np.minimum(begin[:, None] + rank, ranked.num_edges - 1)]
            return np.where(inside[:, None] > 0, rows, 0).astype(np.int32)

        return negatives

    def call(self, batch: dict, training: bool = False) -> tf.Tensor:
        return super().call(own_part(batch), training)

    def encode(self, batch: dict, training: bool) -> Encoded:
        subgraph = batch["subgraph"]
        self.check_replicas(batch["item"][self.item_tower.entity])
        vectors = self.encoder(subgraph, training=training)

        def find(of_type, rows):
            seeds = subgraph["seeds"][of_type]
            return tf.gather(vectors[of_type], tf.searchsorted(seeds, rows))

        query = find(self.query_type, batch["query"][self.query_type])
        item = self.item_tower.entity
        embed = functools.partial(find, item)
        weight = batch.get("weight")
        return self._pairs(query, batch["item"][item], embed, weight, subgraph["step"])

    def end_step(self) -> None:
        for base in self.encoder.bases.values():
            base.end_step()

    def attached(self, interactions: Interactions, catalog: Catalog) -> tuple[Self, Catalog]:
        """The trained model on a larger graph: new nodes get vectors from features and edges.

        Args:
            interactions: all that are known by now, old ones too, with side tables that describe
                new users and items.
            catalog: the catalog that the model was trained on.

        Returns:
            A model with the same weights, and its catalog; `Service.build` takes both.

        Raises:
            ValueError: the model was trained on another catalog.

        Example:
            >>> model, catalog = model.attached(interactions, catalog)
            >>> Service.build(model, catalog).similar(catalog.items.ids[-1:])  # a new item
        """
        check_same(f"this {type(self).__name__}", self.item_tower.identity, catalog.identity)
        catalog = catalog.grown(interactions)
        bases = [f"{of_type}_tower" for of_type in ("query", "item")]
        towers = {
            name: part.grown(interactions, catalog)
            for name, part in self.parts().items()
            if name in bases
        }
        config = {
            key: unbuilt(value) for key, value in self.get_config().items() if key not in towers
        }
        model = type(self)(**{**deserialized(config), **towers, **self.kept()})
        if model.query_type == "item":
            model.query_tower.adapt(interactions, catalog)
        model._adapt_training(catalog)
        model.graph = model.make_graph(interactions, catalog)
        model._build()
        dim = model.item_tower.dim
        adapt_heads(model.predicts, interactions, catalog, dim, self.predicts)
        for new, old in zip(model.trainable_variables, self.trainable_variables, strict=True):
            new.assign(old)
        model.refresh()
        return model, catalog

    def kept(self) -> dict:
        """Parts whose state a larger graph shares as it is, by argument."""
        return {}

    def default_optimizer(self):
        return AdagradAdam()  # tables and the convolutions' matrices learn at different rates

    def by_layers(self) -> ByLayers:
        """What `tf_recall.graph.layerwise` computes the vectors of every layer from.

        Raises:
            ValueError: the model has no graph, since it was loaded.
        """
        check_graph(self.graph)
        vectors = {of_type: self.encoder.base_vectors(of_type) for of_type in self.encoder.bases}
        return ByLayers(vectors, self.encoder.convolutions, self.graph, self.encoder.combinations)

    def refresh(self) -> None:
        """Computes every node's vectors from all of its neighbors; a saved model has them."""
        if self.graph is None:
            return
        layers = self.encoder.over_all(self.graph)
        self.item_tower.refresh(layers)
        if self.query_type == "user":
            self.query_tower.refresh(layers)

    def fit(self, *args, **kwargs):
        """As `Retriever.fit`, then `refresh`."""
        history = super().fit(*args, **kwargs)
        self.refresh()
        return history

    def embed_catalog(self) -> np.ndarray:
        """As `Retriever.embed_catalog`, computed from the whole graph."""
        self.refresh()
        return super().embed_catalog()

    def parts(self) -> dict:
        sides = {"user": "query_tower", "item": "item_tower"}
        bases = self.encoder.bases
        towers = {sides[t]: base for t, base in bases.items() if t in sides}
        parts = super().parts()
        del parts["query_tower"], parts["item_tower"]
        return {**parts, **towers}

    def get_config(self) -> dict:
        own = ("neighbor_dropout", "own_dropout")
        config = {**super().get_config(), **{name: getattr(self, name) for name in own}}
        if self.query_type == "item":
            config["history_length"] = self.history_length
        return config
