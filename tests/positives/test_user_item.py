import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Categorical, Id
from tf_recall.positives import user_item
from tf_recall.towers.features import FeatureTower

FRAME = pd.DataFrame(
    {"user_id": ["u", "v", "u"], "item_id": ["a", "a", "b"], "device": ["ios", "web", "ios"], "weight": [1.0, 2.0, 0.5]}
)


def columns(frame=FRAME, of=FRAME, num_rivals=0):
    train = Interactions.from_frame(frame)
    catalog = Catalog.fit(train)
    tower = FeatureTower("user", [Id(2), Categorical("device")])
    tower.adapt(catalog.users, catalog.user_table, train.frame)
    return user_item(Interactions.from_frame(of), catalog, tower, num_rivals), catalog


def test_every_interaction_is_a_pair_of_rows():
    pairs, catalog = columns()
    assert catalog.users.decode(pairs["query"]["user"]).tolist() == ["u", "v", "u"]
    assert catalog.items.decode(pairs["item"]["item"]).tolist() == ["a", "a", "b"]
    assert pairs["query"]["categorical_device"].tolist() == [1, 2, 1]
    assert pairs["weight"].tolist() == [1.0, 2.0, 0.5]
    assert {pairs["query"]["user"].dtype, pairs["item"]["item"].dtype} == {np.dtype("int32")}


def test_pairs_of_unknown_items_are_left_out_with_all_their_columns():
    pairs, _ = columns(of=FRAME.assign(item_id=["a", "unheard of", "b"]))
    assert pairs["item"]["item"].tolist() == [1, 2]
    assert pairs["query"]["categorical_device"].tolist() == [1, 1]
    assert pairs["weight"].tolist() == [1.0, 0.5]


def test_rivals_come_in_rows_of_one_length():
    for lists in (["b", "", "unheard of|a|b"], [["b"], None, ("unheard of", "a", "b")]):
        of = FRAME.assign(rivals=pd.Series(lists, dtype=object))
        pairs, catalog = columns(of=of, num_rivals=2)
        assert pairs["rivals"].dtype == np.int32
        assert pairs["rivals"].tolist() == [[catalog.items.encode(["b"])[0], 0], [0, 0], [0, 1]]
        assert "rivals" not in columns(of=of)[0]


def test_rivals_of_integer_ids_may_be_text():
    frame = FRAME.assign(item_id=[7, 7, 8])
    pairs, _ = columns(frame, frame.assign(rivals=["8", "", "7|8"]), num_rivals=1)
    assert pairs["rivals"].tolist() == [[2], [0], [1]]


def test_rivals_that_are_not_there_are_asked_for():
    with pytest.raises(ValueError, match="asks for rivals"):
        columns(num_rivals=1)
