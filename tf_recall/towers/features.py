"""Towers over features: rows and context in, one vector out."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.base import Feature
from tf_recall.features.growing import before
from tf_recall.towers.base import Tower
from tf_recall.towers.dropout import RowDropout


class TowerOfFeatures(Tower):
    """A tower over features; a subclass defines `dim` and `unscaled`.

    The codes of a user or an item do not change while training, so `adapt` computes them once and
    keeps them in a table by row; a training step reads row numbers `[B]` and gathers. Context (the
    time of the request, the device) has no row: it comes with the batch.

    Args:
        entity: "user" or "item", the key under which row numbers arrive.
        features: a list of features with distinct names; with `Id` among them each id has a vector
            of its own.

    Call: as `Tower`.

    Raises:
        ValueError: no features, or two of one name; columns that differ in case alone; at `adapt`,
            a column that neither the side table nor the interactions have.
    """

    tunable_size = [16, 256, "log"]  # of the length of the vectors

    def __init__(self, entity: str, features: Sequence[Feature], **kwargs) -> None:
        super().__init__(entity, **kwargs)
        names = [feature.name for feature in features]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"a tower needs features with distinct names, and has {names}; give one of them a "
                "`name`"
            )
        columns = {column for feature in features for column in feature.columns}
        lower = [column.lower() for column in columns]
        if twins := sorted(column for column in columns if lower.count(column.lower()) > 1):
            raise ValueError(
                f"a tower's columns are inputs of one graph, which ignores case: rename one of "
                f"{', '.join(twins)}"
            )
        self.features = list(features)
        self.asked = {f.name: asked(f, features) for f in features if f.asks is not None}
        self.history_length = max(feature.history_length for feature in self.features)
        self.takes_history = self.history_length > 0

    def _adapt(self, train, catalog):
        codes = {f.name: self._learned(f, train, catalog) for f in self.features}
        stored = {name: of_rows for name, of_rows in codes.items() if of_rows is not None}
        self.num_rows = catalog.side(self.entity).vocabulary.size
        self.build_from_config(self._build_config(stored))
        for name, of_rows in stored.items():
            self.tables[name].assign(of_rows)

    def _learned(self, feature, train, catalog):
        """The codes of a feature by row; of a model that grows, what it knew stays."""
        earlier = before(self)
        if earlier is None or feature.name not in earlier.tables:
            return feature.learn(train, catalog, self.entity)
        side = catalog.side(self.entity)
        known = earlier.tables[feature.name].numpy()[side.origin]
        if lacking := [name for name in feature.columns if name not in side.table]:
            if not side.origin[1:].all():
                raise ValueError(
                    f"the {self.entity} tower needs column {lacking[0]!r} of new {self.entity}s: "
                    f"give a side table of {self.entity}s with it"
                )
            feature.go_on(before(feature), None)
            return known
        codes = feature.learn(train, catalog, self.entity)
        described = np.append(False, side.table.notna().any(axis=1))
        return feature.kept(codes, known, side.origin, described)

    def _grown(self, interactions, catalog):
        tower = type(self)(**{**self.get_config(), "features": self.features})
        num_rows = catalog.side(self.entity).vocabulary.size
        tower.build_from_config({**self.get_build_config(), "num_rows": num_rows})
        for feature in self.features:
            if feature.name in self.tables:
                codes = feature.grown(self.tables[feature.name].numpy(), catalog, self.entity)
                tower.tables[feature.name].assign(codes)
        for new, old in zip(tower.trainable_variables, self.trainable_variables, strict=True):
            new.assign(old)
        return tower

    def build_from_config(self, config: dict) -> None:
        self.num_rows = config["num_rows"]
        self.tables = {}
        for feature, of_feature in zip(self.features, config["features"], strict=True):
            if of_feature and not feature.built:
                feature.build_from_config(of_feature)
        for feature in self.features:
            if names := self.asked.get(feature.name):
                check_context(feature, names, config["stored"])
                size = sum(each.dim for each in self.features if each.name in names)
                feature.build_pooling((None, size))
            if feature.name in config["stored"]:
                shape = (self.num_rows, *feature.code_shape)
                self.tables[feature.name] = self.add_weight(
                    shape=shape,
                    dtype=feature.code_dtype,
                    trainable=False,
                    initializer="zeros",
                    name=f"codes_{feature.name}",
                )
        self.built = True

    def get_build_config(self) -> dict | None:
        return self._build_config(self.tables) if self.built else None

    def _build_config(self, stored):
        features = [feature.get_build_config() for feature in self.features]
        return {"num_rows": self.num_rows, "stored": list(stored), "features": features}

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        # half precision has no number for small lengths
        vector = tf.cast(self.unscaled(inputs, training), tf.float32)
        return tf.math.l2_normalize(vector, axis=-1) if self.normalize else vector  # [B, dim]

    def unscaled(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """The vector `[B, dim]` before `normalize`; its arguments are those of `call`."""
        raise NotImplementedError

    def vectors(self, inputs: dict, training: bool = False) -> list[tf.Tensor]:
        """Each feature's vectors: a list of `[B, dim of the feature]`."""
        found: dict[str, tf.Tensor] = {}
        for feature in sorted(self.features, key=lambda feature: feature.name in self.asked):
            query = [found[name] for name in self.asked.get(feature.name, ())]
            given = {"query": tf.concat(query, axis=1)} if query else {}
            codes = self.codes(feature, inputs)
            found[feature.name] = feature(codes, training=training, **given)
        return [found[feature.name] for feature in self.features]

    def codes(self, feature: Feature, inputs: dict) -> tf.Tensor:
        """A feature's codes, `[B, ...]`: those that came with the batch, or the stored ones."""
        given = feature.given(inputs)
        return self._stored(feature, inputs[self.entity]) if given is None else given

    def end_step(self) -> None:
        for feature in self.features:
            feature.end_step()

    def _stored(self, feature, rows):
        if feature.name not in self.tables:
            raise ValueError(
                f"{feature.name!r} is context of the {self.entity} tower: pass its codes beside "
                "the rows"
            )
        return tf.nn.embedding_lookup(self.tables[feature.name].value, rows)

    def needs(self):
        context = tuple(feature for feature in self.features if feature.name not in self.tables)
        gaps = any(feature.needs_gaps for feature in self.features)
        return super().needs().also(context=context, history=self.history_length, gaps=gaps)

    def vocabularies(self) -> list:
        return [each for feature in self.features for each in feature.vocabularies()]

    @property
    def raw_columns(self):
        specs = {}
        for feature in self.features:
            for column, spec in feature.raw_specs.items():
                if specs.setdefault(column, spec) != spec:
                    raise ValueError(
                        f"column {column!r} is text to one feature, a number to another: copy it"
                    )
        return specs

    def inputs_from_raw(self, rows, raw, history=None):
        inputs = super().inputs_from_raw(rows, raw, history)
        for feature in self.features:
            stored = self._stored(feature, rows) if feature.name in self.tables else None
            codes = feature.from_request(rows, raw, history, stored)
            if codes is not None:
                inputs[feature.name] = codes
        return inputs

    def get_config(self) -> dict:
        features = [keras.saving.serialize_keras_object(feature) for feature in self.features]
        return {**super().get_config(), "features": features}

    @classmethod
    def from_config(cls, config: dict) -> "TowerOfFeatures":
        features = [
            keras.saving.deserialize_keras_object(feature) for feature in config["features"]
        ]
        return cls(**{**config, "features": features})


def asked(feature: Feature, features: Sequence[Feature]) -> list[str]:
    """The names of the features of a tower whose vectors one of them asks with.

    Args:
        feature: one that asks.
        features: all of the tower.

    Raises:
        ValueError: none has such a name or column, or describes the user, or it asks too.
    """
    others = [each for each in features if each.asks is None]
    title = f"{type(feature.pooling).__name__} of {feature.name!r}"
    if not feature.asks:
        if found := [each.name for each in others if each.describes]:
            return found
        raise ValueError(
            f"{title} asks with the other features of its tower, and none describes the user: add "
            "one, such as Id(32), in a config `features: [{name: id}]`; or take LastAttention"
        )
    found = []
    for name in feature.asks:
        named = [each.name for each in others if name == each.name or name in each.columns]
        if not named:
            known = {key: None for each in others for key in (each.name, *each.columns)}
            raise ValueError(
                f"{title} asks with {name!r}, which is no other feature or column of its tower; "
                f"there are: {', '.join(known) or 'none'}"
            )
        found += named
    return list(dict.fromkeys(found))


def check_context(feature: Feature, query: Sequence[str], stored: Sequence[str]) -> None:
    """Refuses a query that is stored of each user, where it must come with the request.

    Raises:
        ValueError: a name of the query is stored.
    """
    if feature.pooling.of_request and (known := [name for name in query if name in stored]):
        raise ValueError(
            f"RequestAttention of {feature.name!r} asks with what comes with the request, and "
            f"{known[0]!r} is known of each user: take ProfileAttention"
        )


@keras.saving.register_keras_serializable("tf_recall")
class FeatureTower(TowerOfFeatures):
    """One side of a two-tower model: its features, concatenated, through an MLP (METHODS.md M8).

    `vector = normalize(MLP(concat(feature_1(code_1), ..., feature_n(code_n))))`

    Args:
        entity, features: as `TowerOfFeatures`.
        units: sizes of the MLP's layers, ReLU between them, none after the last; empty for no MLP.
        normalize: bring the vector to length 1, so that the dot product is the cosine.
        dropout: the share of numbers that training leaves out at random, of the concatenated
            features and of what each hidden layer gives, in a graph model between convolutions
            too; never of the last layer's.
        seed: of the dropout's draws.

    Call: as `Tower`.

    Raises:
        ValueError: as `TowerOfFeatures`, or `dropout` out of its range.

    Example:
        >>> features = [Id(32), Text("title"), MultiValued("genres")]
        >>> tower = FeatureTower("item", features, units=[64, 32])
        >>> tower.adapt(split.train, catalog)

    Paper: Huang et al. 2013, "Learning Deep Structured Semantic Models for Web Search using
        Clickthrough Data", section 3.
    """

    def __init__(
        self,
        entity: str,
        features: Sequence[Feature],
        units: Sequence[WholeFrom1] = (),
        normalize: bool = True,
        dropout: Share = 0.0,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(entity, features, **kwargs)
        self.units = list(units)
        self.normalize = normalize
        self.dropout = dropout
        self.seed = seed
        self.drop = RowDropout(dropout, seed, entity)
        last = len(self.units) - 1
        self.dense = [
            keras.layers.Dense(n, None if at == last else "relu") for at, n in enumerate(self.units)
        ]

    @property
    def width(self) -> int:
        """The length of a vector before the MLP."""
        return sum(feature.dim for feature in self.features)

    @property
    def dim(self) -> int:
        return self.units[-1] if self.units else self.width

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        width = self.width
        for layer in self.dense:
            layer.build((None, width))
            width = layer.units

    def unscaled(self, inputs, training=False):
        vector = tf.concat(self.vectors(inputs, training), axis=1)  # [B, sum of dims]
        return self.through(vector, inputs[self.entity], training)

    def through(self, vector: tf.Tensor, rows: tf.Tensor, training: bool) -> tf.Tensor:
        """Vectors `[B, width]` of rows `[B]` through the MLP: `[B, dim]`."""
        vector = self.dropped(vector, rows, 0, training)
        for depth, layer in enumerate(self.dense):
            if depth:
                vector = self.dropped(vector, rows, depth, training)
            vector = layer(vector)
        return vector  # [B, dim]

    def dropped(self, vectors, rows, depth, training):
        return self.drop(vectors, rows, depth=depth, training=training)

    def end_step(self) -> None:
        super().end_step()
        self.drop.end_step()

    def get_config(self) -> dict:
        own = ("units", "normalize", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
