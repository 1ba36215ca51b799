"""How often an event is kept: by hand, at the threshold, and read by block."""

import numpy as np
import pytest

from tf_recall.positives import subsampling
from tf_recall.positives.subsampling import check_alpha, keep_rates


def test_by_hand():
    # Of 100 events item 1 has 64, item 2 has 25, item 4 has 11. With alpha = 0.16: sqrt(0.16 /
    # 0.64) = 1/2 and sqrt(0.16 / 0.25) = 4/5; 0.11 is below the threshold.
    items = np.repeat([1, 2, 4], [64, 25, 11])
    rates = keep_rates(items, alpha=0.16)
    assert rates.dtype == np.float32 and rates.shape == (5,)
    np.testing.assert_allclose(rates[[1, 2, 4]], [1 / 2, 4 / 5, 1], rtol=1e-6)


@pytest.mark.parametrize(
    "alpha, expected", [(0.24, (0.24 / 0.25) ** 0.5), (0.25, 1), (0.26, 1), (7, 1)]
)
def test_the_threshold_is_a_share(alpha, expected):
    for times in 1, 50:  # of more events alike the shares are the same
        assert keep_rates(np.repeat([1, 2, 3, 4], times), alpha)[1:] == pytest.approx(
            [expected] * 4
        )


def test_an_item_is_kept_at_a_rate_that_falls_with_its_share_and_still_more_often():
    """Of what is popular more is dropped, and more is left."""
    items = np.repeat(np.arange(1, 9), 2 ** np.arange(8))
    rates = keep_rates(items, alpha=0.01)[1:]
    assert (np.diff(rates) <= 0).all() and rates[0] == 1 and rates[-1] < 0.2
    assert (np.diff(rates * 2 ** np.arange(8)) > 0).all()


def test_the_order_and_the_blocks_change_nothing(monkeypatch):
    items = np.random.default_rng(0).zipf(1.5, 1000) % 50
    whole = keep_rates(items, 0.01)
    np.testing.assert_array_equal(
        keep_rates(np.random.default_rng(1).permutation(items), 0.01), whole
    )
    monkeypatch.setattr(subsampling, "BLOCK", 7)
    np.testing.assert_array_equal(keep_rates(items, 0.01), whole)
    np.testing.assert_array_equal(keep_rates(np.sort(items), 0.01), whole)


def test_of_no_events_there_is_nothing_to_drop():
    assert len(keep_rates(np.zeros(0, np.int32), 0.1)) <= 1


@pytest.mark.parametrize("alpha", [None, 1e-3, 1, 2.5])
def test_what_may_be_a_threshold(alpha):
    check_alpha(alpha)


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), float("inf"), "1e-3", [0.1]])
def test_what_may_not(alpha):
    with pytest.raises(ValueError, match="alpha must be a share above 0"):
        check_alpha(alpha)
