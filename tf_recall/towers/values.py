"""The values of an attribute, such as genres, as nodes of a graph."""

import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.features.base import Feature
from tf_recall.features.words import VocabularyFeature
from tf_recall.graph.csr import Graph
from tf_recall.towers.base import Tower


class ValueTower(Tower):
    """A trained vector for each value of an items' attribute: the inputs of its nodes.

    vector[r] = the feature's table[r]

    Row r is row r of the feature's vocabulary; row 0, of values that training has not seen, has no
    edges.

    Args:
        feature: a feature with a vocabulary: `Categorical`, `MultiValued` or `Text`.

    Call: `{<the feature's column>: rows [B]}` -> `[B, dim]`.

    Raises:
        ValueError: another feature, or one of a column "user" or "item"; at `adapt`, a column that
            is not in the item table.
    """

    def __init__(self, feature: Feature, **kwargs) -> None:
        if not isinstance(feature, VocabularyFeature):
            raise ValueError(
                "an attribute whose values are nodes is a Categorical, MultiValued or Text, got "
                f"{type(feature).__name__}"
            )
        if feature.column in ("user", "item"):
            raise ValueError(
                f"the column {feature.column!r} is called as the users' or items' nodes are: "
                "rename it"
            )
        super().__init__(feature.column, **kwargs)
        self.feature = feature
        self.built = feature.built

    @property
    def dim(self) -> int:
        return self.feature.dim

    @property
    def num_rows(self) -> int:
        return self.feature.table.num_rows

    def _adapt(self, train, catalog):
        if self.entity not in catalog.item_table:
            raise ValueError(
                f"attributes need columns of the item table, {list(catalog.item_table)}, got "
                f"{self.entity!r}"
            )
        self.feature.learn(train, catalog, "item")
        self.built = True

    def edges(self, catalog: Catalog) -> Graph:
        """The edges from items to their values.

        Args:
            catalog: whose item table has the column.

        Raises:
            ValueError: it lacks it, as one that was loaded does.
        """
        if self.entity not in catalog.item_table:
            raise ValueError(
                f"the graph needs {self.entity!r} of the item table, and the catalog has "
                f"{list(catalog.item_table)}"
            )
        raw = self.feature.to_raw(catalog.item_table[self.entity])
        codes = self.feature.encode_column(raw).reshape(len(raw), -1)  # [items, L]
        line, place = np.nonzero(codes)
        pairs = np.unique(np.stack([line + 1, codes[line, place]]), axis=1)
        return Graph.from_edges(*pairs, None, catalog.items.size, self.num_rows)

    def build_from_config(self, config: dict) -> None:
        self.feature.build_from_config(config["feature"])
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"feature": self.feature.get_build_config()} if self.built else None

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        return self.feature.table(inputs[self.entity])
