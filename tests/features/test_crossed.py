"""Types by hand, of users that training has not seen, asked for in requests, saved and served."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Categorical, Crossed, Id
from tf_recall.models import TwoTower
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

RULES = ["country", {"column": "age", "edges": [25, 50]}]
USERS = pd.DataFrame(
    {
        "country": ["de", "de", "ch", None, "de"],
        "age": [24, 30, 25, np.nan, 49.5],
        "spent": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
)


def adapted(rules=RULES, dim=2, **kwargs):
    feature = Crossed(rules, dim, **kwargs)
    feature.adapt(feature.to_raw(USERS))
    return feature


def rows(feature, **columns):
    return (
        feature.rows(feature.encode_column(feature.to_raw(pd.DataFrame(columns)))).numpy().tolist()
    )


def test_types_by_hand():
    feature = adapted()
    codes = feature.encode_column(feature.to_raw(USERS))
    # countries by count: de 1, ch 2, missing 0.  ages below 25: 1, below 50: 2, from 50: 3, missing
    # 0
    assert codes.tolist() == [[1, 1], [1, 2], [2, 2], [0, 0], [1, 2]]
    # keys 5 * country + age: 6, 7, 12, 0, 7; as rows of the sorted 0, 6, 7, 12
    assert feature.rows(codes).numpy().tolist() == [2, 3, 4, 1, 3]
    feature.table.embeddings.assign(np.arange(10).reshape(5, 2))
    assert feature(codes).numpy()[:, 0].tolist() == [4, 6, 8, 2, 6]


def test_a_type_is_one_combination_and_no_other():
    rng = np.random.default_rng(0)
    words = {"x": "ab", "y": "abcde", "z": "abc"}
    table = pd.DataFrame({name: rng.choice([*values, None], 60) for name, values in words.items()})
    feature = Crossed(["x", "y", "z"])
    feature.adapt(feature.to_raw(table[:40]))
    found = feature.rows(feature.encode_column(feature.to_raw(table))).numpy()
    types = [tuple(line) for line in table.fillna("").to_numpy()]
    seen = set(types[:40])
    assert ((found > 0) == [each in seen for each in types]).all() and (found == 0).any()
    # as many pairs as types: equal where they are
    assert len(set(zip(found, types, strict=True))) == len(set(types))
    assert set(found) == set(range(len(seen) + 1))


def test_what_training_has_not_seen():
    feature = adapted()
    # ch below 25: two seen values, never together.  at: an unknown country, and so is none given
    assert rows(feature, country=["ch", "at", "at", ""], age=[20, 30, np.nan, np.nan]) == [
        0,
        0,
        1,
        1,
    ]
    assert feature.known(tf.constant([[2, 1], [1, 1]])).numpy().tolist() == [False, True]
    nothing = feature.encode_column(feature.nothing())
    # as the user without attributes
    assert nothing.tolist() == [[0, 0]] and feature.rows(nothing).numpy() == 1


def test_quantiles_are_those_of_training():
    feature = adapted([{"column": "spent", "quantiles": 2}])  # the median is 3
    assert rows(feature, spent=[-9, 2.9, 3, 99, np.nan]) == [1, 1, 2, 2, 0]
    assert len(feature.trainable_variables) == 1  # the parts bring no vectors of their own


def test_unknown_types_learn_from_a_share_of_the_known_ones():
    feature = adapted(unknown_rate=0.5)
    feature.table.embeddings.assign(np.arange(10).reshape(5, 2))
    codes = feature.encode_column(feature.to_raw(USERS))
    drawn = []
    for _ in range(60):
        drawn.append(feature(codes, training=True).numpy()[:, 0] == 0)
        assert (feature.known(codes, training=True).numpy() == ~drawn[-1]).all()
        feature.end_step()
    assert np.all(abs(np.mean(drawn, axis=0) - 0.5) < 0.25)  # deviation 0.065
    assert (np.array(drawn)[:, 1] == np.array(drawn)[:, 4]).all()  # one type, one draw
    assert feature(codes).numpy().min() > 0  # serving shows every type


def test_xla_finds_the_same_types():
    feature = adapted()
    codes = tf.constant([[c, a] for c in range(3) for a in range(4)])
    compiled = tf.function(lambda codes: feature(codes), jit_compile=True)
    np.testing.assert_array_equal(compiled(codes), feature(codes))


def test_context_of_a_request():
    log = Interactions.from_columns(
        user_id=["u", "v"], item_id=["a", "b"], device=["tv", "phone"], hour=[8, 20]
    )
    query = FeatureTower("user", [Crossed(["device", {"column": "hour", "edges": [12]}], 2)])
    query.adapt(log, Catalog.fit(log))
    [feature] = query.needs().context
    codes = feature.encode_column(feature.to_raw(log.frame[feature.column]))
    assert query({"user": tf.constant([1, 2]), feature.name: codes}).shape == (2, 2)
    with pytest.raises(ValueError, match="the request lacks 'hour'"):
        query.inputs_from_raw(tf.constant([1]), {"device": tf.constant(["tv"])})


@pytest.fixture(scope="module")
def trained():
    users = USERS.assign(user_id=["u1", "u2", "u3", "u4", "u5"])
    log = Interactions.from_columns(
        user_id=list(users["user_id"]), item_id=list("abcde"), users=users
    )
    catalog = Catalog.fit(log)
    query = FeatureTower("user", [Crossed([*RULES, {"column": "spent", "quantiles": 2}], 4)])
    return TwoTower(query, FeatureTower("item", [Id(4)])).adapt(log, catalog), catalog


def test_a_request_may_change_one_column_of_a_known_user(trained):
    service = Service.build(*trained)
    ask = service.embed_query
    stored = ask(["u1", "u2", "u3", "u4", "u5"])
    np.testing.assert_array_equal(ask(["u1"], age=40), stored[1:2])  # u1 is u2 at the age of 40
    np.testing.assert_array_equal(ask(["u1"], age=np.nan, country=""), stored[:1])
    np.testing.assert_array_equal(ask(["new"], age=24, country="de", spent=0), stored[:1])
    tower = trained[0].query_tower
    # the other columns are not even mentioned
    rows, raw = (
        tf.constant([1]),
        {"age": tf.constant([40], tf.float64)},
    )
    np.testing.assert_array_equal(tower(tower.inputs_from_raw(rows, raw)), stored[1:2])
    item_id, score = service.recommend(["new"], 5, age=24, country="de", spent=0)
    assert item_id.tolist() == service.recommend(["u1"], 5)[0].tolist() and np.ptp(score) > 0


def test_saved_and_served(trained, tmp_path):
    model, catalog = trained
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    asked = {
        "user_id": ["u3", "new", "x"],
        "country": ["", "ch", "at"],
        "age": [60, 25, 7],
        "spent": [1, 3, 2],
    }
    found = Service.build(model, catalog).embed_query(**asked)
    assert np.abs(found).min() > 0
    np.testing.assert_array_equal(Service.build(again, catalog).embed_query(**asked), found)
    served = load(save(Service.build(again, catalog), tmp_path / "m", model=again))
    np.testing.assert_allclose(served.embed_query(**asked), found, rtol=1e-5)


def test_config_round_trip():
    feature = Crossed([*RULES, {"column": "spent", "quantiles": 5}], 7, 0.2, 3, name="type")
    config = keras.saving.serialize_keras_object(feature)["config"]
    again = Crossed.from_config(config)
    assert again.get_config() == feature.get_config()
    # fmt: skip
    assert [config[key] for key in ("parts", "dim", "unknown_rate", "seed", "name")] == [
        [*RULES, {"column": "spent", "quantiles": 5}],
        7,
        0.2,
        3,
        "type",
    ]
    assert Crossed(["a", "b"]).name == "crossed_a_b"


@pytest.mark.parametrize(
    "rule",
    [
        7,
        {"column": "age"},
        {"column": "age", "edges": []},
        {"column": "age", "edges": [2, 1]},
        {"column": "age", "edges": ["a"]},
        {"column": "age", "quantiles": 1},
        {"column": "age", "quantiles": 2, "edges": [1]},
    ],
)
def test_refuses_a_rule_that_it_does_not_know(rule):
    with pytest.raises(
        ValueError, match="a part of a crossed feature is a column, {column, edges} with rising"
    ):
        Crossed(["country", rule])


def test_errors():
    for parts in ([], ["age", {"column": "age", "edges": [1]}]):
        with pytest.raises(ValueError, match="columns, all different, and has"):
            Crossed(parts)
    with pytest.raises(ValueError, match="cannot carry a column 'k'"):
        Crossed(["k"])
    many = Crossed(list("abcdefgh"))
    with pytest.raises(
        ValueError, match="'crossed_a_b_c_d_e_f_g_h' has too many combinations, .301, 301"
    ):
        many.adapt(many.to_raw(pd.DataFrame({name: range(300) for name in "abcdefgh"})))
    users = pd.DataFrame({"user_id": ["u"], "x": ["a"]})
    log = Interactions.from_columns(user_id=["u"], item_id=["a"], users=users)
    more = Interactions.from_columns(user_id=["u"], item_id=["a"], y=["b"])
    tower = FeatureTower("user", [Categorical("x"), Crossed(["x", "y"])])
    with pytest.raises(
        ValueError, match=r"'crossed_x_y' of the user tower needs its columns in one table.*\['x'\]"
    ):
        tower.adapt(more, Catalog.fit(log))
    with pytest.raises(ValueError, match=r"needs column 'y'; there are \[.*'x'\]"):
        tower.adapt(log, Catalog.fit(log))
