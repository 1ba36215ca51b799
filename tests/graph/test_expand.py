"""What a batch reads of a graph: each node once, places that lead to what was drawn, no edge of its
own positives.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tf_recall.graph.csr import Graph
from tf_recall.graph.expand import NO_SEED, expand, padded
from tf_recall.graph.neighbors import UniformNeighbors

BOTH_WAYS = {"user": ("user", "item"), "item": ("item", "user")}  # each by the name of its type
ITEMS = {"item": ("item", "item")}


class Told:
    """Neighbors as told, and a note of what was asked."""

    def __init__(self, lists, num):
        self.lists, self.num, self.asked, self.gave = lists, num, [], []

    def __call__(self, nodes, rng):
        rows = [self.lists.get(node, []) for node in nodes.tolist()]
        ids = np.array([row + [0] * (self.num - len(row)) for row in rows], np.int32).reshape(
            -1, self.num
        )
        self.asked.append(nodes.copy())
        self.gave.append(ids.copy())
        return ids, np.where(ids > 0, 2, 0).astype(np.float32)


class Noted(UniformNeighbors):
    """Uniform neighbors, and a note of what was asked and given."""

    asked = gave = None

    def __call__(self, nodes, rng):
        ids, weights = super().__call__(nodes, rng)
        self.asked, self.gave = nodes.copy(), ids.copy()
        return ids, weights


def users_and_items(num_users=60, num_items=40, num_edges=500):
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, num_users, num_edges), rng.integers(1, num_items, num_edges)
    bought = Graph.from_edges(users, items, None, num_users, num_items)
    return {"user": bought, "item": bought.reverse()}


def test_two_layers_by_hand():
    """Item 3 asks for 5 and 9, item 5 for 3; then 3, 5 and 9 ask for 7 and 3, for nothing, and for
    9 twice.
    """
    upper, lower = Told({3: [5, 9], 5: [3]}, 2), Told({3: [7, 3], 9: [9, 9]}, 2)
    found = expand({"item": [3, 5]}, [{"item": lower}, {"item": upper}], ITEMS, None)
    assert upper.asked[0].tolist() == [3, 5] and lower.asked[0].tolist() == [3, 5, 9]
    assert found["seeds"]["item"].tolist() == [3, 5] + [NO_SEED] * 6
    assert found["rows"]["item"].tolist() == [3, 5, 9, 7] + [0] * 4
    assert found["layers"]["2"]["item"]["position"].tolist() == [[1, 2], [0, 0]] + [[0, 0]] * 6
    assert found["layers"]["2"]["item"]["weight"].tolist() == [[2, 2], [2, 0]] + [[0, 0]] * 6
    assert (
        found["layers"]["1"]["item"]["position"].tolist() == [[3, 0], [0, 0], [2, 2]] + [[0, 0]] * 5
    )
    assert (
        found["layers"]["1"]["item"]["weight"].tolist() == [[2, 2], [0, 0], [2, 2]] + [[0, 0]] * 5
    )


def check_contract(found, layers, over, seeds):
    """Each node once, what an upper layer needs first, places that resolve to what was drawn."""
    rows = found["rows"]
    for of_type, own in rows.items():
        num = np.count_nonzero(own)
        assert own.dtype == np.int32 and len(own) == padded(len(own)) and not own[num:].any()
        assert len(set(own[:num].tolist())) == num
        np.testing.assert_array_equal(own[: len(seeds.get(of_type, []))], seeds.get(of_type, []))
    needed = {of_type: list(seeds.get(of_type, [])) for of_type in rows}
    for k in range(len(layers), 0, -1):
        for of_type, near in layers[k - 1].items():
            np.testing.assert_array_equal(near.asked, needed[of_type])
        for of_type, near in layers[k - 1].items():
            layer, num = found["layers"][str(k)][of_type], len(near.asked)
            assert layer["position"].shape == layer["weight"].shape == (padded(num), near.num)
            assert (layer["position"].dtype, layer["weight"].dtype) == (np.int32, np.float32)
            used = layer["weight"] > 0
            assert not layer["position"][~used].any() and not used[num:].any()
            np.testing.assert_array_equal(
                rows[over[of_type][1]][layer["position"]][:num][used[:num]], near.gave[used[:num]]
            )
            more = [
                row for row in near.gave[used[:num]].tolist() if row not in needed[over[of_type][1]]
            ]
            needed[over[of_type][1]] += sorted(set(more), key=rows[over[of_type][1]].tolist().index)
    for of_type, own in rows.items():
        np.testing.assert_array_equal(own[own > 0], needed[of_type])


@pytest.mark.parametrize("seeded", [["user", "item"], ["item"]])
def test_the_contract_on_users_and_items(seeded):
    graphs = users_and_items()
    layers = [
        {of_type: Noted(graph, num) for of_type, graph in graphs.items()} for num in (3, 4, 2)
    ]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        seeds = {
            of_type: np.sort(rng.permutation(graphs[of_type].num_nodes - 1)[:6] + 1)
            for of_type in seeded
        }
        check_contract(expand(seeds, layers, BOTH_WAYS, rng), layers, BOTH_WAYS, seeds)


def test_the_contract_on_items_alone():
    rng = np.random.default_rng(0)
    graph = Graph.from_edges(*rng.integers(1, 5000, (2, 20_000)), None, 5000)
    layers, seeds = [{"item": Noted(graph, num)} for num in (10, 5)], {"item": np.arange(1, 400, 3)}
    check_contract(expand(seeds, layers, ITEMS, rng), layers, ITEMS, seeds)


def edges_of(found, over, k):
    """`{(type, row, neighbor's row)}` of all places with a weight."""
    edges = set()
    for of_type, layer in found["layers"][k].items():
        node, draw = np.nonzero(layer["weight"])
        own, far = (
            found["rows"][of_type][node],
            found["rows"][over[of_type][1]][layer["position"][node, draw]],
        )
        edges |= {(of_type, *edge) for edge in zip(own.tolist(), far.tolist(), strict=True)}
    return edges


def test_positives_are_masked_in_both_directions_and_nothing_else():
    graphs = users_and_items()
    layers = [{of_type: UniformNeighbors(graph, 20) for of_type, graph in graphs.items()}] * 2
    users = np.flatnonzero(graphs["user"].degrees)
    items = graphs["user"].targets[graphs["user"].offsets[users]]
    # of an unknown user, who sees nothing
    users, items = (
        np.append(users, 0),
        np.append(items, items[0]),
    )
    seeds = {"user": users[:-1], "item": np.unique(items)}
    open_, masked = (
        expand(seeds, layers, BOTH_WAYS, np.random.default_rng(0), without)
        for without in ((), [(("user", "item"), users, items)])
    )
    own = {("user", *pair) for pair in zip(users.tolist(), items.tolist(), strict=True)}
    own |= {("item", item, user) for _, user, item in own}
    upper = edges_of(open_, BOTH_WAYS, "2")
    assert len(upper & own) > 30  # they would be there
    assert edges_of(masked, BOTH_WAYS, "2") == upper - own
    assert not edges_of(masked, BOTH_WAYS, "1") & own


def test_positives_among_items_are_masked_in_both_directions_however_often_drawn():
    near = Told({1: [2, 2, 3], 2: [1, 4, 1], 3: [1, 1, 1], 4: [2, 0, 0]}, 3)
    found = expand(
        {"item": [1, 2]}, [{"item": near}] * 2, ITEMS, None, [(("item", "item"), [1, 1], [2, 3])]
    )
    assert found["rows"]["item"].tolist()[:3] == [1, 2, 4]  # 3 is not asked for by anyone else
    assert found["layers"]["2"]["item"]["weight"][:2].tolist() == [[0, 0, 0], [0, 2, 0]]
    assert found["layers"]["1"]["item"]["weight"][:4].tolist() == [
        [0, 0, 0],
        [0, 2, 0],
        [2, 0, 0],
        [0, 0, 0],
    ]
    one_way = {
        "user": ("user", "item"),
        "item": ("item", "item"),
    }  # items see items: no item sees a user
    near = Told({1: [1, 2]}, 2)
    found = expand(
        {"item": [1], "user": [1]},
        [{"item": near, "user": near}],
        one_way,
        None,
        [(("user", "item"), [1], [1])],
    )
    assert found["layers"]["1"]["item"]["weight"][0].tolist() == [2, 2]
    assert found["layers"]["1"]["user"]["weight"][0].tolist() == [0, 2]


def test_pairs_of_absent_and_unknown_nodes_mask_nothing():
    """Node 1 stands first and 2 last; 9 and 5,000,000 are not there, and 0 is nobody."""
    near, pairs = Told({1: [3, 4], 2: [4, 3]}, 2), ([9, 5_000_000, 0, 4], [4, 3, 3, 0])
    found = expand({"item": [1, 2]}, [{"item": near}], ITEMS, None, [(("item", "item"), *pairs)])
    assert found["layers"]["1"]["item"]["weight"][:2].tolist() == [[2, 2], [2, 2]]


def test_unknown_seeds_stand_first_and_see_nothing():
    near = UniformNeighbors(Graph.from_edges([1, 2], [2, 1], None, 4), 2)
    found, after = (
        expand({"item": seeds}, [{"item": near}], ITEMS, np.random.default_rng(0))
        for seeds in ([0, 2, 3], [2, 3])
    )
    assert found["rows"]["item"].tolist() == [0, 2, 3, 1] + [0] * 4
    assert found["layers"]["1"]["item"]["weight"][:4].tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    assert found["layers"]["1"]["item"]["position"][1].tolist() == [3, 3]
    assert after["rows"]["item"].tolist() == [2, 3, 1] + [0] * 5  # what was a seed before is none
    assert after["layers"]["1"]["item"]["position"][1].tolist() == [0, 0]


def flat(found):
    return [
        found["rows"],
        found["seeds"],
        *found["layers"]["1"].values(),
        *found["layers"]["2"].values(),
    ]


def same(one, other):
    return all(
        np.array_equal(a[key], b[key])
        for a, b in zip(flat(one), flat(other), strict=True)
        for key in a
    )


def test_equal_random_numbers_give_equal_batches_also_in_threads_and_after_others():
    graphs = users_and_items(3000, 2000, 30_000)
    layers = [
        {of_type: UniformNeighbors(graph, num) for of_type, graph in graphs.items()}
        for num in (10, 5)
    ]

    def batch(seed):
        rng = np.random.default_rng(seed)
        seeds = {
            "user": np.unique(rng.integers(1, 3000, 200)),
            "item": np.unique(rng.integers(1, 2000, 200)),
        }
        users = np.flatnonzero(graphs["user"].degrees)  # those that are there and all others
        own = users, graphs["user"].targets[graphs["user"].offsets[users]]
        found = expand(seeds, layers, BOTH_WAYS, rng, [(("user", "item"), *own)])
        pairs = {("user", *pair) for pair in zip(*own, strict=True)}
        assert not pairs & (edges_of(found, BOTH_WAYS, "1") | edges_of(found, BOTH_WAYS, "2"))
        return found

    def alone_in_a_thread(seed):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(batch, seed).result()

    alone = [alone_in_a_thread(seed) for seed in range(8)]
    assert not same(alone[0], alone[1])
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(batch, [*range(8)] * 5))
    assert all(same(found, alone[number % 8]) for number, found in enumerate(together))


def test_a_failure_leaves_nothing_behind():
    graph = Graph.from_edges([1, 2, 3], [2, 3, 1], None, 4)

    def broken(nodes, rng):
        raise RuntimeError("broken")

    seeds, good = {"item": [2]}, {"item": UniformNeighbors(graph, 1)}
    before = expand(seeds, [good], ITEMS, np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="broken"):
        expand({"item": [1, 3]}, [{"item": broken}, good], ITEMS, np.random.default_rng(0))
    after = expand(seeds, [good], ITEMS, np.random.default_rng(0))
    assert after["rows"]["item"].tolist() == before["rows"]["item"].tolist() == [2, 3] + [0] * 6


def test_sizes_are_few_and_near():
    assert [padded(num) for num in (0, 1, 8, 9, 11, 16, 17, 33, 1000)] == [
        8,
        8,
        8,
        10,
        12,
        16,
        20,
        40,
        1024,
    ]
    sizes = [padded(num) for num in range(1, 2**14 + 1)]
    assert len(set(sizes)) == 1 + 4 * 11  # 8, then four an octave up to 2**14
    assert all(num <= size < 1.25 * num + 2 or size == 8 for num, size in enumerate(sizes, 1))
    assert [padded(size) for size in sizes] == sizes == sorted(sizes)


def test_what_is_refused():
    near = Told({}, 2)
    for seeds in ([3, 2], [2, 2], [-1, 2], [[1]]):
        with pytest.raises(ValueError, match="Seeds must be rows of at least 0 that rise"):
            expand({"item": seeds}, [{"item": near}], ITEMS, None)
    with pytest.raises(ValueError, match=r"Layer 2 has neighbors by the relations \['user'\]"):
        expand({"item": [1]}, [{"item": near}, {"user": near}], ITEMS, None)
