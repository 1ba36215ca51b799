"""The service by hand, against a slow twin of its filters, and by what requests may and may not
change.
"""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Pretrained
from tf_recall.index import Exact
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

INF = np.inf


class Plain:
    """A model whose vectors are the side tables' own: the query is `taste`, the item is
    `vector`.
    """

    def __init__(self, log, catalog):
        self.query_tower = FeatureTower("user", [Pretrained("taste")], normalize=False)
        self.item_tower = FeatureTower("item", [Pretrained("vector")], normalize=False)
        self.query_tower.adapt(log, catalog)
        self.item_tower.adapt(log, catalog)

    def embed_catalog(self):
        return self.item_tower({"item": np.arange(1, self.item_tower.num_rows)}).numpy()


def make(tastes, vectors, pairs, **settings):
    """A service over `{id: vector}` for users and items; `pairs` are what was seen."""
    users = pd.DataFrame({"user_id": list(tastes), "taste": list(tastes.values())})
    items = pd.DataFrame({"item_id": list(vectors), "vector": list(vectors.values())})
    user_id, item_id = zip(*pairs, strict=True)
    log = Interactions.from_columns(
        user_id=list(user_id), item_id=list(item_id), users=users, items=items
    )
    catalog = Catalog.fit(log)
    return Service.build(Plain(log, catalog), catalog, **settings)


@pytest.fixture(scope="module")
def hand():
    """Scores of u1: a 1, b 0.75, d 0.5, c 0.  Of u2: c 1, d 0.5, b 0.25, a 0."""
    vectors = {"a": [1, 0], "b": [0.75, 0.25], "c": [0, 1], "d": [0.5, 0.5]}
    return make({"u1": [1, 0], "u2": [0, 1]}, vectors, [("u1", "a"), ("u1", "b"), ("u2", "c")])


def check(answer, ids, scores):
    np.testing.assert_array_equal(answer[0], ids)
    np.testing.assert_allclose(answer[1], scores)


def test_the_best_first(hand):
    check(
        hand.recommend(["u1", "u2"], k=3),
        [["a", "b", "d"], ["c", "d", "b"]],
        [[1, 0.75, 0.5], [1, 0.5, 0.25]],
    )
    check(hand.recommend("u1", k=1), [["a"]], [[1]])


def test_an_unknown_user_is_answered_from_the_features_given(hand):
    check(hand.recommend(["new"], k=2, taste=[0, 1]), [["c", "d"]], [[1, 0.5]])
    item_id, score = hand.recommend(["new"], k=4)  # nothing is known: some answer, all scores alike
    assert sorted(item_id[0]) == list("abcd") and not score.any()


def test_given_features_override_what_is_stored(hand):
    check(
        hand.recommend(["u1", "u1"], k=1, taste=[[np.nan, np.nan], [0, 1]]),
        [["a"], ["c"]],
        [[1], [1]],
    )


def test_exclude(hand):
    ids = [["b", "d", "c", ""], ["d", "b", "a", ""]]
    check(
        hand.recommend(["u1", "u2"], k=4, exclude=[["a", "nowhere", "a"], ["c"]]),
        ids,
        [[0.75, 0.5, 0, -INF], [0.5, 0.25, 0, -INF]],
    )
    check(hand.recommend(["u1", "u2"], k=1, exclude=["a", "c"]), [["b"], ["d"]], [[0.75], [0.5]])


def test_exclude_seen(hand):
    check(
        hand.recommend(["u1", "u2"], k=2, exclude_seen=True),
        [["d", "c"], ["d", "b"]],
        [[0.5, 0], [0.5, 0.25]],
    )
    check(
        hand.recommend(["u1", "u2"], k=2, exclude_seen=[False, True]),
        [["a", "b"], ["d", "b"]],
        [[1, 0.75], [0.5, 0.25]],
    )
    item_id, _ = hand.recommend(["u1", "new"], k=4, exclude_seen=True, exclude=["d"], taste=[1, 0])
    assert item_id.tolist() == [["c", "", "", ""], ["a", "b", "c", ""]]


def test_allow(hand):
    answer = hand.recommend(["u1", "u2"], k=3, allow=[["d", "c", "d", "nowhere"], ["a"]])
    check(answer, [["d", "c", ""], ["a", "", ""]], [[0.5, 0, -INF], [0, -INF, -INF]])


def test_allow_for_some_users_only(hand):
    check(
        hand.recommend(["u1", "u2"], k=2, allow=[[], ["a", "b"]]),
        [["a", "b"], ["b", "a"]],
        [[1, 0.75], [0.25, 0]],
    )


def test_a_list_of_unknown_ids_allows_nothing(hand):
    check(
        hand.recommend(["u1", "u2"], k=2, allow=[["nowhere"], []]),
        [["", ""], ["c", "d"]],
        [[-INF, -INF], [1, 0.5]],
    )


def test_what_is_excluded_is_not_allowed(hand):
    answer = hand.recommend(["u1"], k=2, allow=["a", "b", "c"], exclude=["c"], exclude_seen=True)
    check(answer, [["", ""]], [[-INF, -INF]])
    check(hand.recommend(["u1"], k=2, allow=["a", "b", "c"], exclude=["b"]), [["a", "c"]], [[1, 0]])


def test_the_items_most_like_an_item(hand):
    # products of vectors: a.b 0.75, a.d 0.5, a.c 0, b.d 0.375 + 0.125, b.c 0.25, c.d 0.5
    ids = [["b", "d", "c", ""], ["a", "d", "c", ""], ["d", "b", "a", ""]]
    scores = [[0.75, 0.5, 0, -INF], [0.75, 0.5, 0.25, -INF], [0.5, 0.25, 0, -INF]]
    check(hand.similar(["a", "b", "c"], k=4), ids, scores)
    check(hand.similar("a", k=1), [["b"]], [[0.75]])
    check(hand.similar([], k=2), np.empty((0, 2)), np.empty((0, 2)))


def test_an_item_is_never_like_itself_whatever_the_request_says(hand):
    check(
        hand.similar(["a", "b"], k=2, allow=[["a", "c"], ["b"]]),
        [["c", ""], ["", ""]],
        [[0, -INF], [-INF, -INF]],
    )
    # not even where it is another
    check(hand.similar(["a"], k=3, vector=[0, 1]), [["c", "d", "b"]], [[1, 0.5, 0.25]])


def test_items_like_an_item_within_the_lists(hand):
    check(
        hand.similar(["a", "b"], k=2, exclude=["b", "nowhere"]),
        [["d", "c"], ["a", "d"]],
        [[0.5, 0], [0.75, 0.5]],
    )
    answer = hand.similar(["a", "b"], k=2, allow=[["c", "d", "b"], []], exclude=[["b"], ["a"]])
    check(answer, [["d", "c"], ["d", "c"]], [[0.5, 0], [0.5, 0.25]])


def test_an_unknown_item_is_answered_from_the_features_given(hand):
    answer = hand.similar(["new", "c"], k=3, vector=[[0, 1], [np.nan] * 2])
    check(answer, [["c", "d", "b"], ["d", "b", "a"]], [[1, 0.5, 0.25], [0.5, 0.25, 0]])
    # of nothing known there is no answer
    check(hand.similar(["new", "a"], k=2), [["", ""], ["b", "d"]], [[-INF, -INF], [0.75, 0.5]])
    for asked, given in (("new", {}), (["new"] * 2, {}), (["new"], {"vector": [1, np.nan]})):
        with pytest.raises(ValueError, match="item 'new' is unknown, and the request brings no"):
            hand.similar(asked, k=4, **given)
    # what is known has an answer, be it empty
    check(hand.similar(["new"], k=1, vector=[1, 0], allow=["x"]), [[""]], [[-INF]])
    check(hand.similar(["a"], k=1, allow=["x"]), [[""]], [[-INF]])


def test_the_graph_answers_nothing_to_an_item_of_which_nothing_is_known(hand):
    given = {"item_id": ["new", "new", "a", "new"], "vector": [[0, 1], None, None, [1e40, 1]]}
    arrays = batch(hand.inputs["similar_items"], "item_id", given)
    arrays["vector"][3] = [np.inf, 1]  # a server's client sends what it likes
    rows, score = hand.similar_items(arrays, tf.constant(2))
    items = hand.catalog.items.decode(rows.numpy())
    check(
        (items, score),
        [["c", "d"], ["", ""], ["b", "d"], ["", ""]],
        [[1, 0.5], [-INF, -INF], [0.75, 0.5], [-INF, -INF]],
    )


def test_scores_that_are_nan_are_no_answer(hand):
    class Broken(FeatureTower):
        def call(self, inputs, training=False):
            return super().call(inputs) * np.nan

    towers = []
    for entity, column in (("user", "taste"), ("item", "vector")):
        towers.append(Broken(entity, [Pretrained(column)], normalize=False))
        towers[-1].adapt(None, hand.catalog)  # the side table has all of its columns
    service = Service(*towers, hand.index, hand.catalog)
    for ask in (service.recommend, service.recommend_rows, service.recommend_sources):
        with pytest.raises(ValueError, match="the scores are NaN: the model has diverged"):
            ask(["u1"], k=2)
        with pytest.raises(ValueError, match="the scores are NaN"):
            ask(["u1"], k=2, allow=["a", "b"])
    with pytest.raises(ValueError, match="the scores are NaN"):
        service.similar(["a"], k=2)
    merged = MultiChannel({"one": hand, "broken": service}, hand.catalog)
    with pytest.raises(ValueError, match="the scores are NaN"):
        merged.recommend(["u1"], k=2)


def test_numbers_beyond_float32_are_missing(hand):
    same = hand.recommend(["u1"], k=2)
    for taste in ([1e40, 0], [[np.inf, 0]], [0, -1e39], [None, 1], [[np.nan, 1]]):
        check(hand.recommend(["u1"], k=2, taste=taste), *same)


def test_a_tower_may_tell_items_as_queries_from_items_as_answers(hand):
    class Opposite(FeatureTower):
        def as_query(self, vectors):
            return vectors[:, ::-1]

    item_tower = Opposite("item", [Pretrained("vector")], normalize=False)
    item_tower.adapt(None, hand.catalog)  # the side table has all of its columns
    service = Service(hand.query_tower, item_tower, hand.index, hand.catalog)
    check(service.similar(["a"], k=3), [["c", "d", "b"]], [[1, 0.5, 0.25]])  # asks with [0, 1]
    np.testing.assert_array_equal(service.embed_item(["a"]), [[1, 0]])


def test_rows_are_those_of_the_catalog(hand):
    rows, score = hand.recommend_rows(["u1", "u2"], 4, exclude_seen=True)
    item_id, same = hand.recommend(["u1", "u2"], 4, exclude_seen=True)
    assert rows.dtype == np.int32 and (rows[:, -1] == 0).all()
    np.testing.assert_array_equal(hand.catalog.items.decode(rows), item_id)
    np.testing.assert_array_equal(score, same)


def test_embeddings(hand):
    np.testing.assert_array_equal(hand.embed_query(["u1", "new"]), [[1, 0], [0, 0]])
    np.testing.assert_array_equal(hand.embed_query(["u1", "new"], taste=[3, 4]), [[3, 4], [3, 4]])
    np.testing.assert_array_equal(hand.embed_item(["b", "new"]), [[0.75, 0.25], [0, 0]])
    np.testing.assert_array_equal(hand.embed_item("new", vector=[3, 4]), [[3, 4]])


def test_an_empty_batch_has_an_empty_answer(hand):
    item_id, score = hand.recommend([], k=3, exclude_seen=True)
    assert item_id.shape == score.shape == (0, 3)


def test_k_beyond_the_service_is_refused(hand):
    assert hand.k_max == 4
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 4, .* got 5"):
        hand.recommend(["u1"], k=5)
    with pytest.raises(ValueError, match="whole number"):
        hand.recommend_rows(["u1"], k=0)


def test_mistakes_are_named(hand):
    with pytest.raises(ValueError, match="Service takes no tatse; it takes .*taste"):
        hand.recommend(["u1"], 1, tatse=[1, 0])
    with pytest.raises(TypeError, match="user_id must hold string ids"):
        hand.recommend([1], 1)
    with pytest.raises(TypeError, match="item_id must hold string ids"):
        hand.similar([1], 1)
    with pytest.raises(
        ValueError, match="takes no exclude_seen; it takes allow, exclude, item_id, vector"
    ):
        hand.similar(["a"], 1, exclude_seen=True)
    with pytest.raises(ValueError, match="Service takes no history; it takes"):
        hand.recommend(["u1"], 1, history=["a"])
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 4"):
        hand.similar(["a"], 5)
    with pytest.raises(ValueError, match="k_max must be 1 or more, got 0"):
        Service(
            Plain(None, hand.catalog).query_tower,
            Plain(None, hand.catalog).item_tower,
            hand.index,
            hand.catalog,
            k_max=0,
        )
    with pytest.raises(ValueError, match="the index holds 2 vectors, the catalog 4 items"):
        Service(hand.query_tower, hand.item_tower, Exact().build(np.eye(2)), hand.catalog)


def twin(service, user, k, exclude, allow, seen_too):
    """The docstring of `Service.recommend`, one user and one item at a time."""
    catalog = service.catalog
    seen = (
        catalog.items.decode(catalog.seen.of(catalog.users.encode([user])[0])) if seen_too else []
    )
    return nearest(service, service.embed_query([user])[0], k, exclude, allow, seen)


def nearest(service, query, k, exclude, allow, own):
    blank = "" if service.catalog.items.dtype == "string" else -1
    items, found = service.catalog.items.ids, []
    for item, vector in zip(items, service.embed_item(items), strict=True):
        if (len(allow) and item not in allow) or item in exclude or item in own:
            continue
        found.append((float(query @ vector), item))
    found = sorted(found, key=lambda pair: -pair[0])[:k] + [(-INF, blank)] * k
    return [item for _, item in found[:k]], [score for score, _ in found[:k]]


@pytest.mark.parametrize("number", [False, True], ids=["string ids", "integer ids"])
def test_filters_against_a_slow_twin(number):
    generator = np.random.default_rng(5)
    name = (lambda at: int(at) * 3) if number else (lambda at: f"ü{at}")
    tastes = {name(at): generator.normal(size=4) for at in range(9)}
    vectors = {name(at): generator.normal(size=4) for at in range(40)}
    pairs = [
        (name(generator.integers(9)), name(generator.integers(40) ** 2 // 40)) for _ in range(60)
    ]
    service = make(tastes, vectors, pairs, k_max=30)
    for _ in range(8):
        users = [name(at) for at in generator.integers(9, size=5)]
        exclude = [
            [name(at) for at in generator.integers(45, size=generator.integers(12))] for _ in users
        ]
        allow = [
            [name(at) for at in generator.integers(45, size=generator.choice([0, 1, 20]))]
            for _ in users
        ]
        seen, k = generator.random(5) < 0.5, int(generator.integers(1, 31))
        item_id, score = service.recommend(
            users, k, exclude=exclude, allow=allow, exclude_seen=seen
        )
        expected = [
            twin(service, *row) for row in zip(users, [k] * 5, exclude, allow, seen, strict=True)
        ]
        np.testing.assert_array_equal(
            item_id, np.array([ids for ids, _ in expected], dtype=item_id.dtype)
        )
        np.testing.assert_allclose(score, [scores for _, scores in expected], rtol=1e-5, atol=1e-6)
        for row, user in enumerate(users):  # nobody's answer depends on who else is in the batch
            alone, its_score = service.recommend(
                [user],
                k,
                exclude=exclude[row : row + 1],
                allow=allow[row : row + 1],
                exclude_seen=seen[row],
            )
            np.testing.assert_array_equal(alone[0], item_id[row])
            np.testing.assert_allclose(its_score[0], score[row], rtol=1e-5)
        items = [name(at) for at in generator.integers(40, size=5)]
        item_id, score = service.similar(items, k, exclude=exclude, allow=allow)
        asked = zip(
            service.embed_item(items),
            [k] * 5,
            exclude,
            allow,
            [[item] for item in items],
            strict=True,
        )
        expected = [nearest(service, *row) for row in asked]
        np.testing.assert_array_equal(
            item_id, np.array([ids for ids, _ in expected], dtype=item_id.dtype)
        )
        np.testing.assert_allclose(score, [scores for _, scores in expected], rtol=1e-5, atol=1e-6)


def test_seen_pairs_cost_nothing_unless_asked_for(hand):
    users = hand.catalog.users.encode(["u1", "u2"])
    assert hand._seen(users, np.array([False, False])).shape == (2, 0)
    assert hand._seen(users, np.array([False, True])).shape == (2, 1)


def test_one_trace_answers_every_request(hand):
    for k in (1, 2, 3):
        hand.recommend(["u1"] * k, k=k, exclude=["a"] * k, allow=[["b"] * k] * k, exclude_seen=True)
        hand.similar(["b"] * k, k=k, exclude=["a"] * k, allow=[["b"] * k] * k)
    assert (
        hand.answer.experimental_get_tracing_count()
        == hand.similar_items.experimental_get_tracing_count()
        == 1
    )


def test_the_recall_of_the_index_is_measured_with_users():
    class Spy(Exact):
        def build(self, vectors, queries=None):
            self.queries = np.array(queries)
            return super().build(vectors, queries)

    spy = Spy()
    make(
        {"u1": [1, 0], "u2": [0, 1]},
        {"a": [1, 0], "b": [0, 1]},
        [("u1", "a"), ("u2", "b")],
        index=spy,
    )
    assert sorted(spy.queries.tolist()) == [[0, 1], [1, 0]]


def test_what_speaks_for_an_item(hand):
    # u1 has a = [1, 0] and b = [0.75, 0.25]; d = [1, 1] / 2: cos(a, d) = 1 / sqrt 2, cos(b, d) = 1
    # / sqrt(2.5 / 2)
    a, b = 1 / np.sqrt(2), 0.5 / np.sqrt(0.5 * 0.625)
    reasons = hand.explain("u1", "d")
    assert [(reason["kind"], reason["id"]) for reason in reasons] == [("item", "b"), ("item", "a")]
    np.testing.assert_allclose(
        [reason["share"] for reason in reasons], [b / (a + b), a / (a + b)], rtol=1e-6
    )
    assert [reason["id"] for reason in hand.explain("u1", "d", num=1)] == ["b"]


def test_an_item_does_not_speak_for_itself_nor_what_is_unlike_it(hand):
    assert [reason["id"] for reason in hand.explain("u1", "a")] == ["b"]
    assert hand.explain("u2", "a") == []  # c is at a right angle to a
    assert hand.explain("nobody", "a") == []


def test_an_unknown_item_is_not_explained(hand):
    with pytest.raises(
        ValueError, match="item 'nowhere' is unknown: it is not among the 4 of the catalog"
    ):
        hand.explain("u1", "nowhere")
