"""A trained model's vectors on Beam are those that it serves."""

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Id
from tf_recall.models.graph_sage import GraphSAGE
from tf_recall.models.pin_sage import PinSage
from tf_recall.towers.features import FeatureTower

pytest.importorskip("apache_beam", reason="the extra beam is not installed")


def make(kind):
    item = FeatureTower("item", [Id(8)])
    if kind == "graph_sage":
        return GraphSAGE(FeatureTower("user", [Id(8)]), item, 8, [3, 2])
    return PinSage(item, 8, 16, num_neighbors=4, num_walks=20)


@pytest.mark.parametrize("kind", ["graph_sage", "pin_sage"])
def test_beam_computes_what_is_served(kind, tmp_path):
    from tf_recall.beam.inputs import write_inputs
    from tf_recall.beam.layerwise import layerwise

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    log = Interactions.from_columns(
        user_id=rng.integers(1, 40, 300), item_id=rng.integers(1, 60, 300)
    )
    model, catalog = make(kind), Catalog.fit(log)
    model.adapt(log, catalog)
    done = layerwise(
        **write_inputs(model, tmp_path / "graph"), out=str(tmp_path / "out"), rows_per_shard=25
    )
    folder = next((tmp_path / "out").glob("layer-2/item"))
    found = pd.concat(
        [pq.read_table(file).to_pandas() for file in folder.glob("*.parquet")]
    ).sort_values("row")
    assert done["finished"] and found["row"].tolist() == list(range(catalog.items.size))
    vectors = model.encoder.finish(np.stack(found["vector"]))[1:]
    np.testing.assert_allclose(vectors, model.embed_catalog(), atol=1e-5)


def test_a_model_without_its_graph_is_refused(tmp_path):
    from tf_recall.beam.inputs import write_inputs

    with pytest.raises(ValueError, match="has no graph: adapt it"):
        write_inputs(make("pin_sage"), tmp_path)
