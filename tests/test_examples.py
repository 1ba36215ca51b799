"""Every example runs, without a network, as its docstring says."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
# what others show as well, or what takes many rounds
LONG = {
    "airbnb_stays",
    "channels_movielens",
    "fm_movielens",
    "graph_movielens",
    "online_retail_baskets",
    "sequences_movielens",
    "temperature_and_log_q",
}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG))
        for path in SCRIPTS
    ],
)
def test_smoke(script, tmp_path):
    command = [sys.executable, script, "--smoke", "--out", tmp_path / "out.png"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "out.png").exists()
