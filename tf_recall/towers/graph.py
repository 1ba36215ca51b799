"""Towers that compute a node's vector from its own features and its neighbors' vectors."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_recall.graph.layerwise import combined, layerwise
from tf_recall.graph.typed import TypedGraph
from tf_recall.towers.aggregators import Aggregator
from tf_recall.towers.base import Tower
from tf_recall.towers.combinations import Combination, combinations, like
from tf_recall.towers.convolutions import (
    Convolution,
    Gated,
    Residual,
    SAGEConvolution,
    unit_length,
)
from tf_recall.towers.readouts import LastLayer, Readout

BLOCK = 8192  # rows encoded at once


class GraphEncoder(keras.layers.Layer):
    """Layers of convolutions over typed nodes (METHODS.md M13, M14), shared by both sides.

    h[0][v] = base(v)
    h[k][v] = combination_k over the relations r of v's type of
        convolution_kr(h[k - 1][v], h[k - 1][u] of the neighbors u of v by r)
    vector[v] = normalize( head( readout(h[0][v], ..., h[last][v]) ) )

    Training aggregates a few neighbors of a batch's nodes, `tf_recall.graph.expand`; for serving
    all neighbors of all nodes are aggregated, layer by layer. The dropout of a base is that of the
    layers between convolutions too.

    Args:
        bases: `{type: tower}`, a `FeatureTower` for each type of nodes.
        layers: `[{relation: convolution}]`, the first layer first.
        over: `{relation: (type, the type of its neighbors)}`.
        head: a Keras layer `[B, dim] -> [B, dim]` for the last vectors; or None.
        combine: a pattern: in each layer each type of several relations gets a combination of its
            own like it; or a list of patterns, one for each layer. None where a type has one.
        readout: what the layers' vectors become; None: `LastLayer()`.

    Call: a subgraph `{"rows": {type: [n]}, "layers": {"1": {relation: {"position": [m, K],
        "weight": [m, K]}}, ...}}` -> `{type: [S, dim]}`, the vectors of its seeds, of length 1.

    Raises:
        ValueError: a base has a history, or a type has several relations and nothing combines them.
    """

    def __init__(
        self,
        bases: dict[str, Tower],
        layers: list[dict[str, Convolution]],
        over: dict[str, tuple[str, str]],
        head: keras.layers.Layer | None = None,
        combine: Combination | Sequence[Combination] | None = None,
        readout: Readout | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        for base in bases.values():
            if base.takes_history:
                raise ValueError(
                    f"the {base.entity} tower has a history, which in a graph model would hold the "
                    "item to be predicted; leave History out: a user's items are the node's edges"
                )
        self.bases = bases
        self.convolutions = layers
        self.over = over
        self.head = head
        self.combinations = combinations(layers, over, combine)
        self.readout = readout or LastLayer()

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        return self._sizes(len(self.convolutions))["item"]  # readout and head keep it

    def relations(self, layer: int, of_type: str) -> list[str]:
        """The relations by which a layer, counted from 0, computes nodes of a type."""
        return [name for name in self.convolutions[layer] if self.over[name][0] == of_type]

    def _sizes(self, layer):
        """The length of the vectors after so many layers, by type."""
        if not layer:
            return {of_type: tower.dim for of_type, tower in self.bases.items()}
        sizes = {}
        for name, convolution in self.convolutions[layer - 1].items():
            of_type, _ = self.over[name]
            combination = self.combinations[layer - 1].get(of_type)
            num = len(self.relations(layer - 1, of_type))
            size = convolution.dim
            sizes[of_type] = combination.dim(num, size) if combination else size
        return sizes

    def build_from_config(self, config: dict) -> None:
        for of_type, tower in self.bases.items():
            if not tower.built:
                tower.build_from_config(config["bases"][of_type])
        for layer, convolutions in enumerate(self.convolutions):
            sizes = self._sizes(layer)
            for name, convolution in convolutions.items():
                of_type, near = self.over[name]
                convolution.build((None, sizes[of_type]), (None, None, sizes[near]))
            for of_type, combination in self.combinations[layer].items():
                own = self.relations(layer, of_type)
                combination.build((None, len(own), convolutions[own[0]].dim))
        sizes = self._sizes(len(self.convolutions))
        self.readout.check(
            [self._sizes(layer)["item"] for layer in range(len(self.convolutions) + 1)]
        )
        if self.head is not None:
            self.head.build((None, sizes["item"]))
        self.built = True

    def get_build_config(self) -> dict | None:
        return {
            "bases": {of_type: tower.get_build_config() for of_type, tower in self.bases.items()}
        }

    def call(self, subgraph: dict, training: bool = False) -> dict[str, tf.Tensor]:
        rows = subgraph["rows"]
        vectors = {
            t: base({t: rows[t]}, training=training) for t, base in self.bases.items() if t in rows
        }
        layers = [vectors]
        for k, convolutions in enumerate(self.convolutions, 1):
            near = subgraph["layers"][str(k)]
            vectors = {
                t: self._convolved(k, t, layers[-1], near)
                for t in dict.fromkeys(self.over[name][0] for name in convolutions)
            }
            if k < len(self.convolutions):
                for t, of_type in vectors.items():
                    own_rows = rows[t][: tf.shape(of_type)[0]]  # [m]
                    vectors[t] = self.bases[t].dropped(of_type, own_rows, -k, training)
            layers.append(vectors)
        return {t: self.finish(self.readout([h[t] for h in layers])) for t in layers[-1]}

    def _convolved(self, k, of_type, below, layer):
        """The vectors of the nodes of a type after layer k, `[m, D]`."""
        names = self.relations(k - 1, of_type)
        num = tf.shape(layer[names[0]]["position"])[0]
        own = below[of_type][:num]  # [m, D]
        convolutions = [self.convolutions[k - 1][name] for name in names]
        pooled = []
        for name, convolution in zip(names, convolutions, strict=True):
            sent = convolution.messages(below[self.over[name][1]])  # [n, M]
            messages = tf.gather(sent, layer[name]["position"])  # [m, K, M]
            pooled.append(convolution.pool(own, messages, layer[name]["weight"]))  # [m, P]
        return combined(own, convolutions, pooled, self.combinations[k - 1].get(of_type))

    def finish(self, vectors: tf.Tensor) -> tf.Tensor:
        """The final vectors `[B, dim]` from those of the readout: through the head, of length 1."""
        vectors = vectors if self.head is None else self.head(vectors)
        return unit_length(vectors)

    def over_all(self, graph: TypedGraph) -> list[dict]:
        """Each layer's messages, pooled messages and vectors of all nodes: see `layerwise`."""
        vectors = {t: self.base_vectors(t) for t in self.bases}
        return layerwise(vectors, self.convolutions, graph, combinations=self.combinations)

    def base_vectors(self, of_type: str) -> np.ndarray:
        """The inputs of the first layer: float32 `[V, D]`, line 0 for the unknown node."""
        base = self.bases[of_type]
        starts = range(0, base.num_rows, BLOCK)
        blocks = [
            base({base.entity: tf.range(at, min(at + BLOCK, base.num_rows))}) for at in starts
        ]
        return np.concatenate(blocks)


class GraphTower(Tower):
    """One side of a graph model for serving: neighbors are aggregated beforehand.

    h[0] = base(inputs)
    h[k] = combination_k over the relations r of update_kr(h[k - 1], pooled[k][r][row])
    vector = normalize(head(readout(h[0], ..., h[last])))

    `pooled[k][r]` is the aggregate of the messages of all neighbors of each row by relation r at
    layer k; `refresh` fills it. A request may bring other neighbors, a user's `history`: they
    replace the items of the training graph, so that a new user gets recommendations as if the graph
    held them.

    Args:
        entity: the type of its nodes, "user" or "item".
        encoder: the `GraphEncoder`.

    Call: as the base tower, optionally with `"history": neighbors' rows [B, L]`, 0 for nothing ->
        `[B, dim]` float32 of length 1.
    """

    normalize = True

    def __init__(self, entity: str, encoder: GraphEncoder, **kwargs) -> None:
        # float32 whatever the precision: rounding would change what was aggregated
        name = kwargs.pop("name", f"{entity}_graph_tower")
        super().__init__(entity, name=name, dtype="float32", **kwargs)
        self.encoder = encoder
        self.base = encoder.bases[entity]
        self.takes_history = entity == "user"

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def tables(self):
        """The base's codes by row."""
        return self.base.tables

    @property
    def num_rows(self) -> int:
        return self.base.num_rows

    @property
    def identity(self):
        return self.base.identity

    @identity.setter
    def identity(self, identity):
        self.base.identity = identity

    @property
    def raw_columns(self):
        return self.base.raw_columns

    def vocabularies(self) -> list:
        return self.base.vocabularies()

    @property
    def adapted(self) -> bool:
        return self.base.adapted  # it is built later, with the encoder

    def _adapt(self, train, catalog):
        self.base.adapt(train, catalog)
        if context := self.base.needs().context:
            raise ValueError(
                f"{context[0].name!r} comes with a request alone, and a node of a graph has none: "
                f"the {self.entity} tower of a graph model needs columns of the side table"
            )

    def inputs_from_raw(self, rows, raw, history=None):
        inputs = self.base.inputs_from_raw(rows, raw)
        return inputs if history is None else {**inputs, "history": history}

    def build_from_config(self, config: dict) -> None:
        encoder = self.encoder
        self.pooled = []
        self.sent = []
        for layer, convolutions in enumerate(encoder.convolutions):
            names = encoder.relations(layer, self.entity)
            self.pooled.append(
                {
                    name: self._table(f"pooled_{layer + 1}_{name}", self.num_rows, of.pool_dim)
                    for name, of in convolutions.items()
                    if name in names
                }
            )
            if self.takes_history:
                of_items = convolutions[self.history_relation]
                near = encoder.bases["item"].num_rows
                self.sent.append(self._table(f"sent_{layer + 1}", near, of_items.message_dim))
        self.built = True

    @property
    def history_relation(self) -> str:
        """The relation whose neighbors a request's history replaces: the first to items."""
        ends = self.entity, "item"
        return next(name for name, own in self.encoder.over.items() if own == ends)

    def _table(self, name, num_rows, dim):
        return self.add_weight(
            name=name, shape=(num_rows, dim), initializer="zeros", trainable=False
        )

    def get_build_config(self) -> dict | None:
        return {} if self.built else None

    def refresh(self, layers: list[dict]) -> None:
        """Stores the result of `GraphEncoder.over_all`."""
        for k, of_layer in enumerate(layers):
            for name, table in self.pooled[k].items():
                table.assign(of_layer["pooled"][name])
            if self.takes_history:
                self.sent[k].assign(of_layer["messages"][self.history_relation])

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        vectors = self.base(inputs, training=training)
        layers = [vectors]
        for k, convolutions in enumerate(self.encoder.convolutions):
            own = [convolutions[name] for name in self.pooled[k]]
            pooled = [self._pooled(k, name, vectors, inputs) for name in self.pooled[k]]
            combination = self.encoder.combinations[k].get(self.entity)
            vectors = combined(vectors, own, pooled, combination)
            layers.append(vectors)
        return self.encoder.finish(self.encoder.readout(layers))

    def _pooled(self, k, name, vectors, inputs):
        """What rows aggregate by a relation at layer k: `[B, P]`."""
        pooled = tf.gather(self.pooled[k][name].value, inputs[self.entity])
        if "history" not in inputs or name != self.history_relation:
            return pooled
        given = inputs["history"]  # [B, L]
        weights = tf.cast(given > 0, tf.float32)
        near = tf.gather(self.sent[k].value, given)
        of_given = self.encoder.convolutions[k][name].pool(vectors, near, weights)
        some = tf.reduce_any(given > 0, axis=1, keepdims=True)  # [B, 1]
        return tf.where(some, of_given, pooled)

    def end_step(self) -> None:
        self.base.end_step()


def sage_layers(
    dim: int, fan_outs: Sequence[int], aggregator: Aggregator, over: dict[str, tuple[str, str]]
) -> list[dict[str, SAGEConvolution]]:
    """A `SAGEConvolution` for each fan-out and relation, the last without activation.

    Args:
        dim: length of the vectors.
        fan_outs: how many neighbors each layer draws.
        aggregator: a pattern: each convolution gets an aggregator of its own like it.
        over: `{relation: (type, the type of its neighbors)}`.

    Raises:
        ValueError: no fan-out, or one below 1.
    """
    if not fan_outs or min(fan_outs) < 1:
        raise ValueError(
            f"fan_outs must name a number of neighbors of at least 1 for each layer, not {fan_outs}"
        )
    layers = []
    for left in reversed(range(len(fan_outs))):
        activation = "relu" if left else None
        convolutions = {}
        for relation in over:
            convolutions[relation] = SAGEConvolution(dim, like(aggregator), activation)
        layers.append(convolutions)
    return layers


def residual(
    layers: list[dict[str, Convolution]], over: dict[str, tuple[str, str]]
) -> list[dict[str, Gated]]:
    """The same layers, each of which adds to a node's own vector.

    Args:
        layers: `[{relation: convolution}]`.
        over: `{relation: (type, the type of its neighbors)}`; the first relation of a type brings
            the own vector, the others what they add alone.
    """
    first = {of_type: name for name, (of_type, _) in reversed(over.items())}
    return [
        {
            name: (Residual if first[over[name][0]] == name else Gated)(each)
            for name, each in layer.items()
        }
        for layer in layers
    ]
