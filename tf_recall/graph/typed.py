"""A graph of several types of nodes, such as users and items, or items and their brands."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import is_missing, raw_ids
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.graph.csr import Graph

MANY = (list, tuple, set, np.ndarray)  # cells of a table that hold several values


@dataclass(frozen=True, eq=False)
class Relation:
    """Edges of one kind: from nodes of a type to those whose vectors they aggregate.

    Args:
        of: the type of the nodes that the edges lead from.
        near: the type of their neighbors.
        graph: the edges, with their weights.
        name: tells it from others; None: `<of>_<near>`.

    Example:
        >>> graph = Graph.from_edges([1, 2], [2, 1], None, num_nodes=3)
        >>> Relation("item", "item", graph).name
        'item_item'
        >>> Relation("item", "item", graph, name="bought_with").name
        'bought_with'
    """

    of: str
    near: str
    graph: Graph
    name: str | None = None

    def __post_init__(self):
        if self.name is None:
            object.__setattr__(self, "name", f"{self.of}_{self.near}")

    @property
    def ends(self) -> tuple[str, str]:
        """The two types: `(of, near)`."""
        return self.of, self.near

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """The rows of both types: `[(of, rows), (near, rows)]`."""
        return [(self.of, self.graph.num_nodes), (self.near, self.graph.num_targets)]


@dataclass(frozen=True, eq=False)
class TypedGraph:
    """Nodes of named types, and relations between them.

    Each type has row numbers of its own. Several relations may lead away from a type, two of them
    to one type too.

    Args:
        relations: with names that differ. An edge that is to be followed both ways is in two.
        vocabularies: `{type: Vocabulary}`, the raw ids of a type's rows, where they are known.

    Raises:
        ValueError: no relations, or two of one name; a type that has more rows in one graph (or its
            vocabulary) than in another.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)
        >>> sizes = graph.sizes                     # {"user": 6041, "item": 3707}
        >>> (bought,) = graph.over("user")          # its near is "item", its graph who bought what
        >>> bought is graph["user_item"]
        True
    """

    relations: Sequence[Relation]
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)

    def __post_init__(self):
        names = [relation.name for relation in self.relations]
        if not names:
            raise ValueError("A typed graph needs at least one relation, got none.")
        if len(set(names)) < len(names):
            raise ValueError(
                f"Relations need names that differ, got {names}: give one of them a `name`."
            )
        known = [size for relation in self.relations for size in relation.sizes]
        known += [(type_, vocabulary.size) for type_, vocabulary in self.vocabularies.items()]
        for type_, size in known:
            sizes = sorted({rows for name, rows in known if name == type_})
            if sizes != [size]:
                raise ValueError(
                    f"Nodes of type {type_!r} must have one number of rows throughout, got {sizes}."
                )

    @classmethod
    def user_item(cls, train: Interactions, catalog: Catalog) -> "TypedGraph":
        """The graph of users and the items that they interacted with, with edges both ways.

        weight = sum of `weight` over the pair's interactions, or their number without that column

        Interactions of users or items that the catalog does not know are left out.

        Args:
            train: the training part.
            catalog: fitted on it.

        For more interactions than memory holds, `graph.build.build` makes the two graphs on disk.
        """
        users = train.rows("user", catalog.users)
        items = train.rows("item", catalog.items)
        known = (users > 0) & (items > 0)
        weights = train.frame["weight"].to_numpy()[known] if "weight" in train.frame else None
        graph = Graph.from_edges(
            users[known], items[known], weights, catalog.users.size, catalog.items.size
        )
        return cls(both_ways("user", "item", graph), {"user": catalog.users, "item": catalog.items})

    @classmethod
    def item_attribute(
        cls, catalog: Catalog, column: str, separator: str | None = None
    ) -> "TypedGraph":
        """The graph of items and the values of one of their attributes, with edges both ways.

        The types are `item` and the name of the column. Row r of the values is the r-th most
        frequent (`vocabularies[column]`). An item without a value has no edge.

        Args:
            catalog: whose `item_table` has the column: text, integers, or lists of them.
            column: such as "brand" or "genres".
            separator: what divides the values of a text; None: a text is one value.

        Raises:
            ValueError: no such column, one called "item", or no value in it.

        Example:
            >>> graph = TypedGraph.item_attribute(catalog, "genres", separator="|")
            >>> sizes = graph.sizes     # {"item": 3707, "genres": 19}
        """
        table = catalog.item_table
        if column not in table or column == "item":
            raise ValueError(
                f"column must be one of the item table's, {list(table)}, and not 'item', got "
                f"{column!r}."
            )
        cells = table[column]
        if separator is not None:
            cells = cells.map(lambda cell: cell.split(separator) if isinstance(cell, str) else cell)
        cells = cells.map(lambda cell: list(cell) if isinstance(cell, MANY) else cell)
        listed = cells.reset_index(drop=True).explode()
        values = listed.map(lambda value: value.strip() if isinstance(value, str) else value)
        values = raw_ids(values, column)
        there = ~is_missing(values)
        if not there.any():
            raise ValueError(f"No item has a value of {column!r}: there are no edges to make.")
        values = values[there]
        items = listed.index.to_numpy()[there] + 1
        pairs = pd.DataFrame({"item": items, "value": values}).drop_duplicates()
        vocabulary = Vocabulary.fit(pairs["value"])
        rows = vocabulary.encode(pairs["value"])
        graph = Graph.from_edges(
            pairs["item"].to_numpy(), rows, None, catalog.items.size, vocabulary.size
        )
        return cls(both_ways("item", column, graph), {"item": catalog.items, column: vocabulary})

    @classmethod
    def of_items(cls, graph: Graph) -> "TypedGraph":
        """The graph of items alone, each edge of a square graph in both directions.

        weight of {i, j} = weight of (i, j) + weight of (j, i);  of (i, i): twice its own

        Args:
            graph: edges from items to items, such as `Graph.from_sessions`.

        Raises:
            ValueError: a graph that is not square.
        """
        if graph.num_nodes != graph.num_targets:
            raise ValueError(
                f"Edges must lead from items to items, got {graph.num_nodes} rows to "
                f"{graph.num_targets}."
            )
        sources = np.repeat(np.arange(graph.num_nodes), graph.degrees)
        weights = np.ones(graph.num_edges) if graph.weights is None else graph.weights
        there = np.concatenate([sources, graph.targets])
        back = np.concatenate([graph.targets, sources])
        both = Graph.from_edges(there, back, np.concatenate([weights, weights]), graph.num_nodes)
        return cls([Relation("item", "item", both)])

    @property
    def sizes(self) -> dict[str, int]:
        """`{type: rows}`, the unknown one included."""
        sizes = [relation.sizes for relation in self.relations]
        return dict(itertools.chain.from_iterable(sizes))

    def over(self, type_: str) -> list[Relation]:
        """The relations that lead away from nodes of `type_`."""
        return [relation for relation in self.relations if relation.of == type_]

    def __getitem__(self, name: str) -> Relation:
        """The relation of a name.

        Raises:
            ValueError: there is none.
        """
        known = {relation.name: relation for relation in self.relations}
        if name not in known:
            raise ValueError(f"The graph has no relation {name!r}, it has {sorted(known)}.")
        return known[name]


def both_ways(of: str, near: str, graph: Graph) -> list[Relation]:
    """The relations from one type to another and back, along the same edges.

    Example:
        >>> graph = Graph.from_edges([1], [2], None, num_nodes=3, num_targets=4)
        >>> [relation.name for relation in both_ways("user", "item", graph)]
        ['user_item', 'item_user']
    """
    return [Relation(of, near, graph), Relation(near, of, graph.reverse())]
