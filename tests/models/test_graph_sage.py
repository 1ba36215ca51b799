"""GraphSAGE on planted worlds: new items, known by their features alone, beside the old ones."""

import keras
import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.features import Categorical, Id

USERS, ITEMS, GROUPS, EACH = 200, 480, 8, 20


def world():
    """Users who take items of their own group, nine of ten, popular ones more often; a tenth of the
    items is in the side table alone.
    """
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(USERS), EACH)
    of_group = ITEMS // GROUPS
    popular = 1 / np.arange(1, of_group + 1) ** 0.8
    own = rng.random(len(users)) < 0.9
    group = np.where(own, users % GROUPS, rng.integers(0, GROUPS, len(users)))
    items = rng.choice(of_group, len(users), p=popular / popular.sum()) * GROUPS + group
    new = rng.choice(ITEMS, ITEMS // 10, replace=False)
    old = ~np.isin(items, new)
    groups = {"item_id": np.arange(ITEMS), "group": [f"g{n % GROUPS}" for n in range(ITEMS)]}
    log = tr.Interactions.from_columns(
        user_id=users[old], item_id=items[old], items=pd.DataFrame(groups)
    )
    return log, new


def found(model):
    """How many of the new items of a user's group are among the first 20 of all, as a share."""
    keras.utils.set_random_seed(0)
    log, new = world()
    catalog = tr.Catalog.fit(log)
    model.adapt(log, catalog).compile()
    batches = model.batches(log, catalog, 256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=15, shuffle=False, verbose=0)
    users = np.arange(USERS)
    ids, _ = tr.Service.build(model, catalog).recommend(users, k=20)
    right = np.isin(ids, new) & (ids % GROUPS == users[:, None] % GROUPS)
    there = np.bincount(new % GROUPS, minlength=GROUPS)[users % GROUPS]
    return right.sum() / np.minimum(there, 20).sum()


def towers():
    items = [Id(16, unknown_rate=0.5), Categorical("group", 8)]
    return tr.FeatureTower("user", [Id(16, unknown_rate=0.5)]), tr.FeatureTower("item", items, [16])


@pytest.mark.slow
def test_new_items_are_found_among_all_as_a_two_tower_finds_them():
    graph_sage = found(tr.GraphSAGE(*towers(), dim=16))
    assert graph_sage > found(tr.TwoTower(*towers())) - 0.02  # 0.90 and 0.89 of them
    # where every node has neighbors in training: 0.6
    assert graph_sage > found(tr.GraphSAGE(*towers(), dim=16, neighbor_dropout=0.0)) + 0.1


def test_edges_alone_tell_of_a_node_where_no_features_do():
    assert tr.GraphSAGE().own_dropout == 0.1
    assert tr.GraphSAGE(neighbor_dropout=0.95).own_dropout == pytest.approx(0.05)  # the rest
    assert tr.GraphSAGE(*towers()).own_dropout == 0.0  # the group tells of a new item
    assert tr.GraphSAGE(*towers(), dim=16, own_dropout=0.2).own_dropout == 0.2
