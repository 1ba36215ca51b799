"""Windows: every pair where it belongs, subsampling and shrinking at their rates, batches that
follow seed and step.
"""

from collections import Counter

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn, ByGap, Sessions, WithConversion
from tf_recall.features.needs import Needs
from tf_recall.positives import ShrinkingWindows, Windows, stream
from tf_recall.positives.stream import SIZE
from tf_recall.positives.subsampling import keep_rates
from tf_recall.positives.windows import paired, segments, session_blocks, spans, subsample


def sessions_of(*lists, conversion=None):
    offsets = np.cumsum([0, *map(len, lists)])
    conversion = None if conversion is None else np.array(conversion, np.int32)
    return Sessions(
        offsets, np.concatenate(lists).astype(np.int32), np.ones(len(lists), np.int32), conversion
    )


def random_sessions(num, longest, num_items=30, seed=0, conversion=False):
    rng = np.random.default_rng(seed)
    lists = [rng.integers(1, num_items + 1, length) for length in rng.integers(1, longest + 1, num)]
    return sessions_of(
        *lists, conversion=rng.integers(0, num_items + 1, num) if conversion else None
    )


def counted(batches):
    """How often each pair, and each conversion pair, comes in `batches`."""
    pairs, conversion = Counter(), Counter()
    for batch in batches:
        window = (batch["item"].shape[1] - SIZE) // 2
        for row, left, right in zip(
            batch["item"].tolist(), batch["left"], batch["right"], strict=True
        ):
            for place in range(window, window + SIZE):
                near = row[place - left[place - window] : place + right[place - window] + 1]
                pairs.update((row[place], item) for item in near if item != row[place])
        centers = batch["item"][:, window:-window]
        for center, item in zip(
            centers.ravel(), batch.get("conversion", 0 * centers).ravel(), strict=True
        ):
            conversion.update([(int(center), int(item))] if item else [])
    return pairs, conversion


def slow(sessions, window):
    """The pairs of fixed windows, by loops."""
    pairs, conversion = Counter(), Counter()
    for s in range(len(sessions)):
        items = sessions.items[sessions.offsets[s] : sessions.offsets[s + 1]].tolist()
        for i, center in enumerate(items):
            for j in range(max(0, i - window), min(len(items), i + window + 1)):
                if items[j] != center:
                    pairs[center, items[j]] += 1
            if sessions.conversion is not None and sessions.conversion[s] not in (0, center):
                conversion[center, int(sessions.conversion[s])] += 1
    return pairs, conversion


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of forty events: two segments."""
    monkeypatch.setattr(stream, "BLOCK_EVENTS", 40)


def test_stretches_by_hand():
    """Sessions 5 6 7 8 and 9 5, reach 2: 6 has one place before it and two behind, and so on; then
    nothing.
    """
    items, offsets = np.array([5, 6, 7, 8, 9, 5], np.int32), np.array([0, 4, 6])
    left, right = spans(offsets, np.full(6, 2, np.int32))
    assert left.tolist() == [0, 1, 2, 2, 0, 1] and right.tolist() == [2, 2, 1, 0, 1, 0]
    rows = segments(
        items, left, right, range(6), window=3, conversion=np.array([8, 8, 8, 0, 5, 0], np.int32)
    )
    assert {name: column.shape for name, column in rows.items()} == {
        **{name: (1, SIZE) for name in ("left", "right", "conversion")},
        "item": (1, SIZE + 6),
    }
    assert rows["item"][0, :11].tolist() == [0, 0, 0, 5, 6, 7, 8, 9, 5, 0, 0]
    assert (
        rows["left"][0, :8].tolist() == [0, 1, 2, 2, 0, 1, 0, 0] and rows["right"][0, 6:].sum() == 0
    )
    assert rows["conversion"][0, :7].tolist() == [8, 8, 8, 0, 5, 0, 0]


def test_a_stretch_sees_its_neighbors():
    """Centers 33 to 64 of a long session, window 2: the places before and behind belong to other
    segments.
    """
    items = np.arange(1, 101, dtype=np.int32)
    left, right = spans(np.array([0, 100]), np.full(100, 2, np.int32))
    rows = segments(items, left, right, range(100), window=2)
    assert rows["item"].shape == (4, SIZE + 4) and rows["item"][1].tolist() == list(range(31, 67))
    part = segments(items, left, right, range(32, 64), window=2)
    assert part["item"].tolist() == rows["item"][1:2].tolist()


def test_reach_by_hand():
    """Reaches 1 2 0 1 in one session: the third sees nothing."""
    left, right = spans(np.array([0, 4]), np.array([1, 2, 0, 1], np.int32))
    assert left.tolist() == [0, 1, 0, 1] and right.tolist() == [1, 2, 0, 0]


def test_sequences_without_a_pair_take_no_place():
    """1; 2 2; 3 2 3; nothing; 4: only the third has a pair, and the last one where it led to 5, but
    not to 4.
    """
    items, offsets = np.array([1, 2, 2, 3, 2, 3, 4], np.int32), np.array([0, 1, 3, 6, 6, 7])
    left, ends, conversion = paired(items, offsets)
    assert left.tolist() == [3, 2, 3] and ends.tolist() == [0, 3] and conversion is None
    left, ends, conversion = paired(items, offsets, np.array([0, 2, 0, 5, 5], np.int32))
    assert (
        left.tolist() == [3, 2, 3, 4]
        and ends.tolist() == [0, 3, 4]
        and conversion.tolist() == [0, 5]
    )
    assert paired(items, offsets, np.array([0, 2, 0, 5, 4], np.int32))[0].tolist() == [3, 2, 3]
    assert paired(items[:0], np.array([0, 0]))[0].tolist() == []


@pytest.mark.parametrize("window", [1, 2, 5, 40])
@pytest.mark.parametrize("conversion", [False, True])
def test_an_epoch_holds_every_pair_once_both_ways(window, conversion):
    sessions = random_sessions(40, 12, conversion=conversion)
    batches = Windows(window=window).batches_of(sessions, batch_size=10**6)
    assert batches.steps_per_epoch == len(batches) == 1 and batches.num_events == len(
        sessions.items
    )
    pairs, conversion_pairs = slow(sessions, window)
    for epoch in range(2):
        assert counted([batches.at(epoch)]) == (pairs, conversion_pairs)
    assert all(pairs[item, center] == count for (center, item), count in pairs.items())


def test_blocks_lose_nothing(small_blocks, monkeypatch):
    """Also where one session is longer than a block, and where sessions are looked at six at a
    time.
    """
    monkeypatch.setattr("tf_recall.positives.windows.CHUNK_SESSIONS", 6)
    sessions = sessions_of(
        *np.split(random_sessions(60, 6).items, [3, 40, 41, 100, 103]),
        conversion=[1, 2, 0, 4, 5, 6],
    )
    monkeypatch.setattr(stream, "DRY_BLOCKS", 1000)
    batches = Windows(window=2).batches_of(sessions, batch_size=1)
    assert counted(map(batches.at, range(len(batches)))) == slow(sessions, 2)


def test_shrinking_windows_see_the_near_more_often():
    """One session of 40,000 different items, window 4: distance d in (4 - d + 1) / 4 of the
    centers' windows.
    """
    num, window = 40_000, 4
    batches = ShrinkingWindows(window=window).batches_of(
        sessions_of(np.arange(1, num + 1)), batch_size=10**6
    )
    pairs, _ = counted([batches.at(0)])
    distance = np.array([abs(center - item) for center, item in pairs.elements()])
    shares = np.bincount(distance, minlength=window + 2) / (2 * num)
    # five deviations of the widest
    np.testing.assert_allclose(shares, [0, 1, 0.75, 0.5, 0.25, 0], atol=0.01)


def test_a_frequent_item_is_kept_at_its_rate_and_windows_close_up():
    """Item 1 is half of the events: of alpha = 0.02, sqrt(0.02 / 0.5) = 0.2 stay. The others are
    below alpha.
    """
    num = 40_000
    items = np.stack([np.ones(num, int), np.arange(2, num + 2)], 1).ravel()
    keep = keep_rates(items, alpha=0.02)
    np.testing.assert_allclose(keep[[1, 2, num + 1]], [0.2, 1, 1], rtol=1e-6)
    kept, offsets = subsample(items, np.array([0, 2, len(items)]), keep, np.random.default_rng(0))
    assert abs(np.mean(kept == 1) - 0.2 / 1.2) < 0.01 and np.sum(kept > 1) == num
    assert offsets.tolist() == [0, np.flatnonzero(kept == 2)[0] + 1, len(kept)]

    pairs, _ = counted([Windows(window=1, alpha=0.02).batches_of(sessions_of(items), 10**6).at(0)])
    neighbors = sum(pairs[item, item + 1] for item in range(2, num + 1)) / (num - 1)
    assert abs(neighbors - 0.8) < 0.01  # they stand two apart unless the item between was dropped
    assert counted([Windows(window=1).batches_of(sessions_of(items), 10**6).at(0)])[0][2, 3] == 0


def centers_of(batch):
    window = (batch["item"].shape[1] - SIZE) // 2
    return batch["item"][:, window:-window]


def test_stretches_and_sessions_are_shuffled(monkeypatch):
    """In one session segments are not in order. Of a thousand sessions in ten blocks others come
    first each epoch.
    """
    batches = Windows(window=1).batches_of(sessions_of(np.arange(1, 3201)), 3200)
    centers = centers_of(batches.at(0))
    assert np.array_equal(np.sort(centers, axis=None), np.arange(1, 3201)) and np.all(
        np.diff(centers, axis=1) == 1
    )
    assert np.mean(np.diff(centers[:, 0]) == SIZE) < 0.1

    monkeypatch.setattr(stream, "BLOCK_EVENTS", 320)
    batches = Windows(window=1).batches_of(sessions_of(*np.arange(1, 3001).reshape(1000, 3)), 320)
    first = [
        set(centers_of(batches.at(epoch * len(batches))).ravel().tolist()) for epoch in range(2)
    ]
    assert len(first[0] & first[1]) < 0.3 * len(first[0])


@pytest.mark.parametrize("kind", [Windows, ShrinkingWindows])
def test_batches_follow_seed_epoch_and_step(small_blocks, kind):
    sessions = random_sessions(40, 12, conversion=True)

    def rows(epoch, seed=0):
        batches = kind(window=3, alpha=0.02).batches_of(sessions, 32, seed)
        steps = range(epoch * len(batches), epoch * len(batches) + 3)
        return [batches.at(step)["item"].tolist() for step in steps]

    assert rows(0) == rows(0) and rows(5) == rows(5)
    assert rows(0) != rows(1) and rows(1) != rows(2) and rows(0) != rows(0, seed=1)


@pytest.mark.parametrize("conversion", [False, True])
def test_start_is_where_an_uninterrupted_run_stands(small_blocks, conversion):
    batches = ShrinkingWindows(window=2, alpha=0.01).batches_of(
        random_sessions(40, 12, conversion=conversion), 32, seed=3
    )
    assert len(batches) > 2
    for start in (0, len(batches) - 1, len(batches), 2 * len(batches) + 1):
        read = batches.dataset(start).take(len(batches) + 1).as_numpy_iterator()
        for step, batch in enumerate(read, start):
            keras.tree.map_structure(np.testing.assert_array_equal, batch, batches.at(step))
    spec = batches.dataset().element_spec
    assert spec["item"].shape == (1, SIZE + 4) and spec["left"].shape == spec["right"].shape == (
        1,
        SIZE,
    )
    assert ("conversion" in spec) == conversion


def test_memory_is_that_of_a_block(monkeypatch, tmp_path):
    """Two million events on disk: what is made at a time stays below 2^18 centers."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "items.npy", rng.integers(1, 10_000, 2_000_000, np.int32))
    np.save(tmp_path / "offsets.npy", np.arange(0, 2_000_001, 20))
    items, offsets = (
        np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("items", "offsets")
    )
    batches = Windows().batches_of(Sessions(offsets, items, np.ones(100_000, np.int32)), 2048)
    sizes = [chunk["left"].size for chunk in batches._chunks(1)]
    assert sum(sizes) == 2048 * len(batches) and batches.num_events == 2_000_000
    assert sum(sizes) > 1_990_000 and max(sizes) <= 2**18
    events = [
        len(block.items)
        for block in session_blocks(Sessions(offsets, items, offsets[1:]), 2**17, rng)
    ]
    assert sum(events) == 2_000_000 and max(events) < 2**17 + 20 and len(events) <= 17


def test_one_session_of_a_million_events():
    """Here too rows are made by block, and the next item is in view of all but the last."""
    sessions = sessions_of(np.arange(1, 1_000_001))
    batches = Windows(window=1).batches_of(sessions, 4096)
    chunks = list(batches._chunks(0))
    assert len(chunks) == 8 and len(batches) == 1_000_000 // 4096
    centers = np.concatenate([chunk["item"][..., 1:-1].ravel() for chunk in chunks])
    assert len(np.unique(centers)) == 4096 * len(batches)
    near = sum(chunk["left"].sum() + chunk["right"].sum() for chunk in chunks)
    assert near >= 2 * 4096 * len(batches) - 2


def test_from_interactions_with_the_recipe():
    """Baskets 1: a b, 2: c, 3: b c a that led to a."""
    log = Interactions.from_columns(
        user_id=["u"] * 6,
        item_id=list("abcbca"),
        basket=[1, 1, 2, 3, 3, 3],
        bought=[0, 0, 0, 0, 0, 1],
    )
    catalog = Catalog.fit(log)
    recipe = Windows(WithConversion(ByColumn("basket"), "bought"), window=1)
    pairs, conversion = counted([recipe.batches(log, catalog, Needs("item"), 100).at(0)])
    named = {"".join(catalog.items.decode(list(pair))): count for pair, count in pairs.items()}
    assert named == {"ab": 1, "ba": 1, "bc": 1, "cb": 1, "ca": 1, "ac": 1}
    assert {
        "".join(catalog.items.decode(list(pair))): count for pair, count in conversion.items()
    } == {"ba": 1, "ca": 1}
    by_user = counted([Windows(window=1).batches(log, catalog, Needs("item"), 100).at(0)])[0]
    assert by_user.total() == 2 * 5  # one session of six


@pytest.mark.parametrize(
    "recipe", [Windows(), ShrinkingWindows(WithConversion(ByGap(7), "sold"), 3, 1e-3)]
)
def test_windows_come_back_from_their_config(recipe):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(recipe))
    assert type(again) is type(recipe) and again.get_config() == recipe.get_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 0}, "window must be a whole number from 1 to 1000, got 0"),
        ({"window": 2.5}, "window must be a whole number"),
        ({"alpha": 0}, "alpha must be a share above 0"),
        ({"alpha": float("nan")}, "alpha must be a share"),
    ],
)
def test_arguments_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        Windows(**changes)


def test_what_cannot_be_trained_on():
    with pytest.raises(ValueError, match="no session or walk has two different items"):
        Windows().batches_of(sessions_of([1], [2, 2, 2], [3]), 8)
    batches = Windows().batches_of(sessions_of([1, 2]), 8)
    assert batches.batch_size == SIZE
    for wrong in (lambda: batches.at(-1), lambda: batches.dataset(-1)):
        with pytest.raises(ValueError, match="is -1; the first step is 0"):
            wrong()
    with pytest.raises(ValueError, match="batch_size is 0"):
        Windows().batches_of(sessions_of([1, 2]), 0)
