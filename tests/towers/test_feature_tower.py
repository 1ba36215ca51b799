import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.features import Buckets, Categorical, Id, Numeric
from tf_recall.towers.features import FeatureTower

ITEMS = Vocabulary(["a", "b", "cold"], [5, 2, 0])
TABLE = pd.DataFrame({"brand": ["x", "y", "x"], "price": [1.0, 3.0, 1000.0]})
TRAIN = Interactions.from_columns(user_id=["u"], item_id=["a"])


def catalog(items=ITEMS, table=TABLE):
    """A catalog of made-up items and of one user."""
    histories = Histories(np.zeros(3, np.int64), np.zeros(0, np.int32))
    users = Vocabulary(["u"], [3])
    return Catalog(users, items, pd.DataFrame(index=[0]), table, histories)


def tower(*features, **kwargs):
    return FeatureTower(
        "item", features or [Id(4), Categorical("brand", 3), Numeric("price")], **kwargs
    )


def test_a_vector_is_the_normalized_concatenation():
    item = tower(normalize=True)
    item.adapt(TRAIN, catalog())
    id_, brand, _ = item.features
    vectors = item({"item": tf.constant([1, 2])}).numpy()
    # prices 1 and 3: mean 2, deviation 1
    for row, (brand_row, price) in enumerate([(1, -1.0), (2, 1.0)], start=1):
        parts = [
            id_.table.embeddings.numpy()[row],
            brand.table.embeddings.numpy()[brand_row],
            [price],
        ]
        expected = np.concatenate(parts)
        np.testing.assert_allclose(vectors[row - 1], expected / np.linalg.norm(expected), rtol=1e-5)


def test_features_are_fitted_on_what_training_has_seen():
    item = tower()
    item.adapt(TRAIN, catalog())  # the cold item's price of 1000 must not move mean and deviation
    assert item.features[2].mean.numpy() == 2 and item.features[2].deviation.numpy() == 1


def test_an_item_without_interactions_shares_the_id_vector_of_the_unknown():
    item = tower(Id(4), normalize=False)
    item.adapt(TRAIN, catalog(table=pd.DataFrame()))
    item.features[0].table.embeddings.assign(np.arange(16).reshape(4, 4))
    assert item({"item": tf.constant([3, 0])}).numpy().tolist() == [[0, 1, 2, 3]] * 2


def test_rows_do_not_mix():
    item = tower(units=[8, 4])
    item.adapt(TRAIN, catalog())
    together = item({"item": tf.constant([1, 2, 3])}).numpy()
    for row in (1, 2, 3):
        np.testing.assert_allclose(
            item({"item": tf.constant([row])}).numpy()[0], together[row - 1], rtol=1e-5
        )


def test_context_comes_with_the_batch():
    query = FeatureTower("user", [Id(4), Buckets("hour", num_buckets=4)])
    log = Interactions.from_columns(user_id=["u"] * 24, item_id=["a"] * 24, hour=range(24))
    query.adapt(log, catalog())
    assert [feature.name for feature in query.needs().context] == ["buckets_hour"]
    assert query({"user": tf.constant([1]), "buckets_hour": tf.constant([2])}).shape == (1, 12)
    with pytest.raises(ValueError, match="'buckets_hour' is context of the user tower"):
        query({"user": tf.constant([1])})


def test_a_request_overrides_the_table_only_where_it_says_something():
    item = tower()
    item.adapt(TRAIN, catalog())
    rows = tf.constant([1, 1, 0])
    raw = {"brand": tf.constant(["", "y", "x"]), "price": tf.constant([np.nan, 3, 1], tf.float64)}
    vectors = item(item.inputs_from_raw(rows, raw)).numpy()
    stored = item({"item": rows}).numpy()
    np.testing.assert_allclose(vectors[0], stored[0], rtol=1e-6)
    assert np.abs(vectors[1] - stored[1]).max() > 0.1
    # an unknown item has a vector from its attributes
    assert np.abs(vectors[2] - stored[2]).max() > 0.1
    np.testing.assert_allclose(item(item.inputs_from_raw(rows, {})).numpy(), stored, rtol=1e-6)


def test_raw_columns_tell_what_a_request_may_say():
    item = tower()
    item.adapt(TRAIN, catalog())
    assert {name: spec.dtype for name, spec in item.raw_columns.items()} == {
        "brand": tf.string,
        "price": tf.float64,
    }
    clash = tower(Categorical("price"), Numeric("price"))
    clash.adapt(TRAIN, catalog())
    with pytest.raises(ValueError, match="'price' is text to one feature"):
        _ = clash.raw_columns


def test_errors():
    with pytest.raises(ValueError, match="'color'; there are .*brand"):
        tower(Categorical("color")).adapt(TRAIN, catalog())
    with pytest.raises(ValueError, match="distinct names"):
        tower(Categorical("brand"), Categorical("brand"))
    with pytest.raises(ValueError, match="needs features"):
        FeatureTower("item", [])
    query = FeatureTower("user", [Buckets("hour")])
    log = Interactions.from_columns(user_id=["u", "u"], item_id=["a", "b"], hour=[1, 2])
    query.adapt(log, catalog())
    with pytest.raises(ValueError, match="the request lacks 'hour'"):
        query.inputs_from_raw(tf.constant([1]), {})


def test_ids_of_few_events_have_no_vector_of_their_own():
    """With min_count 3, b (2 events) and the unseen c are the unknown id; a is itself."""
    item = FeatureTower("item", [Id(4, min_count=3)])
    item.adapt(TRAIN, catalog(Vocabulary(["a", "b", "c"], [3, 2, 0]), pd.DataFrame()))
    vectors = item({"item": tf.range(4)}).numpy()
    np.testing.assert_array_equal(vectors[2:], vectors[[0, 0]])
    assert np.abs(vectors[1] - vectors[0]).max() > 0
    again = FeatureTower.from_config(item.get_config())
    assert again.features[0].min_count == 3
    with pytest.raises(ValueError, match="min_count must be at least 1, not 0"):
        Id(4, min_count=0)


def test_a_tower_over_more_rows_knows_what_it_knew():
    """Rows 1 and 2 keep their vectors; row 3 has the genre of row 1, and no id that was learned."""
    vocabulary = Vocabulary.fit(["a", "a", "b"])
    tower = FeatureTower("item", [Id(4), Categorical("genre", 4)], units=[4])
    tower.adapt(TRAIN, catalog(vocabulary, pd.DataFrame({"genre": ["x", "y"]})))
    more = vocabulary.grown(["a", "b", "c"])
    grown = tower.grown(TRAIN, catalog(more, pd.DataFrame({"genre": [None, None, "x"]})))
    before, after = (each({"item": tf.range(3)}).numpy() for each in (tower, grown))
    np.testing.assert_array_equal(before, after)
    assert grown.num_rows == 4
    codes = [table.numpy() for table in grown.tables.values()]  # of the id, of the genre
    assert codes[1][3] == codes[1][1] and codes[0][3] == 0
    with pytest.raises(ValueError, match="needs column 'genre' of new rows"):
        tower.grown(TRAIN, catalog(more, pd.DataFrame({"title": ["", "", ""]})))
