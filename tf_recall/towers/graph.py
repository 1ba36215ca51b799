"""Towers that compute a node's vector from its own features and its neighbors' vectors."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.typed import TypedGraph
from tf_recall.towers.aggregators import Aggregator
from tf_recall.towers.base import Tower
from tf_recall.towers.convolutions import Convolution, Residual, SAGEConvolution, unit_length

BLOCK = 8192  # rows encoded at once


class GraphEncoder(keras.layers.Layer):
    """Layers of convolutions over typed nodes (METHODS.md M13, M14), shared by both sides.

    h[0][v] = base(v)
    h[k][v] = convolution_k(h[k - 1][v], h[k - 1][u] of the neighbors u of v)
    vector[v] = normalize( head(h[last][v]) )

    Training aggregates a few neighbors of a batch's nodes, `tf_recall.graph.expand`; for serving
    all neighbors of all nodes are aggregated, layer by layer. The dropout of a base is that of the
    layers between convolutions too.

    Args:
        bases: `{type: tower}`, a `FeatureTower` for each type of nodes.
        layers: `[{type: convolution}]`, the first layer first.
        over: `{type: the type of its neighbors}`.
        head: a Keras layer `[B, dim] -> [B, dim]` for the last vectors; or None.

    Call: a subgraph `{"rows": {type: [n]}, "layers": {"1": {type: {"position": [m, K], "weight":
        [m, K]}}, ...}}` -> `{type: [S, dim]}`, the vectors of its seeds, of length 1.

    Raises:
        ValueError: a base has a history.
    """

    def __init__(
        self,
        bases: dict[str, Tower],
        layers: list[dict[str, Convolution]],
        over: dict[str, str],
        head: keras.layers.Layer | None = None,
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

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        return self.convolutions[-1]["item"].dim  # a head keeps it

    def build_from_config(self, config: dict) -> None:
        for of_type, tower in self.bases.items():
            if not tower.built:
                tower.build_from_config(config["bases"][of_type])
        sizes = {of_type: tower.dim for of_type, tower in self.bases.items()}
        for convolutions in self.convolutions:
            for of_type, convolution in convolutions.items():
                convolution.build((None, sizes[of_type]), (None, None, sizes[self.over[of_type]]))
            sizes = {of_type: convolution.dim for of_type, convolution in convolutions.items()}
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
        for k, convolutions in enumerate(self.convolutions, 1):
            below = vectors
            vectors = {}
            for t, near in subgraph["layers"][str(k)].items():
                sent = convolutions[t].messages(below[self.over[t]])  # [n, M]
                own = below[t][: tf.shape(near["position"])[0]]  # [m, D]
                messages = tf.gather(sent, near["position"])  # [m, K, M]
                pooled = convolutions[t].pool(own, messages, near["weight"])  # [m, P]
                vectors[t] = convolutions[t].update(own, pooled)
                if k < len(self.convolutions):
                    own_rows = rows[t][: tf.shape(own)[0]]  # [m]
                    vectors[t] = self.bases[t].dropped(vectors[t], own_rows, -k, training)
        return {t: self.finish(of_type) for t, of_type in vectors.items()}  # {type: [S, dim]}

    def finish(self, vectors: tf.Tensor) -> tf.Tensor:
        """The final vectors `[B, dim]`: those of the last layer through the head, of length 1."""
        vectors = vectors if self.head is None else self.head(vectors)
        return unit_length(vectors)

    def over_all(self, graph: TypedGraph) -> list[dict]:
        """Each layer's messages, pooled messages and vectors of all nodes: see `layerwise`."""
        return layerwise({t: self.base_vectors(t) for t in self.bases}, self.convolutions, graph)

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
    h[k] = update_k(h[k - 1], pooled[k][row])
    vector = normalize(head(h[last]))

    `pooled[k]` is the aggregate of the messages of all neighbors of each row at layer k; `refresh`
    fills it. A request may bring other neighbors, a user's `history`: they replace those of the
    training graph, so that a new user gets recommendations as if the graph held them.

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
        neighbor = self.encoder.over[self.entity]
        near = self.encoder.bases[neighbor].num_rows
        self.pooled = []
        self.sent = []
        for k, convolutions in enumerate(self.encoder.convolutions, 1):
            convolution = convolutions[self.entity]
            self.pooled.append(self._table(f"pooled_{k}", self.num_rows, convolution.pool_dim))
            if self.takes_history:
                self.sent.append(self._table(f"sent_{k}", near, convolution.message_dim))
        self.built = True

    def _table(self, name, num_rows, dim):
        return self.add_weight(
            name=name, shape=(num_rows, dim), initializer="zeros", trainable=False
        )

    def get_build_config(self) -> dict | None:
        return {} if self.built else None

    def refresh(self, layers: list[dict]) -> None:
        """Stores the result of `GraphEncoder.over_all`."""
        for k, of_layer in enumerate(layers):
            self.pooled[k].assign(of_layer["pooled"][self.entity])
            if self.takes_history:
                self.sent[k].assign(of_layer["messages"][self.encoder.over[self.entity]])

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        rows = inputs[self.entity]
        vectors = self.base(inputs, training=training)
        for k, convolutions in enumerate(self.encoder.convolutions):
            convolution = convolutions[self.entity]
            pooled = tf.gather(self.pooled[k].value, rows)  # [B, P]
            if "history" in inputs:
                given = inputs["history"]  # [B, L]
                weights = tf.cast(given > 0, tf.float32)
                of_given = convolution.pool(vectors, tf.gather(self.sent[k].value, given), weights)
                some = tf.reduce_any(given > 0, axis=1, keepdims=True)  # [B, 1]
                pooled = tf.where(some, of_given, pooled)
            vectors = convolution.update(vectors, pooled)
        return self.encoder.finish(vectors)

    def end_step(self) -> None:
        self.base.end_step()


def sage_layers(
    dim: int, fan_outs: Sequence[int], aggregator: Aggregator, over: dict[str, str]
) -> list[dict[str, Convolution]]:
    """A `SAGEConvolution` for each fan-out and type of nodes, the last without activation.

    Each is a `Residual`: it adds to a node's own vector.

    Args:
        dim: length of the vectors.
        fan_outs: how many neighbors each layer draws.
        aggregator: a pattern: each convolution gets an aggregator of its own like it.
        over: `{type: the type of its neighbors}`.

    Raises:
        ValueError: no fan-out, or one below 1.
    """
    if not fan_outs or min(fan_outs) < 1:
        raise ValueError(
            f"fan_outs must name a number of neighbors of at least 1 for each layer, not {fan_outs}"
        )
    config = keras.saving.serialize_keras_object(aggregator)
    layers = []
    for left in reversed(range(len(fan_outs))):
        activation = "relu" if left else None
        convolutions = {}
        for of_type in over:
            own = keras.saving.deserialize_keras_object(config)
            convolutions[of_type] = Residual(SAGEConvolution(dim, own, activation))
        layers.append(convolutions)
    return layers
