"""Windows over random walks: every node's walks, windows cut at dead ends, batches that follow seed
and step.
"""

from collections import Counter

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByGap, Sessions
from tf_recall.features.needs import Needs
from tf_recall.graph.csr import Graph
from tf_recall.positives import Walks, stream
from tf_recall.positives.stream import SIZE
from tf_recall.positives.walks import walk_blocks


def sessions_of(*lists):
    items = np.concatenate(lists).astype(np.int32)
    return Sessions(np.cumsum([0, *map(len, lists)]), items, np.ones(len(lists), np.int32))


def random_sessions(num=60, longest=8, num_items=40):
    rng = np.random.default_rng(0)
    return sessions_of(
        *(rng.integers(1, num_items + 1, length) for length in rng.integers(2, longest + 1, num))
    )


def pairs(batches, epoch=0):
    """How often each pair comes in an epoch."""
    found = Counter()
    for step in range(epoch * len(batches), (epoch + 1) * len(batches)):
        batch = batches.at(step)
        window = (batch["item"].shape[1] - SIZE) // 2
        for row, left, right in zip(
            batch["item"].tolist(), batch["left"], batch["right"], strict=True
        ):
            for place in range(window, window + SIZE):
                near = row[place - left[place - window] : place + right[place - window] + 1]
                found.update((row[place], item) for item in near if item != row[place])
    return found


def test_a_chain_by_hand():
    """1 2 3 4 is all there is: walks from 1, 2 and 3 end at 4 whatever is drawn, three of each an
    epoch.

    Window 2 over 1 2 3 4: 12 13 23 24 34; over 2 3 4: 23 24 34; over 3 4: 34; both ways.
    """
    batches = Walks(num_walks=3, length=10, window=2).batches_of(sessions_of([1, 2, 3, 4]), 10**6)
    one_way = {(1, 2): 3, (1, 3): 3, (2, 3): 6, (2, 4): 6, (3, 4): 9}
    for epoch in range(2):
        assert pairs(batches, epoch) == {
            **one_way,
            **{pair[::-1]: count for pair, count in one_way.items()},
        }
    assert batches.num_events == 3 * (4 + 3 + 2)


def test_length_ends_a_walk():
    """One step over 1 2 3 4: the pairs are the edges, however wide the window."""
    batches = Walks(num_walks=1, length=1, window=5).batches_of(sessions_of([1, 2, 3, 4]), 10**6)
    assert set(pairs(batches)) == {(1, 2), (2, 1), (2, 3), (3, 2), (3, 4), (4, 3)}


def test_walks_join_what_no_session_holds_together():
    """1 2 and 2 3 are two sessions: on a walk 3 is near 1."""
    batches = Walks(num_walks=1, length=2, window=2).batches_of(sessions_of([1, 2], [2, 3]), 10**6)
    assert pairs(batches)[1, 3] == 1


def test_every_node_starts_as_often_whatever_the_block():
    graph = Graph.from_sessions(random_sessions(), 41)
    for num_events in (8, 100, 10**6):
        blocks = list(walk_blocks(graph, 3, 6, num_events, np.random.default_rng(0)))
        starts = np.concatenate([block.items[block.offsets[:-1]] for block in blocks])
        assert np.bincount(starts, minlength=41).tolist() == (3 * (graph.degrees > 0)).tolist()
        assert not np.array_equal(*starts.reshape(3, -1)[:2])  # in another order each round
        assert sum(block.share for block in blocks) == pytest.approx(1)
        assert max(len(block.items) for block in blocks) <= max(num_events, 7)
        for block in blocks:
            lengths = np.diff(block.offsets)
            assert lengths.min() >= 2 and lengths.max() <= 7 and np.all(block.items > 0)


def test_neighbors_follow_the_edges():
    """1 is followed by 2 three times, by 3 once: of walks of one step from 1, three quarters go to
    2.
    """
    sessions = sessions_of([1, 2], [1, 2], [1, 2], [1, 3])
    found = pairs(Walks(num_walks=1000, length=1, window=1).batches_of(sessions, 10**6))
    assert found[1, 2] + found[1, 3] == 1000
    assert abs(found[1, 2] / 1000 - 0.75) < 0.08  # six deviations


def test_subsampling_thins_the_frequent():
    """1 is half of the events, so alpha 0.02 keeps a fifth of its places on walks; 2 and 3 keep
    sqrt(0.02 / 0.25).
    """
    sessions = sessions_of([1, 2, 1, 3] * 50)
    thin, full = (
        Walks(num_walks=300, length=9, window=1, alpha=alpha).batches_of(sessions, 10**6)
        for alpha in (0.02, None)
    )
    shares = [Counter() for _ in range(2)]
    for share, batches in zip(shares, (thin, full), strict=True):
        for (center, _), count in pairs(batches).items():
            share[center] += count
    assert set(pairs(full)) == {(1, 2), (2, 1), (1, 3), (3, 1)}
    assert pairs(thin)[2, 3] > 0  # the 1 between them is dropped
    assert shares[0][1] / shares[0].total() < shares[1][1] / shares[1].total()


def test_batches_follow_seed_epoch_and_step(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_EVENTS", 50)
    recipe = Walks(num_walks=2, length=5, window=2, alpha=0.05)
    batches, other = (recipe.batches_of(random_sessions(), 32, seed) for seed in (0, 1))
    assert len(batches) > 2
    assert pairs(batches) == pairs(recipe.batches_of(random_sessions(), 32, 0))
    assert pairs(batches) != pairs(other) and pairs(batches) != pairs(batches, epoch=1)
    for start in (0, len(batches) - 1, len(batches) + 1):
        for step, batch in enumerate(batches.dataset(start).take(4).as_numpy_iterator(), start):
            keras.tree.map_structure(np.testing.assert_array_equal, batch, batches.at(step))


def test_from_interactions_and_back_from_the_config():
    log = Interactions.from_columns(
        user_id=list("uuuv"), item_id=list("abcd"), timestamp=[0, 10, 5000, 0]
    )
    recipe = Walks(ByGap(100), num_walks=3, length=4, window=3, alpha=0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(recipe))
    assert type(again) is Walks and again.get_config() == recipe.get_config()
    catalog = Catalog.fit(log)
    for walks in (Walks(ByGap(100)), recipe):
        found = {
            "".join(catalog.items.decode(list(pair)))
            for pair in pairs(walks.batches(log, catalog, Needs("item"), 8))
        }
        assert found <= {"ab", "ba"}


def test_what_cannot_be_walked():
    with pytest.raises(ValueError, match="no session or walk has two different items"):
        Walks().batches_of(sessions_of([1], [2, 2]), 8)
    for name in ("num_walks", "length", "window"):
        with pytest.raises(
            ValueError, match=f"{name} must be a whole number from 1 to 1000, got 0"
        ):
            Walks(**{name: 0})
