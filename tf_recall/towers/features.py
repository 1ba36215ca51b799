"""Towers over features: rows and context in, one vector out."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.features import Id


class Tower(keras.layers.Layer):
    """One side of a model, over its features; a subclass makes one vector of what they say: `dim`
    and `unscaled`.

    The codes of a user or item do not change while training, so `adapt` computes them once and
    keeps them in a table by row; a training step reads `[B]` row numbers and gathers. Context (the
    time of the request, the device) has no row: it comes with the batch.

    Args:
        entity: "user" or "item", the key under which row numbers arrive.
        features: the features, `Id` among them where ids are to have vectors of their own.

    Call: `{entity: rows [B] int32, <feature name>: codes [B, ...] where it is context}` ->
        `[B, dim]` float32.

    Raises:
        ValueError: no features, two of one name, or a column that neither the side table nor the
            interactions have.
    """

    normalize = False  # whether the vector is brought to length 1
    takes_history = False  # whether a request may bring the items that a user interacted with

    def __init__(self, entity, features, **kwargs):
        super().__init__(name=kwargs.pop("name", f"{entity}_tower"), **kwargs)
        names = [feature.name for feature in features]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"a tower needs features with distinct names, and has {names}; give one of them a "
                "`name`"
            )
        self.entity, self.features = entity, list(features)

    @property
    def dim(self):
        """The length of the vector."""
        raise NotImplementedError

    def as_query(self, vectors):
        """This side's vectors `[B, dim]` as queries among their like: "more like this"."""
        return vectors

    def adapt(self, vocabulary, table=None, context=None):
        """Fits the features on what training has seen and encodes the side table.

        Args:
            vocabulary: the rows of this side, with training counts.
            table: side columns, one line per row from row 1 on.
            context: the training interactions; features whose column is not in `table` learn from
                them.
        """
        seen = vocabulary.counts[1:] > 0
        tables = {}
        for feature in self.features:
            if isinstance(feature, Id):
                feature.build_from_config({"num_rows": vocabulary.size})
                tables[feature.name] = feature.codes_of(vocabulary.counts)
            elif table is not None and set(feature.columns) <= set(table):
                raw = feature.to_raw(table[feature.column])
                feature.adapt(raw[seen])
                codes = feature.encode_column(raw)
                tables[feature.name] = np.concatenate(
                    [feature.encode_column(feature.nothing()), codes]
                )
            elif context is not None and set(feature.columns) <= set(context):
                feature.adapt(feature.to_raw(context[feature.column]))
            else:
                raise ValueError(self._lacks(feature, table, context))
        self.num_rows = vocabulary.size
        self.build_from_config(self._build_config(tables))
        for name, codes in tables.items():
            self.tables[name].assign(codes)

    def extended(self, vocabulary, table):
        """The same tower over more rows: what it learned is shared, rows it knows keep their codes.

        Args:
            vocabulary: its own, `extended`.
            table: side columns by row, of which those of the new rows are read.

        Raises:
            ValueError: the table lacks a column.
        """
        config = {**self.get_config(), "features": self.features}
        tower = type(self)(**config)
        codes = {}
        for feature in self.features:
            if feature.name not in self.tables:
                continue
            if lacking := set(feature.columns) - set(table):
                raise ValueError(
                    f"the {self.entity} tower asks for column {min(lacking)!r} of what is new"
                )
            old = self.tables[feature.name].numpy()
            new = np.zeros((vocabulary.size - self.num_rows, *old.shape[1:]), old.dtype)
            if feature.columns:  # an id that training has not seen is unknown
                raw = feature.to_raw(table[feature.column].iloc[self.num_rows - 1 :])
                new = feature.encode_column(raw) if len(raw) else new
            codes[feature.name] = np.concatenate([old, new])
        tower.build_from_config({**self.get_build_config(), "num_rows": vocabulary.size})
        for name, table_codes in codes.items():
            tower.tables[name].assign(table_codes)
        for new, old in zip(tower.trainable_variables, self.trainable_variables, strict=True):
            new.assign(old)
        return tower

    def _lacks(self, feature, table, context):
        places = [sorted(each) for each in (table, context) if each is not None]
        known = sorted({column for each in places for column in each})
        for column in feature.columns:
            if column not in known:
                return f"the {self.entity} tower asks for column {column!r}; there are {known}"
        return (
            f"{feature.name!r} of the {self.entity} tower needs its columns in one place; "
            f"there are {places}"
        )

    def build_from_config(self, config):
        self.num_rows, self.tables = config["num_rows"], {}
        for feature, of_feature in zip(self.features, config["features"], strict=True):
            if of_feature and not feature.built:
                feature.build_from_config(of_feature)
        for feature in self.features:
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

    def get_build_config(self):
        return self._build_config(self.tables) if self.built else None

    def _build_config(self, stored):
        features = [feature.get_build_config() for feature in self.features]
        return {"num_rows": self.num_rows, "stored": list(stored), "features": features}

    def call(self, inputs, training=False):
        # half precision has no number for small lengths
        vector = tf.cast(self.unscaled(inputs, training), tf.float32)
        return tf.math.l2_normalize(vector, axis=1) if self.normalize else vector  # [B, dim]

    def unscaled(self, inputs, training=False):
        """The vector `[B, dim]` before it is brought to length 1; takes what `call` takes."""
        raise NotImplementedError

    def vectors(self, inputs, training=False):
        """What each feature says: a list of `[B, dim of the feature]`."""
        return [
            feature(self.codes(feature, inputs), training=training) for feature in self.features
        ]

    def codes(self, feature, inputs):
        """The codes of a feature, `[B, ...]`: those that came with the batch, or the stored
        ones.
        """
        return (
            inputs[feature.name]
            if feature.name in inputs
            else self._stored(feature, inputs[self.entity])
        )

    def advance(self):
        """Ends a training step: features that draw at random draw anew in the next."""
        for feature in self.features:
            feature.advance()

    def _stored(self, feature, rows):
        if feature.name not in self.tables:
            raise ValueError(
                f"{feature.name!r} is context of the {self.entity} tower: pass its codes beside "
                "the rows"
            )
        return tf.nn.embedding_lookup(self.tables[feature.name].value, rows)

    def context(self):
        """The features that come with the batch instead of from the table."""
        return [feature for feature in self.features if feature.name not in self.tables]

    @property
    def raw_columns(self):
        """What a request may say of this side: `{column: tf.TensorSpec}`."""
        specs = {}
        for column, spec in (
            pair for feature in self.features for pair in feature.raw_specs.items()
        ):
            if specs.setdefault(column, spec) != spec:
                raise ValueError(
                    f"column {column!r} is text to one feature, a number to another: copy it"
                )
        return specs

    def inputs_from_raw(self, rows, raw):
        """The inputs of `call` from what a request says: its own values, and the stored ones where
        it says nothing.

        Args:
            rows: `[B]` int32, 0 for unknown.
            raw: `{column: [B, ...]}`, "" or NaN for missing; columns may be left out.
        """
        inputs = {self.entity: rows}
        for feature in self.features:
            stored = self._stored(feature, rows) if feature.name in self.tables else None
            lacking = [column for column in feature.columns if column not in raw]
            if lacking and stored is None:
                raise ValueError(f"the request lacks {lacking[0]!r}")
            if lacking != feature.columns:
                inputs[feature.name] = feature.encode_request(raw, stored)
        return inputs

    def get_config(self):
        features = [keras.saving.serialize_keras_object(feature) for feature in self.features]
        return {
            **super().get_config(),
            "entity": self.entity,
            "features": features,
        }

    @classmethod
    def from_config(cls, config):
        features = [
            keras.saving.deserialize_keras_object(feature) for feature in config["features"]
        ]
        return cls(**{**config, "features": features})


@keras.saving.register_keras_serializable("tf_recall")
class FeatureTower(Tower):
    """One side of a two-tower model (METHODS.md M8): features side by side, through an MLP, to unit
    length.

    `vector = normalize(MLP(concat(feature_1(code_1), ..., feature_n(code_n))))`

    Args:
        entity, features: as `Tower`.
        units: sizes of the MLP's layers, ReLU between them, none after the last; empty for no MLP.
        normalize: bring the vector to length 1, so that the dot product is the cosine.

    Call: as `Tower`.

    Example:
        >>> features = [Id(32), Text("title"), MultiValued("genres")]
        >>> tower = FeatureTower("item", features, units=[64, 32])
        >>> tower.adapt(catalog.items, catalog.item_table)

    Paper: Huang et al. 2013 (DSSM), section 3; Covington et al. 2016, section 3.
    """

    def __init__(self, entity, features, units=(), normalize=True, **kwargs):
        super().__init__(entity, features, **kwargs)
        self.units, self.normalize = list(units), normalize
        last = len(self.units) - 1
        self.dense = [
            keras.layers.Dense(n, None if at == last else "relu") for at, n in enumerate(self.units)
        ]

    @property
    def dim(self):
        return self.units[-1] if self.units else sum(feature.dim for feature in self.features)

    def build_from_config(self, config):
        super().build_from_config(config)
        width = sum(feature.dim for feature in self.features)
        for layer in self.dense:
            layer.build((None, width))
            width = layer.units

    def unscaled(self, inputs, training=False):
        vector = tf.concat(self.vectors(inputs, training), axis=1)  # [B, sum of dims]
        for layer in self.dense:
            vector = layer(vector)
        return vector  # [B, dim]

    def get_config(self):
        return {**super().get_config(), "units": self.units, "normalize": self.normalize}
