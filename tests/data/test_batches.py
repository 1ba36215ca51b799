"""Batches: every row at most once an epoch, orders that follow the seed, and a resume that reads the same."""

import numpy as np
import pytest

from tf_recall.data.batches import Batches


def columns(num_rows):
    rows = np.arange(num_rows, dtype=np.int32)
    return {"query": {"user": rows, "history": np.stack([rows, -rows], 1)}, "item": {"item": rows + 1}}


def epoch_rows(batches, epoch):
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    return np.concatenate([batches.at(step)["query"]["user"] for step in steps])


def test_start_is_skip():
    batches = Batches(columns(103), batch_size=10)
    for start in (0, 7, 10, 23):
        for ours, skipped in zip(batches.dataset(start=start).take(12), batches.dataset().skip(start), strict=False):
            np.testing.assert_array_equal(ours["query"]["history"], skipped["query"]["history"])
            np.testing.assert_array_equal(ours["item"]["item"], skipped["item"]["item"])


@pytest.mark.parametrize("bad, message", [(0, "batch_size is 0"), (-3, "batch_size is -3")])
def test_batch_size_below_one(bad, message):
    with pytest.raises(ValueError, match=message):
        Batches(columns(10), bad)
