"""A graph of several types of nodes: users and items, items and what is said of them."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import is_missing, raw_ids
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.graph.csr import Graph


@dataclass(frozen=True, eq=False)
class TypedGraph:
    """Nodes of named types, each type with row numbers of its own, and one `Graph` for the edges
    between two types.

    Args:
        edges: `{(source type, target type): Graph}`. An edge that is to be followed both ways is in
            both.
        vocabularies: `{type: Vocabulary}`, what the rows of a type are called, where that is known.

    Raises:
        ValueError: no edges, or a type that has more rows in one graph (or its vocabulary) than in
            another.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)
        >>> graph.sizes
        {'user': 6041, 'item': 3707}
        >>> to, purchases = graph.over("user")      # "item" and the Graph of who bought what
    """

    edges: dict[tuple[str, str], Graph]
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)

    def __post_init__(self):
        if not self.edges:
            raise ValueError(
                "A typed graph needs the edges of at least one pair of types, got none."
            )
        said = [
            (type_, size)
            for pair, graph in self.edges.items()
            for type_, size in _sizes(pair, graph)
        ]
        said += [(type_, vocabulary.size) for type_, vocabulary in self.vocabularies.items()]
        for type_, size in said:
            if size != dict(said)[type_]:
                sizes = sorted({rows for name, rows in said if name == type_})
                raise ValueError(
                    f"Nodes of type {type_!r} must have one number of rows throughout, got {sizes}."
                )

    @classmethod
    def user_item(cls, train: Interactions, catalog: Catalog) -> "TypedGraph":
        """Types `user` and `item`, and an edge each way for each pair of the interactions that the
        catalog knows.

        weight = sum of the pair's interactions' `weight`, or how many there are where they have
        none

        Args:
            train: the training part.
            catalog: fitted on it.

        For more interactions than memory holds, `graph.build.build` makes the two graphs on disk.
        """
        users, items = (
            catalog.users.encode(train.frame["user_id"]),
            catalog.items.encode(train.frame["item_id"]),
        )
        known = (users > 0) & (items > 0)
        weights = train.frame["weight"].to_numpy()[known] if "weight" in train.frame else None
        graph = Graph.from_edges(
            users[known], items[known], weights, catalog.users.size, catalog.items.size
        )
        return cls(
            {("user", "item"): graph, ("item", "user"): graph.reverse()},
            {"user": catalog.users, "item": catalog.items},
        )

    @classmethod
    def item_attribute(
        cls, catalog: Catalog, column: str, separator: str | None = None
    ) -> "TypedGraph":
        """Types `item` and the column's name, and an edge each way between an item and each of its
        values.

        Row r of the values is the r-th commonest (`vocabularies[column]`). An item without a value
        has no edge.

        Args:
            catalog: whose `item_table` has the column: text, integers, or lists of them.
            column: such as "brand" or "genres".
            separator: what stands between two values of a text; None: a text is one value.

        Raises:
            ValueError: no such column, one called "item", or no value in it.

        Example:
            >>> TypedGraph.item_attribute(catalog, "genres", separator="|").sizes
            {'item': 3707, 'genres': 19}
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
        listed = cells.map(
            lambda cell: list(cell) if isinstance(cell, list | tuple | set | np.ndarray) else cell
        )
        exploded = listed.reset_index(drop=True).explode()
        values = raw_ids(
            exploded.map(lambda value: value.strip() if isinstance(value, str) else value), column
        )
        there = ~is_missing(values)
        if not there.any():
            raise ValueError(f"No item has a value of {column!r}: there are no edges to make.")
        values, items = values[there], exploded.index.to_numpy()[there] + 1
        pairs = pd.DataFrame({"item": items, "value": values}).drop_duplicates()
        vocabulary = Vocabulary.fit(pairs["value"])
        rows = vocabulary.encode(pairs["value"])
        graph = Graph.from_edges(
            pairs["item"].to_numpy(), rows, None, catalog.items.size, vocabulary.size
        )
        edges = {("item", column): graph, (column, "item"): graph.reverse()}
        return cls(edges, {"item": catalog.items, column: vocabulary})

    @classmethod
    def of_items(cls, graph: Graph) -> "TypedGraph":
        """One type, `item`: a square graph as of `Graph.from_sessions`, each edge followed both
        ways.

        weight of {i, j} = weight of (i, j) + weight of (j, i);  of (i, i): twice its own

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
        there, back = (
            np.concatenate([sources, graph.targets]),
            np.concatenate([graph.targets, sources]),
        )
        both = Graph.from_edges(there, back, np.concatenate([weights, weights]), graph.num_nodes)
        return cls({("item", "item"): both})

    @property
    def sizes(self) -> dict[str, int]:
        """`{type: rows}`, the unknown one included."""
        return dict(size for pair, graph in self.edges.items() for size in _sizes(pair, graph))

    def over(self, type_: str) -> tuple[str, Graph]:
        """The type that nodes of `type_` have their neighbors in, and the edges that lead there.

        Raises:
            ValueError: edges from that type lead to none, or to several.
        """
        leading = {pair: graph for pair, graph in self.edges.items() if pair[0] == type_}
        if len(leading) != 1:
            raise ValueError(
                f"Nodes of type {type_!r} must have neighbors in one type, got {sorted(leading)} "
                "of the edges "
                f"{sorted(self.edges)}."
            )
        ((_, neighbor_type), graph), *_ = leading.items()
        return neighbor_type, graph


def _sizes(pair, graph):
    return zip(pair, (graph.num_nodes, graph.num_targets), strict=True)
