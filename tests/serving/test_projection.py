"""The map of items: its two directions, what a window holds, and its colors."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.recommend.embedding import EmbeddingRecommender
from tf_recall.serving.items import Items
from tf_recall.serving.page.colors import colors_of, columns_of
from tf_recall.serving.page.projection import ItemMap, points_of


class Known(EmbeddingRecommender):
    """Vectors that are given."""

    def __init__(self, vectors):
        self.item_ids = np.arange(len(vectors))
        self._known = vectors

    def embed_item(self, item_id, **context):
        return self._known[item_id]


def points(vectors):
    return points_of(Known(np.asarray(vectors, np.float32)), lambda share: None)


def test_the_directions_are_those_in_which_vectors_differ_most():
    # by hand: x differs by 2 about 0, z by 1, y not at all; a mean is taken off
    vectors = [[2, 5, 1], [2, 5, -1], [-2, 5, 1], [-2, 5, -1]]
    found = points(vectors)
    np.testing.assert_allclose(np.abs(found), [[2, 1]] * 4, atol=1e-5)
    assert len({tuple(np.sign(each)) for each in found}) == 4
    np.testing.assert_array_equal(points(vectors), found)


def test_few_items_or_dimensions_have_a_map():
    assert points([[1.0, 2.0]]).tolist() == [[0, 0]]
    found = points([[1.0], [3.0]])
    assert found[:, 1].tolist() == [0, 0] and abs(found[0, 0] - found[1, 0]) == pytest.approx(2)


def test_many_blocks_are_one_map():
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((10_000, 5)).astype(np.float32) * [5, 3, 1, 1, 1]
    found = points(vectors)
    centered = vectors - vectors.mean(axis=0)
    directions = np.linalg.svd(centered, full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(found), np.abs(centered @ directions.T), atol=0.02)


def test_counted_channels_are_drawn_by_who_took_what():
    # two groups of users, each with items of its own
    users = [f"u{at}" for at in range(20) for _ in range(3)]
    names = [f"{'a' if at < 10 else 'b'}{(at + step) % 5}" for at in range(20) for step in range(3)]
    log = Interactions.from_columns(user_id=users, item_id=names)
    catalog = Catalog.fit(log)
    multi = MultiChannel({"items": ItemCF().fit(log, catalog)}, catalog)
    found = points_of(multi, lambda share: None)
    group = np.array([each[0] == "a" for each in catalog.items.ids])
    middles = found[group].mean(axis=0), found[~group].mean(axis=0)
    spread = max(found[group].std(), found[~group].std())
    assert np.linalg.norm(middles[0] - middles[1]) > spread
    np.testing.assert_array_equal(points_of(multi, lambda share: None), found)


def test_a_map_can_be_given_up():
    def stop(share):
        raise ValueError("the server stops")

    with pytest.raises(ValueError, match="the server stops"):
        points_of(Known(np.zeros((5, 2), np.float32)), stop)


def test_a_window_holds_its_points_and_not_too_many():
    generator = np.random.default_rng(0)
    given = generator.standard_normal((5000, 2)).astype(np.float32)
    given[7] = np.nan
    drawn = ItemMap(given)
    assert len(drawn) == 4999 and drawn.place[7] == -1
    np.testing.assert_array_equal(np.stack([drawn.x, drawn.y], 1), given[drawn.row])
    window = drawn.window(-0.5, 1, 0, 2, most=100)
    inside = (given[:, 0] >= -0.5) & (given[:, 0] <= 1) & (given[:, 1] >= 0) & (given[:, 1] <= 2)
    assert window.total == inside.sum() and len(window.at) == 100
    assert inside[drawn.row[window.at]].all()
    narrow = drawn.window(0, 0.5, 0.5, 1, most=100)
    assert set(drawn.row[window.at]) & set(drawn.row[narrow.at]) == {
        row
        for row in drawn.row[window.at]
        if 0 <= given[row, 0] <= 0.5 and 0.5 <= given[row, 1] <= 1
    }  # who zooms in sees the same points, and more


def test_a_thinned_out_map_keeps_its_outline():
    crowd = np.random.default_rng(0).normal(0, 0.01, (20_000, 2))
    lone = np.array([[-5.0, -5], [5, 5], [-5, 5], [5, -5]])
    drawn = ItemMap(np.concatenate([crowd, lone]))
    window = drawn.window(-9, 9, -9, 9, most=300)
    assert {20_000, 20_001, 20_002, 20_003} <= set(drawn.row[window.at].tolist())
    assert ItemMap(np.zeros((0, 2))).bounds == [0, 1, 0, 1]


def known(**columns):
    ids = [str(at) for at in range(len(next(iter(columns.values()))))]
    vocabulary = Vocabulary(ids, range(len(ids), 0, -1))
    recommender = SimpleNamespace(catalog=SimpleNamespace(items=vocabulary))
    return Items(recommender, pa.table({"item_id": ids, **columns}))


def test_groups_are_the_most_frequent_values():
    genres = ["a|b"] * 4 + ["b|a"] * 3 + [None] + ["c"] * 2
    items = known(title=[f"t{at}" for at in range(10)], genres=genres, lists=[["x", "y"], []] * 5)
    assert columns_of(items) == ["genres", "lists", "popularity"]
    colors = colors_of(items, "genres")
    assert colors.labels == ["a", "b", "c", "unknown"] and not colors.ordered
    assert colors.group.tolist() == [0] * 4 + [1] * 3 + [3] + [2] * 2
    assert colors_of(items, "lists").group.tolist() == [0, 1] * 5


def test_rare_values_share_a_group():
    values = [f"v{at % 30:02}" for at in range(300)]
    colors = colors_of(known(values=values), "values")
    assert len(colors.labels) == 12 and colors.labels[-1] == "others"
    assert colors.group.max() == 11 and (colors.group == 11).sum() == 190


def test_numbers_have_steps():
    items = known(price=[*np.arange(80.0), np.nan])
    colors = colors_of(items, "price")
    assert colors.ordered and len(colors.labels) == 9 and colors.labels[-1] == "unknown"
    assert (np.diff(colors.group[:80].astype(int)) >= 0).all() and colors.group[80] == 8
    assert np.bincount(colors.group[:80]).tolist() == [9, 10, 10, 10, 10, 10, 10, 11]
    assert colors_of(known(price=[1.0, 1.0, 2.0]), "price").labels == ["1 to 2"]


def test_what_is_no_group_is_refused():
    items = known(title=list("abcdef"), texts=[f"a long text {at}" for at in range(6)])
    with pytest.raises(ValueError, match="cannot be colored by 'title'; they can by: popularity"):
        colors_of(items, "title")
