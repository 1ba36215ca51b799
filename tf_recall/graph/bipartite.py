"""What connects items: users, values of an attribute, sessions, words; a bipartite graph each."""

import keras
import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column
from tf_recall.data.sessions import ByGap, Recipe
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.features.bags import Text, values_of
from tf_recall.features.words import as_words
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import TypedGraph


class Bipartite:
    """Edges between items and something else; a subclass defines `name` and `edges`.

    Nothing is learned: of a catalog that has grown the edges are made anew.
    """

    name: str

    def edges(self, train: Interactions, catalog: Catalog) -> Graph:
        """The edges from items to what connects them, by the rows of the catalog.

        Args:
            train: the interactions.
            catalog: of their items.
        """
        raise NotImplementedError

    def hops(self, train: Interactions, catalog: Catalog) -> list[Graph]:
        """The graphs of a walk from items to items: there, and back."""
        there = self.edges(train, catalog)
        return [there, there.reverse()]

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Bipartite":
        return cls(**config)


@keras.saving.register_keras_serializable("tf_recall")
class UserEdges(Bipartite):
    """Items are connected by users who interacted with them."""

    name = "user"

    def edges(self, train, catalog):
        return TypedGraph.user_item(train, catalog)["item_user"].graph


@keras.saving.register_keras_serializable("tf_recall")
class AttributeEdges(Bipartite):
    """Items are connected by a value that they have in common, such as a brand or a genre.

    Args:
        column: of the item table: text, numbers, or lists of them.
        separator: what divides the values of a text.

    Raises:
        ValueError: when edges are made, the item table lacks the column.
    """

    def __init__(self, column: Column, separator: str = "|") -> None:
        self.column = column
        self.separator = separator
        self.name = f"attribute_{column}"

    def edges(self, train, catalog):
        lines, values = values_of(_column(catalog, self.column), self.separator)
        return _edges(lines, values, catalog)

    def get_config(self) -> dict:
        return {"column": self.column, "separator": self.separator}


@keras.saving.register_keras_serializable("tf_recall")
class WordEdges(Bipartite):
    """Items are connected by words of a text, such as the title.

    A walk through a frequent word ends at any of its many items, so those of rare words are visited
    more often.

    Args:
        column: of text of the item table.

    Raises:
        ValueError: when edges are made, the item table lacks the column.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self.name = f"words_{column}"

    def edges(self, train, catalog):
        text = Text(None, name="text")
        words = text.split(text.to_raw(_column(catalog, self.column)))
        return _edges(words.value_rowids().numpy(), as_words(words.flat_values), catalog)

    def get_config(self) -> dict:
        return {"column": self.column}


@keras.saving.register_keras_serializable("tf_recall")
class SessionEdges(Bipartite):
    """Items are connected by sessions that hold them.

    Args:
        sessions: the recipe that cuts interactions into sessions; None: `ByGap()`.
    """

    name = "session"

    def __init__(self, sessions: Recipe | None = None) -> None:
        self.sessions = ByGap() if sessions is None else sessions

    def edges(self, train, catalog):
        sessions = self.sessions(train, catalog)
        number = 1 + np.repeat(np.arange(len(sessions)), np.diff(sessions.offsets))
        num = catalog.items.size, 1 + len(sessions)
        return Graph.from_edges(np.asarray(sessions.items), number, None, *num)

    def get_config(self) -> dict:
        return {"sessions": keras.saving.serialize_keras_object(self.sessions)}

    @classmethod
    def from_config(cls, config: dict) -> "SessionEdges":
        return cls(keras.saving.deserialize_keras_object(config["sessions"]))


def _column(catalog, column):
    if column not in catalog.item_table:
        raise ValueError(
            f"the item table has no column {column!r} to connect items by; it has "
            f"{list(catalog.item_table)}"
        )
    return catalog.item_table[column]


def _edges(lines, values, catalog):
    """The edges from items to values, each once.

    Args:
        lines: `[n]`, of the item table.
        values: `[n]` texts.
    """
    vocabulary = Vocabulary.fit(values)
    pairs = np.unique(np.stack([lines + 1, vocabulary.encode(values)]), axis=1)
    return Graph.from_edges(*pairs, None, catalog.items.size, vocabulary.size)
