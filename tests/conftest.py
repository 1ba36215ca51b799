"""What every test shares: the package first (it sets up the environment for TensorFlow), and the real data."""

from pathlib import Path

import pytest

import tf_recall  # noqa: F401  must come before tensorflow

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, or a skip with the reason."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not at {SHARED}")
    return SHARED
