"""Items by title: columns by id whatever the table's order, and the search."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tf_recall.data.vocabulary import Vocabulary
from tf_recall.serving.items import Items, Texts


def items(table=None, ids=("b", "a", "c"), counts=(3, 2, 1), vocabulary=True):
    """Of a recommender with, or without, a catalog."""
    known = Vocabulary(list(ids), list(counts))
    catalog = SimpleNamespace(items=known) if vocabulary else None
    return Items(SimpleNamespace(catalog=catalog, item_ids=known.ids), table)


TABLE = pa.table({"item_id": ["a", "z", "b"], "title": ["Tea", "Zoo", "Bar"], "n": [1, 2, None]})


@pytest.mark.parametrize("vocabulary", [True, False])
def test_columns_are_those_of_the_item(vocabulary):
    known = items(TABLE, vocabulary=vocabulary)
    assert known.title == "title" and known.columns == ["title", "n"]
    assert known.about(["c", "a", "?", "b"], ["title", "n"]) == [
        {},
        {"title": "Tea", "n": 1},
        {},
        {"title": "Bar"},
    ]
    assert known.about(["a"], ["n", "n"]) == [{"n": 1}]
    assert known.titles(["b", "c"]) == ["Bar", None]
    assert known.rows(["c", "?", "b"]).tolist() == [2, -1, 0]


def test_without_a_table_ids_are_all_that_is_known():
    known = items()
    assert known.title is None and known.columns == [] and known.titles(["a"]) == [None]
    assert known.about(["a", "b"], []) == [{}, {}]
    with pytest.raises(ValueError, match="there is no column 'title' of items; there are: none"):
        known.about(["a"], ["title"])
    rows, total = known.find("C", 5)
    assert rows.tolist() == [2] and total == 1


def test_ids_of_other_kinds_are_met_as_text():
    table = pa.table({"item_id": [1, 2], "name": ["one", "two"]})
    assert items(table, ids=("2", "1"), counts=(1, 1)).titles(["1", "2"]) == ["one", "two"]
    table = pa.table({"item_id": ["1", "2"], "name": ["one", "two"]})
    assert items(table, ids=(2, 1), counts=(1, 1)).titles([1, 2]) == ["one", "two"]


def test_a_title_is_found_by_its_name_or_by_being_different():
    ids = [str(at) for at in range(20)]
    same = ["x", "y"] * 10
    titled = pa.table({"item_id": ids, "genre": same, "Name": same})
    assert items(titled, ids, range(20)).title == "Name"
    untitled = pa.table({"item_id": ids, "genre": same, "label": [f"l{at}" for at in ids]})
    assert items(untitled, ids, range(20)).title == "label"
    assert items(pa.table({"item_id": ids, "genre": same}), ids, range(20)).title is None


def test_a_search_asks_for_every_word_and_puts_the_best_first():
    titles = pa.array(["The Red House", "red", None, "House of RED", "Redder", "blue [a-z]"])
    texts = Texts([pa.array([7, 1, 2, 3, 4, 5]), titles])
    assert texts.find("red", 9)[0].tolist() == [1, 4, 0, 3]  # equal, begins, the others by row
    assert texts.find("  HOUSE   red ", 9)[0].tolist() == [0, 3]
    assert texts.find("[a-z]", 9)[0].tolist() == [5]  # a pattern is text
    assert texts.find("7", 9)[0].tolist() == [0]
    found, total = texts.find("red", 2)
    assert len(found) == 2 and total == 4
    found, total = texts.find("", 2)
    assert found.tolist() == [0, 1] and total == 6


def test_a_search_agrees_with_python():
    generator = np.random.default_rng(0)
    words = ["tea", "rum", "gin", "ale"]
    titles = [" ".join(generator.choice(words, 3)) for _ in range(300)]
    texts = Texts([pa.array(titles)])
    for query in ("tea rum", "gin", "ale tea gin"):
        wanted = {at for at, each in enumerate(titles) if all(w in each for w in query.split())}
        rows, total = texts.find(query, 1000)
        assert set(rows.tolist()) == wanted and total == len(wanted)
