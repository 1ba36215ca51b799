"""Arrays in .npy files: what NumPy reads, and nothing that is cut short without a word."""

import numpy as np
import pytest

from tf_recall.data.npy import write_array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(20)[::3],
        np.zeros((0, 4), np.float32),
        np.array(["a", "ünf", ""]),
    ],
)
def test_numpy_reads_it(array, tmp_path):
    write_array(tmp_path / "a.npy", array)
    again = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


@pytest.mark.parametrize("missing", [1, 100, 3000])
def test_a_full_disk_is_told(missing, tmp_path, small_disk):
    array = np.zeros(1000, np.float32)
    with small_disk(128 + array.nbytes - missing), pytest.raises(OSError):
        write_array(tmp_path / "a.npy", array)
