"""What holds nothing to learn from is refused before training, by what is wrong and what to do."""

import logging

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import History, Id
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import TypedGraph
from tf_recall.losses import BPR
from tf_recall.models import GraphSAGE, GraphSAGEI2I, Item2Vec, PinSage, TwoTower, YouTubeDNN
from tf_recall.negatives import (
    Curriculum,
    EasyHard,
    Given,
    HighestInBatch,
    InBatch,
    Mixture,
    Popularity,
    RankWindow,
    SameGroup,
    Uniform,
    WholeCatalog,
)
from tf_recall.positives import ItemPairs, NextItem, UserItem, WalkPairs, Windows
from tf_recall.towers.features import FeatureTower

N = 60


def tower(entity, *features):
    return FeatureTower(entity, list(features) or [Id(4)])


def two_tower(**parts):
    return TwoTower(tower("user"), tower("item"), **parts)


FAMILIES = {
    "two towers": two_tower,
    "sequences": lambda: Item2Vec(dim=4),
    "histories": lambda: YouTubeDNN(dim=4),
    "graph of both": lambda: GraphSAGE(tower("user"), tower("item"), dim=4, fan_outs=(3, 2)),
    "graph of items": lambda: GraphSAGEI2I(tower("item"), dim=4, fan_outs=(3, 2)),
}


def log(users=8, items=6, **columns):
    """`N` events of `users`, each with other items; without repeats."""
    at = np.arange(N)
    columns = {"timestamp": 10**9 + at, **columns}
    return Interactions.from_columns(
        user_id=[f"u{n}" for n in at % users],
        item_id=[f"i{n}" for n in (at + at // users) % items],
        **columns,
    )


def by_hand(interactions, **columns):
    """A frame changed past every check."""
    return Interactions(interactions.frame.assign(**columns), interactions.items)


def batches(model, train, batch_size=16):
    catalog = Catalog.fit(train)
    return model.adapt(train, catalog).batches(train, catalog, batch_size)


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_every_family_learns_from_the_log_and_not_from_one_item(make):
    assert batches(make(), log()).steps_per_epoch >= 1
    with pytest.raises(ValueError, match="the catalog has 1 item, and .* at least 2"):
        batches(make(), log(items=1))


@pytest.mark.parametrize(
    "negatives", [Uniform(4), Popularity(4), WholeCatalog(), Mixture([InBatch(), Uniform(4)])]
)
def test_no_sampler_learns_from_one_item_and_others_from_one_row(negatives):
    with pytest.raises(ValueError, match="the catalog has 1 item"):
        batches(two_tower(negatives=negatives), log(items=1))


@pytest.mark.parametrize(
    "negatives, alone",
    [
        (InBatch(), True),
        (HighestInBatch(2), True),
        (Mixture([InBatch(), HighestInBatch()]), True),
        (EasyHard(InBatch(), Curriculum(HighestInBatch())), True),
        (Mixture([InBatch(), Uniform(4)]), False),
        (EasyHard(Uniform(4), HighestInBatch()), False),
        (Uniform(4), False),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bool) else str(value),
)
def test_one_row_has_no_negatives_in_its_batch(negatives, alone):
    model = two_tower(negatives=negatives, loss=BPR())
    if alone:
        with pytest.raises(ValueError, match="batches of 1 row teach nothing: .* 2 or more"):
            batches(model, log(), batch_size=1)
    else:
        assert batches(model, log(), batch_size=1).batch_size == 1


def test_one_positive_item_has_no_negatives_in_any_batch():
    train = log()
    train = by_hand(train, bought=(train.frame["item_id"] == "i1").astype(int))
    positives = UserItem(where="bought")
    with pytest.raises(ValueError, match="1 item is ever a positive, .* use Uniform"):
        batches(two_tower(positives=positives), train)
    assert batches(two_tower(positives=positives, negatives=Uniform(4)), train).batch_size > 1
    with pytest.raises(ValueError, match="no item is ever a positive by UserItem"):
        batches(two_tower(positives=UserItem(alpha=1e-12)), log())
    with pytest.raises(ValueError, match="alpha leaves none over"):
        batches(Item2Vec(dim=4, positives=Windows(alpha=1e-12)), log())


@pytest.mark.parametrize("make", [two_tower, FAMILIES["histories"]])
def test_weights(make):
    zero = log(weight=np.zeros(N))
    with pytest.raises(ValueError, match="all weights of the positives are 0"):
        batches(make(), zero)
    some = np.where(np.arange(N) < 30, 0, 1.0)
    assert batches(make(), log(weight=some)).batch_size == 16
    for bad in (-1, np.nan, np.inf):
        weight = np.where(np.arange(N) == 59, bad, 1.0)
        with pytest.raises(ValueError, match=f"'weight' must hold finite .* 1 are not, .* {bad}"):
            batches(make(), by_hand(log(), weight=weight))


def test_weights_that_count_nowhere_where_the_positives_are():
    bought = (np.arange(N) < 30).astype(int)
    with pytest.raises(ValueError, match="all weights of the positives are 0"):
        batches(
            two_tower(positives=UserItem(where="bought")), log(weight=1 - bought, bought=bought)
        )


def test_weights_of_0_leave_a_graph_without_edges():
    with pytest.raises(ValueError, match="the graph has no edges from user to item or .* weights"):
        batches(FAMILIES["graph of both"](), log(weight=np.zeros(N)))
    empty = TypedGraph.of_items(Graph(np.zeros(8, np.int64), np.zeros(0, np.int32)))
    train = log()
    with pytest.raises(ValueError, match="the graph has no edges from item to item"):
        FAMILIES["graph of items"]().adapt(train, Catalog.fit(train), graph=empty)


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_log_that_the_catalog_does_not_know(make):
    train = log()
    catalog = Catalog.fit(train)
    model = make().adapt(train, catalog)
    strangers = train.frame.assign(item_id="x" + train.frame["item_id"])
    with pytest.raises(ValueError, match="the catalog knows none|no session|no user has 1 events"):
        model.batches(Interactions(strangers), catalog, 16)
    if make is two_tower:
        strangers = train.frame.assign(user_id="x" + train.frame["user_id"])
        with pytest.raises(ValueError, match="the catalog knows none of the 60 .* users"):
            model.batches(Interactions(strangers), catalog, 16)


def test_histories_without_events():
    at_once = log(timestamp=np.full(N, 10**9))
    with pytest.raises(ValueError, match="no user has 1 events before another"):
        batches(YouTubeDNN(dim=4), at_once)
    empty = "no positive has an earlier event of its user"
    with pytest.raises(ValueError, match=empty):
        batches(YouTubeDNN(dim=4, positives=NextItem(min_history=0)), at_once)
    features = [Id(4), History(length=3)]
    with pytest.raises(ValueError, match=empty):
        model = TwoTower(FeatureTower("user", features, [4]), FeatureTower("item", [Id(32)], [4]))
        batches(model, at_once)


def test_sessions_of_one_item_again_and_again():
    at = np.arange(N)
    train = Interactions.from_columns([f"u{n % 5}" for n in at], [f"i{n % 5}" for n in at], at + 9)
    same = TwoTower(*[tower("item")] * 2, positives=ItemPairs())
    with pytest.raises(ValueError, match="no session has two items that differ"):
        batches(same, train)
    with pytest.raises(ValueError, match="two different items"):
        batches(Item2Vec(dim=4), train)
    with pytest.raises(ValueError, match="the graph has no edges"):
        batches(FAMILIES["graph of items"](), train)


def test_walks_from_nodes_without_edges():
    train = log()
    catalog = Catalog.fit(train)
    model = GraphSAGEI2I(tower("item"), dim=4, fan_outs=(3,), positives=WalkPairs())
    needs = model.needs().also(
        graph=TypedGraph.of_items(Graph(np.zeros(8, np.int64), np.zeros(0, np.int32)))
    )
    with pytest.raises(ValueError, match="no item of the graph has an edge"):
        model.positives.batches(train, catalog, needs, 16)


@pytest.mark.parametrize("given", ["x|y", "", None])
def test_negatives_that_are_no_items(given):
    train = log(negatives=[given] * N)
    message = "column 'negatives': no row names an item"
    with pytest.raises(ValueError, match=message):
        batches(two_tower(negatives=Given(2)), train)
    own = by_hand(train, negatives=train.frame["item_id"])
    with pytest.raises(ValueError, match=message):
        batches(two_tower(negatives=EasyHard(InBatch(), Given(2))), own)
    assert batches(two_tower(negatives=Given(2)), log(negatives=["i1|x"] * N)).batch_size == 16


def test_groups_of_one_item():
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(6)], "city": list("abcdef")})
    with pytest.raises(ValueError, match="no two items share a value of 'city'"):
        batches(two_tower(negatives=SameGroup("city")), log_with(items))
    items.loc[1, "city"] = "a"
    assert batches(two_tower(negatives=SameGroup("city")), log_with(items)).batch_size == 16


def log_with(items):
    return Interactions.from_frame(log().frame, items=items)


def test_a_window_of_ranks_beyond_all_that_walks_reach(caplog):
    with pytest.raises(ValueError, match="RankWindow has no negatives: .* low=50: lower it"):
        batches(PinSage(tower("item"), dim=4, negatives=RankWindow(2)), log())
    with caplog.at_level(logging.WARNING, "tf_recall"):
        negatives = EasyHard(Uniform(5), RankWindow(2), ratio=3)
        batches(PinSage(tower("item"), dim=4, negatives=negatives), log())
    assert "low=50: lower it; those of the other samplers remain" in caplog.text


def test_a_batch_above_the_data_or_below_a_segment_says_so(caplog):
    with caplog.at_level(logging.WARNING, "tf_recall"):
        assert batches(two_tower(), log(), 4096).batch_size == N
        assert "an epoch has 60 rows, fewer than the 4096 of a batch" in caplog.text
        batches(Item2Vec(dim=4), log(), 4096)
        assert "segments, fewer than the 128 of a batch" in caplog.text
        assert batches(Item2Vec(dim=4), log(), 5).batch_size == 32
        assert "a batch has 32 centers, a segment, not the 5 of batch_size" in caplog.text
        caplog.clear()
        batches(two_tower(), log(), N)
    assert not caplog.text


@pytest.mark.parametrize("make", [two_tower, FAMILIES["sequences"], FAMILIES["graph of both"]])
@pytest.mark.parametrize("size", [True, 2.5, 0, -1, "8", None])
def test_sizes_of_a_batch_that_are_no_numbers_of_rows(make, size):
    with pytest.raises(ValueError, match=f"batch_size is {size!r}; it must be a whole number"):
        batches(make(), log(), size)
