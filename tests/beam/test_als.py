"""A half-sweep on Beam: that of one machine, whatever the shards and parts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

pytest.importorskip(
    "apache_beam", reason="tf_recall.beam needs apache-beam: pip install 'tf-recall[beam]'"
)

from tf_recall.beam import tables  # noqa: E402
from tf_recall.beam.als import half_sweep  # noqa: E402
from tf_recall.retrievers.least_squares import half_sweep as in_memory  # noqa: E402
from tf_recall.towers.fold_in import Weighing  # noqa: E402

WEIGHING = Weighing(alpha=2.0, alpha_0=0.2, regularization=0.05, nu=0.5)


@pytest.fixture
def world(tmp_path):
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 4, [40, 25]) * (rng.random([40, 25]) < 0.2)
    dense[0] = dense[:, 0] = dense[7] = 0
    pairs = sparse.coo_matrix(dense)
    y = rng.normal(size=(25, 5)).astype(np.float32)
    y[0] = 0
    names = {"source": pairs.row, "target": pairs.col, "weight": pairs.data.astype(np.float32)}
    (tmp_path / "pairs").mkdir()
    order = rng.permutation(pairs.nnz)
    for number, some in enumerate(np.array_split(order, 3)):
        columns = {name: values[some] for name, values in names.items()}
        pq.write_table(pa.table(columns), tmp_path / "pairs" / f"{number}.parquet")
    rows = np.arange(1, 25)
    columns = {"row": rows, "vector": tables.vector_column(y[1:])}
    pq.write_table(pa.table(columns), tmp_path / "others.parquet")
    return tmp_path, pairs.tocsr().astype(np.float32), y


@pytest.mark.parametrize("shard, part", [(10**6, 10**6), (30, 6)])
def test_it_is_the_half_sweep_of_one_machine(world, shard, part):
    folder, pairs, y = world
    start = np.zeros([40, 5], np.float32)
    expected = in_memory(pairs, y, start, WEIGHING, steps=50, tolerance=1e-7).vectors
    given = folder / "pairs", folder / "others.parquet", folder / "out", WEIGHING
    done = half_sweep(*given, pairs_per_shard=shard, others_per_part=part)
    found = pq.read_table(folder / "out")
    rows, vectors = found["row"].to_numpy(), np.stack(found["vector"].to_pylist())
    assert done["rows"] == len(rows) == len(set(rows)) == np.count_nonzero(np.diff(pairs.indptr))
    np.testing.assert_allclose(vectors, expected[rows], atol=2e-5)
    next(iter((folder / "out").glob("*.parquet"))).unlink()
    again = half_sweep(*given, pairs_per_shard=shard, others_per_part=part)
    assert 0 < again["rows"] <= done["rows"]
    assert pq.read_table(folder / "out").num_rows == done["rows"]


def test_what_is_wrong_is_named(world):
    folder, _, _ = world
    given = folder / "pairs", folder / "others.parquet", folder / "out"
    with pytest.raises(ValueError, match="all numbers"):
        half_sweep(*given, Weighing(1.0, None, None, 1.0))
    with pytest.raises(ValueError, match="others_per_part must be at least 1"):
        half_sweep(*given, WEIGHING, others_per_part=0)
    few = {"row": [1, 2], "vector": tables.vector_column(np.ones([2, 5], np.float32))}
    pq.write_table(pa.table(few), folder / "others.parquet")
    with pytest.raises(Exception, match="no node has this row"):
        half_sweep(*given, WEIGHING)
