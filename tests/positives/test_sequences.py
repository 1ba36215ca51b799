"""Sequences: every event is a target once, behind what came strictly before it in time."""

import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.packing import packed
from tf_recall.features.needs import Needs


def log_of(histories):
    """Users' events as `[(item, time), ...]`."""
    rows = [(u, item, time) for u, events in histories.items() for item, time in events]
    users, items, times = zip(*rows, strict=True)
    return tr.Interactions.from_columns(user_id=users, item_id=items, timestamp=times)


def drawn(seed=0, num_users=30, num_items=40, longest=25):
    """Users with histories of many lengths, with repeats and equal times."""
    rng = np.random.default_rng(seed)
    return log_of(
        {
            f"u{u}": [
                (f"i{rng.integers(num_items)}", int(time))
                for time in np.sort(rng.integers(0, 20, rng.integers(1, longest)))
            ]
            for u in range(num_users)
        }
    )


def batches_of(log, length=8, batch_size=16, seed=0, **kwargs):
    catalog = tr.Catalog.fit(log)
    needs = Needs(history=length, packed=True)
    return tr.Sequences(**kwargs).batches(log, catalog, needs, batch_size, seed), catalog


def pasts_of(batch):
    """What stands before each target of a batch, and the target."""
    history, place = (batch["query"][name].ravel() for name in ("history", "place"))
    for at, item in zip(batch["query"]["at"], batch["item"]["item"], strict=True):
        past = [] if at == len(history) else history[at - place[at] : at + 1].tolist()
        assert at == len(history) or (place[at - place[at] : at + 1] == np.arange(len(past))).all()
        yield tuple(past), int(item)


def twin(log, catalog, length):
    """Every event's item, and the items before it in time, at least half the length of them."""
    frame = log.frame.assign(row=catalog.items.encode(log.frame["item_id"]))
    for _, events in frame.groupby("user_id"):
        events = events.sort_values("timestamp", kind="stable")
        for _, event in events.iterrows():
            before = events["row"][events["timestamp"] < event["timestamp"]].tolist()
            yield before, event["row"]


@pytest.mark.parametrize("length", [1, 5, 8, 50])
def test_every_event_is_a_target_once_behind_its_past(length):
    log = drawn()
    batches, catalog = batches_of(log, length, batch_size=1)
    assert batches.steps_per_epoch == len(log)
    found = sorted(next(pasts_of(batches.at(step))) for step in range(len(log)))
    wanted = list(twin(log, catalog, length))
    assert sorted(item for _, item in found) == sorted(item for _, item in wanted)
    left = {(tuple(before), item) for before, item in wanted}
    for past, item in found:
        whole = [
            before
            for before, target in left
            if target == item and (before[len(before) - len(past) :] == past)
        ]
        assert any(len(past) >= min(len(before), -(-length // 2)) for before in whole)
        assert len(past) <= length
    short = sorted((tuple(b), i) for b, i in wanted if len(b) <= length)
    assert [pair for pair in short if pair not in found] == []


def test_by_hand():
    """u: a at 1, b and c at 2, d at 3: a from nothing, b and c from a, d from a, b, c."""
    log = log_of({"u": [("a", 1), ("b", 2), ("c", 2), ("d", 3)]})
    batches, catalog = batches_of(log, batch_size=4)
    a, b, c, d = catalog.items.encode(np.array(["a", "b", "c", "d"])).tolist()
    found = sorted(pasts_of(batches.at(0)))
    assert found == sorted([((), a), ((a,), b), ((a,), c), ((a, b, c), d)])


def test_batches_are_functions_of_the_seed_and_the_step():
    log = drawn()
    one, _ = batches_of(log, seed=3)
    again, _ = batches_of(log, seed=3)
    other, _ = batches_of(log, seed=4)
    steps = one.steps_per_epoch
    items = [one.at(step)["item"]["item"] for step in range(2 * steps)]
    for step in (steps + 1, 0, 1):
        tf.nest.map_structure(np.testing.assert_array_equal, again.at(step), one.at(step))
    assert (np.concatenate(items[:steps]) != np.concatenate(items[steps:])).any()
    assert any((items[step] != other.at(step)["item"]["item"]).any() for step in (0, 1))
    for at, batch in zip((2, 3), one.dataset(2).take(2).as_numpy_iterator(), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, one.at(at))


def test_weights_come_with_their_targets_and_subsampling_thins_targets_alone():
    log = drawn()
    weight = np.arange(1, len(log) + 1, dtype=np.float32)
    heavy = tr.Interactions(log.frame.assign(weight=weight))
    batches, catalog = batches_of(heavy, batch_size=len(log))
    batch = batches.at(0)
    of_item = dict(zip(weight, catalog.items.encode(log.frame["item_id"]), strict=True))
    for row, each in zip(batch["item"]["item"], batch["weight"], strict=True):
        assert of_item[each] == row
    thin = tr.Sequences(alpha=1e-3)
    counts = thin.counts(log, catalog)["item"]
    assert counts.sum() < 0.6 * len(log)
    batches, _ = batches_of(log, length=50, batch_size=1, alpha=1e-3)
    longest = max(
        len(past) for step in range(len(batches)) for past, _ in pasts_of(batches.at(step))
    )
    assert longest > 15  # a history is whole, whichever of its events are targets


def test_short_histories_do_not_pay_for_long_ones():
    rng = np.random.default_rng(0)
    lengths = np.minimum(5 + rng.negative_binomial(0.6, 0.13, 3000), 50)
    rows, starts = packed(lengths, 50)
    assert lengths.sum() / (50 * (rows.max() + 1)) > 0.97
    taken = np.zeros((rows.max() + 1, 50), int)
    for row, start, length in zip(rows, starts, lengths, strict=True):
        taken[row, start : start + length] += 1
    assert taken.max() == 1


def test_a_tower_that_reads_one_history_a_row_is_refused():
    items = tr.FeatureTower("item", [tr.features.Id(8)])
    with pytest.raises(ValueError, match=r"Sequences packs several; take UserItem or NextItem$"):
        tr.TwoTower(tr.HistoryTower(items), items, positives=tr.Sequences())
