"""Typed graphs: edges of interactions and of attributes by hand, and types that do not fit
together.
"""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import Relation, TypedGraph, both_ways

ITEMS = pd.DataFrame(
    {
        "item_id": [10, 20, 30, 40],
        "brand": ["acme", None, "zeta", "acme"],
        "genres": ["Drama|Comedy", "Drama", "", " Noir |Drama|Drama"],
        "tags": [["a", "b"], [], ["b"], None],
        "year": [1999, np.nan, 2001, 1999],
        "nothing": [None, None, None, None],
    }
)


def train(**columns):
    """Rows: users ann 1, bob 2; items 20, 10, 30, and 40, which nobody has."""
    return Interactions.from_columns(
        ["ann", "bob", "ann", "ann", "bob"], [20, 20, 10, 20, 30], items=ITEMS, **columns
    )


def edges(graph, sources, targets):
    """`{(raw source, raw target): weight}`."""
    rows = np.repeat(np.arange(graph.num_nodes), graph.degrees)
    weights = np.ones(graph.num_edges) if graph.weights is None else graph.weights
    pairs = zip(sources.decode(rows).tolist(), targets.decode(graph.targets).tolist(), strict=True)
    return dict(zip(pairs, weights.tolist(), strict=True))


def test_users_and_items_both_ways_by_hand():
    catalog = Catalog.fit(train())
    typed = TypedGraph.user_item(train(), catalog)
    assert typed.sizes == {"user": 3, "item": 5}
    (bought,), (back,) = typed.over("user"), typed.over("item")
    assert (bought.name, back.name) == ("user_item", "item_user") and bought.ends == (
        "user",
        "item",
    )
    has, had_by = bought.graph, back.graph
    assert has.num_targets == 5 and had_by.num_targets == 3
    expected = {("ann", 20): 2, ("ann", 10): 1, ("bob", 20): 1, ("bob", 30): 1}
    assert edges(has, catalog.users, catalog.items) == expected
    assert edges(had_by, catalog.items, catalog.users) == {
        pair[::-1]: weight for pair, weight in expected.items()
    }
    assert had_by.degrees[[0, *catalog.items.encode([40])]].tolist() == [0, 0]


def test_weights_are_added_up_and_unknown_sides_left_out():
    catalog = Catalog.fit(train())
    later = Interactions.from_columns(
        ["ann", "ann", "eve", "bob"], [20, 20, 10, 99], weight=[0.5, 2, 1, 1]
    )
    typed = TypedGraph.user_item(later, catalog)
    assert edges(typed["user_item"].graph, catalog.users, catalog.items) == {("ann", 20): 2.5}
    once = Interactions.from_columns(["ann", "bob"], [20, 20])
    assert TypedGraph.user_item(once, catalog)["item_user"].graph.weights is None


@pytest.mark.parametrize(
    ("column", "separator", "expected"),
    [
        ("brand", None, {(10, "acme"), (40, "acme"), (30, "zeta")}),
        (
            "genres",
            "|",
            {(10, "Drama"), (10, "Comedy"), (20, "Drama"), (40, "Noir"), (40, "Drama")},
        ),
        ("genres", None, {(10, "Drama|Comedy"), (20, "Drama"), (40, "Noir |Drama|Drama")}),
        ("tags", None, {(10, "a"), (10, "b"), (30, "b")}),
        ("year", None, {(10, 1999), (30, 2001), (40, 1999)}),
    ],
)
def test_items_and_attributes_by_hand(column, separator, expected):
    catalog = Catalog.fit(train())
    typed = TypedGraph.item_attribute(catalog, column, separator)
    values = typed.vocabularies[column]
    assert typed.sizes == {"item": 5, column: values.size}
    assert edges(typed[f"item_{column}"].graph, catalog.items, values) == dict.fromkeys(expected, 1)
    ((back_to, graph),) = ((each.near, each.graph) for each in typed.over(column))
    assert back_to == "item" and edges(graph, values, catalog.items) == {
        pair[::-1]: 1 for pair in expected
    }
    assert graph.degrees[1] == graph.degrees.max()  # the commonest value is row 1


def test_items_with_items_both_ways_by_hand():
    """1 to 2 thrice and 2 to 1 once are 4 both ways; 3 to 1 is one way; 2 to itself counts for both
    its ends.
    """
    typed = TypedGraph.of_items(Graph.from_edges([1, 2, 3, 2], [2, 1, 1, 2], [3, 1, 5, 1], 4))
    graph = typed["item_item"].graph
    assert typed.sizes == {"item": 4}
    assert graph.offsets.tolist() == [0, 0, 2, 4, 5] and graph.targets.tolist() == [2, 3, 1, 2, 1]
    assert graph.weights.tolist() == [4, 5, 4, 2, 5]
    one = TypedGraph.of_items(Graph.from_edges([1], [2], None, 4))
    assert one["item_item"].graph.targets.tolist() == [2, 1]


def test_several_relations_at_a_type():
    """Items bought with others and items like others are two relations; users and items a third."""
    of, among = Graph.from_edges([1], [2], [1], 3, 4), Graph.from_edges([1], [2], None, 4)
    with_, like = Relation("item", "item", among, "with"), Relation("item", "item", among, "like")
    typed = TypedGraph([*both_ways("user", "item", of), with_, like])
    assert [each.name for each in typed.over("item")] == ["item_user", "with", "like"]
    assert [each.name for each in typed.over("user")] == ["user_item"] and not typed.over("shop")
    assert typed["like"] is like and typed.sizes == {"user": 3, "item": 4}
    with pytest.raises(ValueError, match=r"no relation 'item_item', it has \['item_user', 'like'"):
        typed["item_item"]
    with pytest.raises(ValueError, match=r"names that differ, got \['like', 'like'\]: give one"):
        TypedGraph([like, like])


def test_what_does_not_fit_is_named():
    catalog = Catalog.fit(train())
    of = Graph.from_edges([1], [2], [1], 3, 4)
    with pytest.raises(
        ValueError, match="'item' must have one number of rows throughout, got .4, 5."
    ):
        back = Graph.from_edges([1], [2], [1], 5, 3)
        TypedGraph([Relation("user", "item", of), Relation("item", "user", back)])
    with pytest.raises(
        ValueError, match="'user' must have one number of rows throughout, got .3, 5."
    ):
        TypedGraph([Relation("user", "item", of)], {"user": catalog.items})
    with pytest.raises(ValueError, match="at least one relation, got none"):
        TypedGraph([])
    with pytest.raises(ValueError, match="got 3 rows to 4"):
        TypedGraph.of_items(of)
    for column in ("color", "item"):
        with pytest.raises(
            ValueError, match=f"column must be one of the item table's, .'brand', .*got '{column}'"
        ):
            TypedGraph.item_attribute(catalog, column)
    with pytest.raises(ValueError, match="No item has a value of 'nothing'"):
        TypedGraph.item_attribute(catalog, "nothing")
