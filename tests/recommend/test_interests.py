"""Several vectors a user: by hand, against loops over all of them, and what explains an answer."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.features import Pretrained
from tf_recall.index import IVF, Exact, ScaNN
from tf_recall.recommend.explanations import nearest_interest
from tf_recall.recommend.interests import merged
from tf_recall.towers.features import FeatureTower

INF = np.inf


class Tastes(FeatureTower):
    """A user's column `taste`, as several vectors."""

    def __init__(self, interests, dim):
        super().__init__("user", [Pretrained("taste")], normalize=False)
        self.interests, self.size = interests, dim

    @property
    def dim(self):
        return self.size

    def unscaled(self, inputs, training=False):
        return tf.reshape(super().unscaled(inputs, training), [-1, self.interests, self.size])


def make(tastes, vectors, pairs, index=None, k_max=200):
    """A service over `{user: [K, D]}` and `{item: [D]}`; `pairs` are what was seen."""
    tastes = {user: np.array(of_user, float) for user, of_user in tastes.items()}
    flat = [of_user.ravel().tolist() for of_user in tastes.values()]
    users = pd.DataFrame({"user_id": list(tastes), "taste": flat})
    items = pd.DataFrame({"item_id": list(vectors), "vector": list(vectors.values())})
    user_id, item_id = zip(*pairs, strict=True)
    log = tr.Interactions.from_columns(
        user_id=list(user_id), item_id=list(item_id), users=users, items=items
    )
    catalog = tr.Catalog.fit(log)
    query = Tastes(*next(iter(tastes.values())).shape)
    item = FeatureTower("item", [Pretrained("vector")], normalize=False)
    query.adapt(log, catalog)
    item.adapt(log, catalog)

    def embed_catalog():
        return item({"item": np.arange(1, item.num_rows)}).numpy()

    model = SimpleNamespace(query_tower=query, item_tower=item, embed_catalog=embed_catalog)
    return tr.Service.build(model, catalog, index, k_max)


@pytest.fixture(scope="module")
def hand():
    """u's scores by interest: a 1 and 0, b 0.75 and 0.2, c 0 and 0.8, d 0.5 and 0.4."""
    vectors = {"a": [1, 0], "b": [0.75, 0.25], "c": [0, 1], "d": [0.5, 0.5]}
    return make({"u": [[1, 0], [0, 0.8]]}, vectors, [("u", "a")])


def check(answer, ids, scores):
    np.testing.assert_array_equal(answer[0], ids)
    np.testing.assert_allclose(answer[1], scores, rtol=1e-6)


def test_the_highest_score_of_any_interest_counts(hand):
    check(hand.recommend("u", k=4), [list("acbd")], [[1, 0.8, 0.75, 0.5]])
    check(hand.recommend("u", k=2), [["a", "c"]], [[1, 0.8]])
    check(hand.recommend("u", k=2, exclude_seen=True), [["c", "b"]], [[0.8, 0.75]])
    check(hand.recommend("u", k=3, exclude=["c", "b"]), [["a", "d", ""]], [[1, 0.5, -INF]])
    check(hand.recommend("u", k=3, allow=["d", "c", "d"]), [["c", "d", ""]], [[0.8, 0.5, -INF]])
    check(hand.similar("a", k=1), [["b"]], [[0.75]])
    np.testing.assert_allclose(hand.embed_query(["u", "nobody"])[0], [[1, 0], [0, 0.8]])


def test_merging_by_hand():
    score = np.float32([[0.9, 0.5, -INF, 0.9, 0.7, 0.5], [0.1, -INF, -INF, 0.3, 0.2, -INF]])
    position = [[4, 2, -1, 3, 4, 1], [5, -1, -1, 5, 6, -1]]
    found = merged(tf.constant(score), tf.constant(position), tf.constant(4))
    check(
        (found[1].numpy()[:, :3], found[0].numpy()[:, :3]),
        [[3, 4, 1], [5, 6, -1]],
        [[0.9, 0.9, 0.5], [0.3, 0.2, -INF]],
    )
    assert found[0].numpy()[:, 3].tolist() == [0.5, -INF]


INDEXES = {"exact": Exact, "ivf": lambda: IVF(num_lists=5, num_probes=5), "scann": ScaNN}


@pytest.mark.parametrize("index", INDEXES)
def test_against_a_loop_over_interests_and_items(index):
    if index == "scann" and importlib.util.find_spec("scann") is None:
        pytest.skip("ScaNN is not installed")
    rng = np.random.default_rng(0)
    tastes = {f"u{n}": rng.standard_normal([3, 4]) for n in range(20)}
    vectors = {f"i{n}": rng.standard_normal(4).tolist() for n in range(90)}
    pairs = [(f"u{n % 20}", f"i{item}") for n, item in enumerate(rng.integers(90, size=200))]
    service = make(tastes, vectors, pairs, INDEXES[index]())
    users, ids = list(tastes), list(vectors)
    exclude = [rng.choice(ids, n % 7).tolist() for n in range(20)]
    allow = [rng.choice(ids, 30).tolist() if n % 2 else [] for n in range(20)]
    seen = np.arange(20) % 3 == 0
    given = {"exclude": exclude, "exclude_seen": seen, "allow": allow}
    found, scores = service.recommend(users, k=12, **given)
    for user, line, score, out, only, flag in zip(
        users, found, scores, exclude, allow, seen, strict=True
    ):
        gone = {*out, *(item for owner, item in pairs if flag and owner == user)}
        best = {
            item: max(taste @ vectors[item] for taste in tastes[user])
            for item in (only or ids)
            if item not in gone
        }
        expected = sorted(best, key=best.get, reverse=True)[:12]
        assert line[: len(expected)].tolist() == expected and (line[len(expected) :] == "").all()
        np.testing.assert_allclose(score[: len(expected)], [best[i] for i in expected], rtol=1e-4)


def test_counted_ranks_are_the_places_in_the_lists():
    rng = np.random.default_rng(1)
    tastes = {f"u{n}": rng.standard_normal([3, 4]) for n in range(30)}
    vectors = {f"i{n}": rng.standard_normal(4).tolist() for n in range(50)}
    service = make(tastes, vectors, [(f"u{n % 30}", f"i{n % 50}") for n in range(150)])
    assert service.counts_ranks and service.interests == 3
    request = service.request_for_users(list(tastes), exclude_seen=True, exclude=["i3", "i4"])
    lists, _ = service.answer_rows(request, 50)
    line, place = np.nonzero(lists)
    item = lists[line, place]
    order = np.lexsort([item, line])
    above, near = service.answer_ranks(request, line[order], item[order], 50)
    sure = near == 0  # of the others only a list can tell, and an evaluation asks for it
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(above[sure], place[order][sure])


def test_the_index_is_measured_with_every_interest():
    class Spy(Exact):
        def build(self, vectors, queries=None):
            self.queries = np.array(queries)
            return super().build(vectors, queries)

    spy = Spy()
    make({"u": [[1, 0], [0, 2]]}, {"a": [1, 0], "b": [0, 1]}, [("u", "a")], spy)
    assert sorted(spy.queries.tolist()) == [[0, 2], [1, 0]]


def test_which_interest_answered_by_hand():
    """c is nearest to the second vector: of it b has 0.3 + 0.1, a 0.6, and c itself is left out."""
    embedding = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    ids = np.array(["", "b", "a", "b", "c"], object)
    weight = np.array([[0, 0.25, 0.25, 0.25, 0.25], [0, 0.3, 0.6, 0.1, 0.5], [0] * 5])
    found = nearest_interest(embedding, ids, weight, np.array([0.1, 0.9]), "c", 3)
    assert [(each["id"], each["interest"]) for each in found] == [("a", 1), ("b", 1)]
    np.testing.assert_allclose([each["share"] for each in found], [0.6, 0.4])
    found = nearest_interest(embedding, ids, weight, np.array([0.9, 0.1]), "z", 1)
    assert found == [{"kind": "item", "id": "b", "share": 0.5, "interest": 0}]
    assert not nearest_interest(embedding, ids, weight, np.array([0, -1.0]), "b", 3)[0]["interest"]
    assert nearest_interest(embedding[2:], ids, weight[2:], np.array([0, 1.0]), "c", 3) == []
