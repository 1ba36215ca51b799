"""A trained model's vectors on Beam are those that it serves."""

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Categorical, Id
from tf_recall.graph.bipartite import AttributeEdges, UserEdges
from tf_recall.models.graph_sage import GraphSAGE
from tf_recall.models.graph_tr import GraphTR
from tf_recall.models.light_gcn import LightGCN
from tf_recall.models.multi_bi_sage import MultiBiSage
from tf_recall.models.pin_sage import PinSage
from tf_recall.towers.aggregators import Mean
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.readouts import MeanOfLayers

pytest.importorskip("apache_beam", reason="the extra beam is not installed")


def make(kind):
    item = FeatureTower("item", [Id(8)])
    if kind == "graph_sage":
        return GraphSAGE(FeatureTower("user", [Id(8)]), item, 8, [3, 2])
    if kind == "graph_tr":
        attributes = [Categorical("color", 4)]
        users = FeatureTower("user", [Id(8)])
        readout = MeanOfLayers()
        return GraphTR(users, item, attributes, 8, [3, 2], Mean(), readout=readout)
    walks = {"num_neighbors": 4, "num_walks": 20}
    if kind == "multi_bi_sage":
        relations = [UserEdges(), AttributeEdges("color")]
        return MultiBiSage(item, relations, 8, 16, num_layers=2, **walks)
    return PinSage(item, 8, 16, **walks)


@pytest.mark.parametrize("kind", ["graph_sage", "pin_sage", "graph_tr", "multi_bi_sage"])
def test_beam_computes_what_is_served(kind, tmp_path):
    from tf_recall.beam.inputs import write_inputs
    from tf_recall.beam.layerwise import layerwise

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"item_id": range(1, 60), "color": [f"c{n % 5}" for n in range(1, 60)]})
    log = Interactions.from_columns(
        user_id=rng.integers(1, 40, 300), item_id=rng.integers(1, 60, 300), items=items
    )
    model, catalog = make(kind), Catalog.fit(log)
    model.adapt(log, catalog)
    done = layerwise(
        **write_inputs(model, tmp_path / "graph"), out=str(tmp_path / "out"), rows_per_shard=25
    )
    layers = [model.encoder.base_vectors("item")]
    for folder in sorted((tmp_path / "out").glob("layer-*/item")):
        found = pq.read_table(folder).to_pandas().sort_values("row")
        assert found["row"].tolist() == list(range(catalog.items.size))
        layers.append(np.stack(found["vector"]))
    assert done["finished"] and len(layers) == 3
    vectors = model.encoder.finish(model.encoder.readout(layers))[1:]
    np.testing.assert_allclose(vectors, model.embed_catalog(), atol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_of_light_gcn_the_last_layer_is_what_is_served(normalize, tmp_path):
    from tf_recall.beam.inputs import write_inputs
    from tf_recall.beam.layerwise import layerwise

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 40, 300), (1 + 59 * rng.random(300) ** 2).astype(int)
    log = Interactions.from_columns(user_id=users, item_id=items)  # pairs come twice
    catalog = Catalog.fit(log)
    model = LightGCN(8, num_layers=3, normalize=normalize).adapt(log, catalog)
    done = layerwise(
        **write_inputs(model, tmp_path / "graph"), out=str(tmp_path / "out"), rows_per_shard=25
    )
    rows = {"user": np.arange(catalog.users.size, dtype=np.int32)}
    wanted = {"item": model.embed_catalog(), "user": model.embed_query(rows)[1:]}
    for of_type, vectors in wanted.items():
        folder = done["vectors"][of_type].removesuffix("*.parquet")
        found = pq.read_table(folder).to_pandas().sort_values("row")
        np.testing.assert_allclose(np.stack(found["vector"])[1:], vectors, atol=1e-5)
        assert np.abs(vectors).max() > 0.05
    with pytest.raises(ValueError, match="has no graph: adapt it"):
        write_inputs(LightGCN(8), tmp_path / "other")


def test_a_model_without_its_graph_is_refused(tmp_path):
    from tf_recall.beam.inputs import write_inputs

    with pytest.raises(ValueError, match="has no graph: adapt it"):
        write_inputs(make("pin_sage"), tmp_path)
