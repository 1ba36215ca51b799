"""Four shards answer as one."""

import numpy as np
import pytest

from tf_recall.index import IVF, Exact, Sharded

DRAWS = np.random.default_rng(0)
CENTERS = DRAWS.standard_normal([30, 12])
VECTORS = CENTERS[DRAWS.integers(30, size=2003)] + 0.4 * DRAWS.standard_normal([2003, 12])
VECTORS = VECTORS.astype(np.float32)
QUERIES = VECTORS[::40] + 0.2
EXCLUDE = DRAWS.integers(-1, 2003, size=[len(QUERIES), 300])


@pytest.mark.parametrize("exclude", [None, EXCLUDE])
def test_shards_of_exact_are_exact(exclude):
    whole = Exact().build(VECTORS).search(QUERIES, 100, exclude)
    index = Sharded(4, of=Exact()).build(VECTORS)
    assert [part.num_items for part in index.parts] == [501, 501, 501, 500] and index.recall == 1
    scores, positions = index.search(QUERIES, 100, exclude)
    np.testing.assert_array_equal(positions, whole[1])
    np.testing.assert_allclose(scores, whole[0], rtol=1e-6)


def test_equal_scores_come_in_the_order_of_one_index():
    vectors = np.repeat(VECTORS[:10], 40, axis=0)
    whole = Exact().build(vectors).search(QUERIES, 60)
    found = Sharded(4).build(vectors).search(QUERIES, 60)
    np.testing.assert_array_equal(found[1], whole[1])


@pytest.mark.slow
def test_shards_of_ivf_find_what_each_promises():
    index = Sharded(4, of=IVF(min_recall=0.9)).build(VECTORS, QUERIES)
    assert min(part.recall for part in index.parts) >= 0.9
    assert index.recall >= 0.9
    exact = Exact().build(VECTORS).search(QUERIES, 50)[1].numpy()
    found = index.search(QUERIES, 50)[1].numpy()
    shared = [len(set(a) & set(b)) / 50 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) >= 0.9


def test_settings_of_the_parts_are_those_given():
    index = Sharded(3, of=IVF(num_lists=7)).build(VECTORS)
    assert {part.num_lists for part in index.parts} == {7} and index.of.num_items is None
    with pytest.raises(ValueError, match="shards must be 1 or more, got 0"):
        Sharded(0)
