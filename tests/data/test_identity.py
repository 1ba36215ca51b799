"""Rows of one catalog are never taken for rows of another."""

import keras
import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.data.identity import as_numbers, digest, of_numbers
from tf_recall.export.load import restore
from tf_recall.features import Id
from tf_recall.lists.read import ItemLists
from tf_recall.lists.write import write_lists, write_similar
from tf_recall.recommend.rankings import Popularity


def interactions(seed):
    """Forty users and thirty items, all of which occur; which are popular depends on the seed."""
    random = np.random.default_rng(seed)
    users = np.r_[np.arange(40), random.integers(40, size=600)]
    items = np.r_[np.arange(40) % 30, random.zipf(1.3, size=600) % 30]
    names = random.permutation(30)[items]
    frame = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in users],
            "item_id": [f"i{item}" for item in names],
            "timestamp": np.arange(len(users)),
        }
    )
    return tr.Interactions.from_frame(frame)


def two_tower():
    return tr.TwoTower(tr.FeatureTower("user", [Id(8)]), tr.FeatureTower("item", [Id(8)]))


@pytest.fixture(scope="module")
def mine():
    train = interactions(0)
    return train, tr.Catalog.fit(train)


@pytest.fixture(scope="module")
def other():
    train = interactions(1)
    return train, tr.Catalog.fit(train)


@pytest.fixture(scope="module")
def model(mine):
    return two_tower().adapt(*mine)


@pytest.fixture(scope="module")
def service(model, mine):
    return tr.Service.build(model, mine[1])


def test_a_digest_is_of_the_ids_and_their_order():
    texts = np.array(["a", "b", "c"], dtype=object)
    assert digest(texts) == digest(texts.copy())
    others = [
        texts[::-1],
        texts[:2],
        np.array(["ab", "c"], dtype=object),
        np.array(["a", "b", "d"], dtype=object),
    ]
    assert len({digest(ids) for ids in [texts, *others]}) == 5
    assert digest(np.array([7])) != digest(np.array(["7"], dtype=object))


def test_an_identity_survives_as_numbers(mine):
    identity = mine[1].identity
    assert of_numbers(as_numbers(identity)) == identity
    assert of_numbers(np.zeros(4, np.int64)) is None


def test_counts_do_not_matter_but_rows_do(mine, other):
    catalog = mine[1]
    assert catalog.with_counts({"item": catalog.items.counts * 2}).identity == catalog.identity
    assert other[1].num_items == catalog.num_items  # sizes alone would not tell
    assert other[1].identity["items"] != catalog.identity["items"]


@pytest.mark.parametrize(
    "use",
    [
        lambda m, s, train, catalog: tr.Service.build(m, catalog),
        lambda m, s, train, catalog: m.batches(train, catalog),
        lambda m, s, train, catalog: tr.Service(m.query_tower, m.item_tower, s.index, catalog),
        lambda m, s, train, catalog: tr.evaluate(
            s, tr.cases_by_user(train, catalog), catalog, [5], False
        ),
        lambda m, s, train, catalog: tr.MultiChannel({"two_tower": s}, catalog),
    ],
    ids=["build", "batches", "service", "evaluate", "channels"],
)
def test_what_was_trained_refuses_another_catalog(model, service, other, use):
    with pytest.raises(ValueError, match="do not go together: the rows of the .*items differ"):
        use(model, service, *other)


def test_an_index_refuses_another_catalog(service, other):
    model = two_tower().adapt(*other)
    with pytest.raises(ValueError, match="the index and this catalog"):
        tr.Service(model.query_tower, model.item_tower, service.index, other[1])


def test_cases_of_another_catalog_are_refused(service, mine, other):
    cases = tr.cases_by_user(other[0], other[1])
    for ask in (
        lambda: tr.evaluate(service, cases, mine[1], ks=[5]),
        lambda: tr.compare({"one": service}, service, cases, mine[1], k=5),
        lambda: tr.evaluate(service, cases, mine[1], ks=[5], exclude_seen=False),
    ):
        with pytest.raises(ValueError, match="the cases and this catalog"):
            ask()


def test_a_model_keeps_its_identity_in_files(model, mine, other, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.item_tower.identity == loaded.query_tower.identity == mine[1].identity
    with pytest.raises(ValueError, match="do not go together"):
        tr.Service.build(loaded, other[1])
    # a checkpoint of other data brings their identity along with their weights
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = two_tower().adapt(*other)
    fresh.load_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="do not go together"):
        fresh.batches(*other)


def test_an_export_keeps_its_identity(service, model, mine, other, tmp_path):
    loaded = tr.load(tr.save(service, tmp_path / "model", model=model))
    assert loaded.identity["items"] == mine[1].identity["items"]
    with pytest.raises(ValueError, match="do not go together"):
        tr.evaluate(loaded, tr.cases_by_user(*other), other[1], [5], False)
    with pytest.raises(ValueError, match="do not go together"):
        tr.MultiChannel({"loaded": loaded}, other[1])
    restored, catalog = restore(tmp_path / "model")
    assert restored.item_tower.identity == catalog.identity == mine[1].identity


def test_channels_keep_their_identity_in_files(mine, other, tmp_path):
    channel = tr.ItemCF().fit(*mine)
    channel.save(tmp_path)
    assert tr.ItemCF().load(tmp_path, mine[1]).identity == mine[1].identity
    with pytest.raises(ValueError, match="ItemCF in .* and this catalog"):
        tr.ItemCF().load(tmp_path, other[1])
    with pytest.raises(ValueError, match="the channel 'cf' and this catalog"):
        tr.MultiChannel({"popular": Popularity().fit(*other), "cf": channel}, other[1])


def test_lists_keep_their_identity(service, mine, other, tmp_path):
    lists = write_lists(service, ["u1", "u2"], tmp_path / "lists.parquet", k=5)
    similar = write_similar(service, ["i1"], tmp_path / "similar.parquet", k=5)
    for kind, path in ((tr.Lists, lists), (ItemLists, similar)):
        kind.load(path)
        kind.load(path, mine[1])
        with pytest.raises(ValueError, match="do not go together"):
            kind.load(path, other[1])


def test_a_saved_catalog_whose_lines_were_swapped_is_refused(mine, tmp_path):
    mine[1].save(tmp_path)
    header, first, second, *rest = (tmp_path / "items.tsv").read_text().split("\n")
    (tmp_path / "items.tsv").write_text("\n".join([header, second, first, *rest]))
    with pytest.raises(ValueError, match="damaged"):
        tr.Catalog.load(tmp_path)


@pytest.mark.parametrize("kind", [tr.GraphSAGE, tr.GraphSAGEI2I])
def test_a_graph_model_refuses_another_catalog_and_grows(kind, mine, other, tmp_path):
    towers = [tr.FeatureTower("item", [Id(8)])]
    if kind is tr.GraphSAGE:
        towers.insert(0, tr.FeatureTower("user", [Id(8)]))
    model = kind(*towers, dim=8, fan_outs=[2]).adapt(*mine)
    with pytest.raises(ValueError, match="do not go together"):
        model.attached(*other)
    grown, catalog = model.attached(*mine)
    assert grown.item_tower.identity == catalog.identity
    with pytest.raises(ValueError, match="do not go together"):
        tr.Service.build(grown, other[1])
    tr.Service.build(grown, catalog)


def test_a_graph_of_other_rows_is_refused(mine, other):
    graph = tr.TypedGraph.user_item(*other)
    towers = tr.FeatureTower("user", [Id(8)]), tr.FeatureTower("item", [Id(8)])
    with pytest.raises(ValueError, match="the graph and this catalog"):
        tr.GraphSAGE(*towers, dim=8, fan_outs=[2]).adapt(*mine, graph=graph)
