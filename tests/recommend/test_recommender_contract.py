"""What everything that recommends keeps to; a member is known by name only to be made."""

import inspect
import itertools
import json
from dataclasses import asdict

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Categorical, History, Id
from tf_recall.index import Exact
from tf_recall.lists import redis_load, redis_store
from tf_recall.lists.read import ItemLists, Lists, read
from tf_recall.lists.redis_store import RedisItemLists, RedisLists
from tf_recall.lists.write import write_lists, write_similar
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.service import Service
from tf_recall.registry import REGISTRY, find, make
from tf_recall.towers.features import FeatureTower

GIVEN = {
    "inverted_index": {"attributes": [{"column": "genres", "separator": "|"}]},
    "operational": {"column": "year"},
    "quotas": {"quotas": {"item_cf": 3, "service": 2}},
}
COUNTED = [name for name in REGISTRY["channel"] if hasattr(find("channel", name), "fit")]
MERGES = [f"merge {name}" for name in REGISTRY["merge"]]
EXPORTS = ["service", "history", "loaded", "loaded history", "loaded without its model"]
EXPORTS += ["neighbors", "loaded neighbors"]
LISTS = ["lists", "item lists", "redis lists", "redis item lists"]
PUBLIC = ("recommend", "recommend_rows", "recommend_sources", "similar", "explain")
pytestmark = pytest.mark.parametrize("name", [*COUNTED, *EXPORTS, *MERGES, *LISTS])


class FakeRedis:
    """As much of a client as readers use, over a dict."""

    def __init__(self, values):
        self.values, self.asked = values, []

    def get(self, key):
        self.asked.append(self.values.get(key))
        return self.asked[-1]

    def mget(self, keys):
        self.asked.append([self.values.get(key) for key in keys])

    def pipeline(self):
        return FakeRedis(self.values)

    def execute(self):
        return self.asked


class World:
    """Planted interactions, and every recommender over them, made once."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch, self.made = folder, monkeypatch, {}
        planted = synthetic(120, 60, 2400, seed=1).interactions
        ids = planted.frame["user_id"].unique()
        users = pd.DataFrame({"user_id": ids, "device": ["tv", "phone"] * (len(ids) // 2)})
        log = Interactions.from_columns(
            **{name: planted.frame[name].to_numpy() for name in planted.frame},
            users=users,
            items=planted.items,
        )
        self.split = tr.leave_last_out(log)
        self.catalog = tr.Catalog.fit(self.split.train)
        self.users = [*self.catalog.users.ids[:12], "nobody"]
        self.items = self.catalog.items.ids[:10]

    def __call__(self, name):
        if name not in self.made:
            self.made[name] = self.make(name)
        return self.made[name]

    def make(self, name):
        if name in COUNTED:
            channel = make("channel", name, **GIVEN.get(name, {}))
            return channel.fit(self.split.train, self.catalog)
        if name in MERGES:
            kind = name.removeprefix("merge ")
            channels = {each: self(each) for each in ("item_cf", "popularity", "service")}
            return tr.MultiChannel(
                channels, self.catalog, make("merge", kind, **GIVEN.get(kind, {}))
            )
        if name in ("service", "history", "neighbors"):
            return self.service(name)[0]
        if name.startswith("loaded"):
            return self.loaded(name)
        return self.lists(name)

    def service(self, name):
        keras.utils.set_random_seed(0)  # vectors that do not all point away from each other
        if "neighbors" in name:
            model = tr.Siamese(dim=4).adapt(self.split.train, self.catalog)
            return Service.build(model, self.catalog, Exact(), k_max=40), model
        features = [Id(4), Categorical("device", dim=4), *[History(4)] * ("history" in name)]
        query = FeatureTower("user", features, units=[4])
        model = TwoTower(query, FeatureTower("item", [Id(4)], units=[4]))
        model.adapt(self.split.train, self.catalog)
        return Service.build(model, self.catalog, Exact(), k_max=40), model

    def loaded(self, name):
        service, model = self.service(name)
        kept = None if "without" in name else model
        path = save(service, self.folder / name.replace(" ", "_"), model=kept)
        return load(path)

    def lists(self, name):
        path = self.folder / "lists.parquet"
        if "item" in name:
            write_similar(self("item_cf"), self.catalog.items.ids, path, k=20)
        else:
            write_lists(self("merge round_robin"), self.catalog.users.ids, path, k=20)
        if "redis" not in name:
            kind = ItemLists if "item" in name else Lists
            return kind.load(path, catalog=self.catalog)
        form, batches = read(path)
        values = {"home:current": json.dumps({"version": "v", **asdict(form)}).encode()}
        for batch in batches:
            values |= {f"home:v:{one}": text for one, text in redis_load._values(batch, form)}
        self.monkeypatch.setattr(redis_store, "connect", lambda url: FakeRedis(values))
        kind = RedisItemLists if "item" in name else RedisLists
        return kind("redis://fake", "home", catalog=self.catalog)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield World(tmp_path_factory.mktemp("contract"), monkeypatch)


@pytest.fixture
def made(name, world):
    if "redis" in name:
        pytest.importorskip("redis")
    return world(name)


@pytest.fixture
def for_users(made):
    if not made.answers_users:
        pytest.skip("it answers items alone, as another test asks")
    return made


def check(item_id, score, k):
    assert item_id.shape == score.shape and score.dtype == np.float32
    assert item_id.shape[1] == k
    assert ((item_id == "") == (score == -np.inf)).all()
    with np.errstate(invalid="ignore"):
        assert not (score[:, :-1] < score[:, 1:]).any()
    for line in item_id:
        kept = line[line != ""].tolist()
        assert len(set(kept)) == len(kept) and (line[: len(kept)] != "").all()


def refused(made, argument):
    """What an argument that it does not take is answered with."""
    return pytest.raises(
        ValueError, match=f"{type(made).__name__} takes no {argument}; it takes .*user_id"
    )


def test_it_declares_what_it_does(made):
    assert isinstance(made, Recommender)
    flags = ("answers_users", "answers_items", "explains", "takes_history", "counts_ranks")
    assert all(type(getattr(made, flag)) is bool for flag in flags)
    assert made.answers_users or made.answers_items
    assert made.k_max == int(made.k_max) >= 20
    assert made.catalog is None or made.catalog.num_items == 60
    assert set(made.filters) <= {"exclude", "allow", "exclude_seen"}
    assert isinstance(made.sources, tuple)
    assert set(made.id_types.values()) <= {"string", "int64"} and "item_id" in made.id_types
    for columns in (made.query_columns, made.item_columns):
        assert all(isinstance(spec, tf.TensorSpec) for spec in columns.values())


def test_its_methods_are_those_of_all(made):
    for method in PUBLIC:
        assert getattr(type(made), method) is getattr(Recommender, method)
    given = inspect.signature(Recommender.recommend).parameters
    assert list(given)[3:] == ["exclude", "allow", "exclude_seen", "history", "context"]
    assert inspect.signature(Recommender.recommend_rows).parameters == given
    for method in ("similar", "explain"):
        parameters = inspect.signature(getattr(Recommender, method)).parameters
        shared = {each: parameter for each, parameter in parameters.items() if each in given}
        assert all(parameter == given[each] for each, parameter in shared.items())


def test_ids_and_rows_agree(for_users, world):
    item_id, score = for_users.recommend(world.users, 15)
    check(item_id, score, 15)
    rows, same = for_users.recommend_rows(world.users, 15)
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(world.catalog.items.decode(rows), item_id)
    np.testing.assert_array_equal(same, score)


def test_a_user_gets_the_same_alone_as_among_others(for_users, world):
    item_id, score = for_users.recommend(world.users, 15)
    for user, items, values in zip(world.users, item_id, score, strict=True):
        alone, its_score = for_users.recommend(user, 15)
        np.testing.assert_array_equal(alone[0], items)
        np.testing.assert_allclose(its_score[0], values, rtol=1e-5)
    assert [part.shape for part in for_users.recommend([], 5)] == [(0, 5)] * 2


@pytest.mark.parametrize("k", [0, -1, 2.5, 5.0, 1000, None, True, "5", [5]])
def test_an_impossible_k_is_refused(made, world, k):
    ask, some = (made.recommend, world.users) if made.answers_users else (made.similar, world.items)
    with pytest.raises(ValueError, match=f"k must be a whole number from 1 to {made.k_max}, "):
        ask(some, k)


def test_what_is_excluded(for_users, world):
    if "exclude" not in for_users.filters:
        with refused(for_users, "exclude"):
            for_users.recommend(world.users, 5, exclude=["i1"])
        return
    plain, _ = for_users.recommend(world.users, 6)
    exclude = [line[:3].tolist() for line in plain]
    found, score = for_users.recommend(world.users, 6, exclude=exclude)
    check(found, score, 6)
    for line, out in zip(found, exclude, strict=True):
        assert not set(line) & set(out) - {""}
    found, _ = for_users.recommend(world.users, 6, exclude=plain[0].tolist())
    assert not set(found.ravel()) & set(plain[0]) - {""}


def test_what_is_allowed(for_users, world):
    if "allow" not in for_users.filters:
        with refused(for_users, "allow"):
            for_users.recommend(world.users, 5, allow=["i1"])
        return
    plain, _ = for_users.recommend(world.users, 6)
    allow = [line[2:4].tolist() for line in plain]
    found, score = for_users.recommend(world.users, 3, allow=allow)
    check(found, score, 3)
    for line, only in zip(found, allow, strict=True):
        assert set(line) <= {*only, ""}
    found, _ = for_users.recommend(world.users[:2], 3, allow=[["nowhere"], []])
    assert set(found[0]) == {""}
    np.testing.assert_array_equal(found[1], for_users.recommend(world.users[1], 3)[0][0])


CHOICES = {  # of each row
    "exclude": [["i1", "i2", "nowhere"], [], ["nowhere"], ["i3"], ["i1"], []],
    "allow": [["i1", "i2", "i3", "i4", "i5"], ["nowhere"], [], ["i6", "i7"], [], ["i1", "i2"]],
    "exclude_seen": [True, False, True, True, False, True],
    "history": [[], ["i3", "i4"], ["nowhere"], [], ["i1", "i5"], []],
}


def test_unknown_users_among_known_ones_whatever_is_asked(for_users, world):
    users = ["nobody", "u1", "nobody else", "u2", "u1", "u1\0"]
    taken = [name for name in CHOICES if name in for_users.inputs_of("user_id")]
    pairs = itertools.combinations(taken, 2)
    for names in (
        (),
        *zip(taken, strict=True),
        *(pair for pair in pairs if "allow" in pair),
        taken,
    ):
        given = {name: CHOICES[name] for name in names}
        item_id, score = for_users.recommend(users, 6, **given)
        check(item_id, score, 6)
        for row, user in enumerate(users):
            one = {name: values[row] for name, values in given.items()}
            alone, its_score = for_users.recommend(user, 6, **one)
            np.testing.assert_array_equal(alone[0], item_id[row])
            np.testing.assert_allclose(its_score[0], score[row], rtol=1e-5)
            allow, exclude = one.get("allow"), one.get("exclude", [])
            assert not allow or set(item_id[row]) <= {*allow, ""}
            assert not set(item_id[row]) & set(exclude)


def test_a_request_from_json_is_the_same(for_users, world):
    taken = for_users.inputs_of("user_id")
    given = {name: values for name, values in CHOICES.items() if name in taken}
    users = ["u1", None, "u2", "nobody", "u3", "u4"]
    expected = for_users.recommend(np.array(users, object), 6, **given)
    request = json.loads(json.dumps({"user_id": users, "k": 6, **given}))
    for one, other in zip(for_users.recommend(**request), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_unknown_ids_are_told(for_users, world):
    taken = for_users.inputs_of("user_id")
    given = {name: ["nowhere", "i1", "i1\0", ""] for name in CHOICES if name in taken}
    given.pop("exclude_seen", None)
    found = for_users.request_for_users(["u1", "nobody", "", "nobody"], **given).unknown()
    expected = {"user_id": ["nobody"], **dict.fromkeys(given, ["nowhere", "i1\0"])}
    if for_users.catalog is None:  # users cannot be told
        del expected["user_id"]
    assert found == expected
    assert for_users.request_for_users("u1").unknown() == {}


def test_what_is_seen(for_users, world):
    if "exclude_seen" not in for_users.filters:
        with refused(for_users, "exclude_seen"):
            for_users.recommend(world.users, 5, exclude_seen=True)
        return
    flags = [True] * 6 + [False] * 7
    found, score = for_users.recommend(world.users, 20, exclude_seen=flags)
    check(found, score, 20)
    rows = world.catalog.users.encode(world.users)
    for line, row in zip(found[:6], rows, strict=False):
        assert not set(line) & set(world.catalog.items.decode(world.catalog.seen.of(int(row))))
    np.testing.assert_array_equal(found[6:], for_users.recommend(world.users[6:], 20)[0])


def test_a_history_stands_for_the_user(for_users, world):
    items = world.items[[2, 5, 7]].tolist()
    if not for_users.takes_history:
        with refused(for_users, "history"):
            for_users.recommend(world.users, 5, history=items)
        return
    found, score = for_users.recommend(["nobody"], 10, history=items, exclude_seen=True)
    check(found, score, 10)
    assert not set(found[0]) & set(items)
    none, _ = for_users.recommend(world.users[:2], 10, history=[[], ["nowhere"]])
    np.testing.assert_array_equal(none, for_users.recommend(world.users[:2], 10)[0])


def test_the_context_that_it_declares(for_users, world):
    for column in for_users.query_columns:
        found, score = for_users.recommend(world.users, 5, **{column: "tv"})
        check(found, score, 5)
    with refused(for_users, "weather"):
        for_users.recommend(world.users, 5, weather="rain")
    for_users.recommend(world.users, 5, weather=None)  # None is not given


def test_mistakes_are_named(for_users, world):
    with pytest.raises(TypeError, match="user_id must hold string ids"):
        for_users.recommend([7], 3)
    with pytest.raises(TypeError, match="user_id must be an id, or a flat list of ids; got"):
        for_users.recommend([["u1"], ["u2"]], 3)
    if "exclude_seen" in for_users.filters:
        for flags in ("false", 0, [1, 0], [True, None], [[True], [False]]):
            with pytest.raises(TypeError, match="exclude_seen must hold True or False, or one"):
                for_users.recommend(["u1", "u2"], 3, exclude_seen=flags)
    if for_users.takes_history:
        with pytest.raises(TypeError, match="history must be a list of ids, or a list of such"):
            for_users.recommend(["u1", "u2"], 3, history=[["i1"], "i2"])
    if "exclude" in for_users.filters:
        with pytest.raises(TypeError, match="exclude must hold string ids"):
            for_users.recommend(["u1"], 3, exclude=[[1]])
        with pytest.raises(ValueError, match="exclude must have one list for each"):
            for_users.recommend(["u1"], 3, exclude=[["i1"], ["i2"]])
        with pytest.raises(TypeError, match="exclude must be a list of ids, or a list of such"):
            for_users.recommend(["u1", "u2"], 3, exclude=[["i1"], "i2"])
        with pytest.raises(ValueError, match="exclude holds a missing id"):
            for_users.recommend(["u1"], 3, exclude=[None])


def test_similar_items(made, world):
    if not made.answers_items:
        with pytest.raises(ValueError, match=f"{type(made).__name__} answers users, not items"):
            made.similar(world.items, 5)
        return
    items = [*world.items]
    found, score = made.similar(items, 10)
    check(found, score, 10)
    assert not (found == np.array(items, object)[:, None]).any()
    for item, line in zip(items, found, strict=True):
        np.testing.assert_array_equal(made.similar(item, 10)[0][0], line)
    if "exclude" in made.filters:
        exclude = [line[:2].tolist() for line in found]
        less, score = made.similar(items, 8, exclude=exclude)
        check(less, score, 8)
        np.testing.assert_array_equal(less, found[:, 2:])
        only, _ = made.similar(items, 4, allow=[line[[3, 1]].tolist() for line in found])
        np.testing.assert_array_equal(only[:, :2], found[:, [1, 3]])
        assert set(only[:, 2:].ravel()) == {""}
    else:
        with pytest.raises(ValueError, match="takes no allow; it takes item_id"):
            made.similar(items, 5, allow=["i1"])
    with pytest.raises(ValueError, match="takes no weather; it takes .*item_id"):
        made.similar(items, 5, weather="rain")
    strangers = ["nowhere", None, items[0] + "\0"]
    for unknown in (*strangers, strangers):
        with pytest.raises(ValueError, match="item .* is unknown, and the request brings no"):
            made.similar(unknown, 5)
    found, score = made.similar([*strangers, items[0]], 5)  # among others they have nothing
    assert (found[:3] == "").all() and (score[:3] == -np.inf).all()
    np.testing.assert_array_equal(found[3], made.similar(items[0], 5)[0][0])
    assert [part.shape for part in made.similar([], 5)] == [(0, 5)] * 2


def test_what_does_not_answer_users_says_so(made, world):
    if not made.answers_users:
        with pytest.raises(ValueError, match=f"{type(made).__name__} answers items, not users"):
            made.recommend(world.users, 5)


def test_explanations_have_one_form(made, world):
    if not made.explains:
        with pytest.raises(ValueError, match=f"{type(made).__name__} answers without explanations"):
            made.explain("u1", "i1")
        return
    user, some = world.users[1], 0
    for item in made.recommend(user, 4)[0][0]:
        found = made.explain(user, item, 2)
        if made.sources:
            assert {each["channel"] for each in found} <= set(made.sources)
            ranks = [each["rank"] for each in found]
            assert ranks == sorted(ranks, key=lambda rank: rank or np.inf) and ranks[0]
            reasons = [reason for each in found for reason in each["reasons"]]
        else:
            reasons = found
            assert len(reasons) <= 2
            shares = [reason["share"] for reason in reasons]
            assert shares == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-6
        assert all(list(reason) == ["kind", "id", "share"] for reason in reasons)
        assert all(0 < reason["share"] <= 1 + 1e-6 for reason in reasons)
        some += len(reasons)
    assert some
    with pytest.raises(ValueError, match="item 'nowhere' is unknown: it is not among the 60"):
        made.explain(user, "nowhere")
    for num in (-1, 0, True, 1.5, None):
        with pytest.raises(ValueError, match="num must be a whole number of at least 1; got"):
            made.explain(user, "i1", num)
    with pytest.raises(TypeError, match="item_id must be an id"):
        made.explain(user, ["i1"])
    with pytest.raises(TypeError, match="user_id must be an id"):
        made.explain(["u1"], "i1")
    with pytest.raises(ValueError, match="item '' is unknown"):
        made.explain(user, None)
    if made.takes_history:
        assert made.explain("nobody", world.items[0], history=world.items[1:4].tolist())
    else:
        with refused(made, "history"):
            made.explain(user, world.items[0], history=["i1"])


def test_the_sources_of_its_items(for_users, world):
    item_id, score, ranks = for_users.recommend_sources(world.users, 12)
    expected = for_users.recommend(world.users, 12)
    np.testing.assert_array_equal(item_id, expected[0])
    np.testing.assert_array_equal(score, expected[1])
    assert ranks.shape == (*item_id.shape, len(for_users.sources)) and ranks.dtype == np.int32
    if for_users.sources:
        np.testing.assert_array_equal((ranks > 0).any(axis=2), item_id != "")


def test_ranks_are_places_in_its_list(for_users, world):
    if not for_users.counts_ranks:
        return
    k = min(for_users.k_max, 30)
    request = for_users.request_for_users(world.users, exclude_seen=True)
    rows, _ = for_users.answer_rows(request, k)
    line, place = np.nonzero(rows)
    above, near = for_users.answer_ranks(request, line, rows[line, place], k)
    sure = near == 0
    assert sure.mean() > 0.5 and (above[sure] == place[sure]).all()
    seen = [world.catalog.seen.of(int(row)) for row in request.rows]
    line = np.repeat(np.arange(len(seen)), [len(some) for some in seen])
    above, near = for_users.answer_ranks(request, line, np.concatenate(seen), k)
    assert (above >= k).all() and not near.any()


def test_evaluation_and_lists_ask_nothing_else(for_users, world, tmp_path):
    seen = "exclude_seen" in for_users.filters
    cases = tr.cases_by_user(world.split.test, world.catalog)
    report = tr.evaluate(for_users, cases, world.catalog, ks=(5, 10), exclude_seen=seen)
    compared = tr.compare(
        {"one": for_users}, for_users, cases, world.catalog, k=10, exclude_seen=seen
    )
    assert compared.lines["one"]["recall"] == pytest.approx(report.metrics["recall@10"])
    ranked = tr.evaluate(for_users, cases, world.catalog, (5, 10), seen, lists=False)
    assert ranked.metrics.items() <= report.metrics.items()
    assert len(report.metrics) - len(ranked.metrics) == 6  # coverage and the like
    path = write_lists(for_users, world.users[:-1], tmp_path / "l.parquet", 8, exclude_seen=seen)
    request = {"exclude_seen": True} if seen else {}
    expected, score = for_users.recommend(world.users[:-1], 8, **request)
    found, same = Lists.load(path).recommend(world.users[:-1], 8)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(same, score, rtol=1e-5)
