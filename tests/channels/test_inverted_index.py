"""The inverted index by hand, against a loop, what leads whom; reasons, requests, a folder; and on
real films.
"""

import math
import zipfile

import numpy as np
import pandas as pd
import pytest

from tf_recall.channels.inverted_index import InvertedIndex
from tf_recall.channels.metrics import Count, Metric, Rate
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.splits import leave_last_out
from tf_recall.evaluation import cases_by_user, evaluate

GENRES = {"column": "genres", "separator": "|"}
ITEMS = pd.DataFrame(
    {
        "item_id": ["a", "b", "c", "d", "e"],
        "genres": ["Comedy|Drama", " Comedy | ", "Drama", "War", None],
        "year": [1999.0, 2001, 1999, None, None],
    }
)
LOG = [
    ("ann", "a"),
    ("ann", "b"),
    ("bob", "c"),
    ("bob", "b"),
    ("cid", "c"),
    ("dan", "c"),
    ("dan", "a"),
    ("dan", "e"),
]


def fitted(log=LOG, items=ITEMS, attributes=(GENRES,), **settings):
    users, item_ids = zip(*log, strict=True)
    train = Interactions.from_columns(user_id=list(users), item_id=list(item_ids), items=items)
    return InvertedIndex(list(attributes), **settings).fit(train, Catalog.fit(train))


def scores(channel, user, **request):
    items, score = channel.recommend([user], k=channel.catalog.num_items, **request)
    return {
        item: value
        for item, value in zip(items[0].tolist(), score[0].tolist(), strict=True)
        if item
    }


def test_by_hand():
    # Of 8 likes 4 have Comedy (a, b, b, a), 5 Drama (a, c, c, c, a). Ann's 2: Comedy both, Drama
    # one of them.
    channel = fitted(strength=2)
    comedy = (2 + 2 * 4 / 8) / (2 + 2)  # 0.75 where everybody has 0.5
    affinity = comedy * math.log(comedy / 0.5)
    assert (1 + 2 * 5 / 8) / (2 + 2) < 5 / 8  # less Drama than others: no affinity
    # 2 interactions each
    assert scores(channel, "ann") == pytest.approx({"a": affinity * 2, "b": affinity * 2})
    assert [reason["id"] for reason in channel.explain("ann", "a")] == ["genres=Comedy"]


def test_the_lists():
    channel = fitted(attributes=(GENRES, "year"), top=1)
    lists = {
        name: row.indices.tolist() for name, row in zip(channel.values, channel.right, strict=True)
    }
    a, b, c = channel.catalog.items.encode(["a", "b", "c"]).tolist()
    # c has 3 interactions, a and b 2 each: by row, which is by id; nobody came to d, the only War
    assert lists == {
        "genres=Comedy": [min(a, b)],
        "genres=Drama": [c],
        "genres=War": [],
        "year=1999": [c],
        "year=2001": [b],
    }


def planted(seed=0):
    rng = np.random.default_rng(seed)
    genres, authors = (
        np.array(["Comedy", "Drama", "War", "Crime"]),
        np.array([f"w{n}" for n in range(8)]),
    )
    items = pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(60)], "author": authors[rng.integers(0, 8, 60)]}
    )
    items["genres"] = [list(rng.choice(genres, rng.integers(0, 4))) for _ in range(60)]
    items["shown"] = rng.integers(50, 100, 60)
    items["clicks"] = rng.integers(0, 50, 60)
    log = {(f"u{rng.integers(15)}", f"i{int(rng.integers(60) * rng.random())}") for _ in range(150)}
    return sorted(log), items


@pytest.mark.parametrize("metric", [Count(), Rate("clicks", "shown")])
@pytest.mark.parametrize("top", [3, 500])
def test_against_a_loop(metric, top):
    log, items = planted()
    channel = fitted(log, items, [GENRES, "author"], metric=metric, top=top, strength=4.0)
    catalog = channel.catalog
    quality = dict(zip(catalog.items.ids, metric(None, catalog)[1:].tolist(), strict=True))
    values = {
        item: {f"author={a}", *(f"genres={g}" for g in gs)}
        for item, a, gs in items.iloc[:, :3].values
    }
    row = {item: place for place, item in enumerate(catalog.items.ids)}
    lists = {}
    for value in set().union(*values.values()):
        having = [item for item in values if value in values[item] and quality[item] > 0]
        lists[value] = sorted(having, key=lambda item: (-quality[item], row[item]))[:top]
    everybody = {value: np.mean([value in values[item] for _, item in log]) for value in lists}
    for user in sorted({user for user, _ in log}):
        liked, expected = [item for who, item in log if who == user], {}
        for value, share in everybody.items():
            own = (sum(value in values[item] for item in liked) + 4 * share) / (len(liked) + 4)
            affinity = max(0, own * math.log(own / share)) if share else 0
            for item in lists[value]:
                expected[item] = expected.get(item, 0) + affinity * quality[item]
        expected = {item: value for item, value in expected.items() if value > 0}
        assert scores(channel, user) == pytest.approx(expected, rel=1e-4)


def test_who_agrees_on_the_author_is_led_by_the_author():
    """Fay reads one author, of any genre; guy reads one genre, of any author."""
    items = pd.DataFrame([(f"{g}{w}{n}", g, w) for g in "CDWK" for w in "pqrs" for n in range(3)])
    items.columns = ["item_id", "genres", "author"]
    log = [("fay", f"{g}p0") for g in "CDWK"] + [("guy", f"C{w}0") for w in "pqrs"]
    log += [(f"other{n}", item) for n, item in enumerate(items["item_id"])]
    channel = fitted(log, items, ["genres", "author"])
    reasons = {user: channel.explain(user, "Cp2") for user in ("fay", "guy")}
    assert reasons["fay"][0]["id"] == "author=p" and reasons["guy"][0]["id"] == "genres=C"
    assert all(reason[0]["share"] > 0.9 for reason in reasons.values())
    found = {user: channel.recommend([user], k=8, exclude_seen=True)[0][0] for user in reasons}
    assert {item[1] for item in found["fay"]} == {"p"} and {item[0] for item in found["guy"]} == {
        "C"
    }
    left = channel.left(np.array([0]), channel.likes[channel.catalog.users.encode(["fay"])])
    assert not any(
        name.startswith("genres") for name in channel.names(left.indices[left.data > 0.02])
    )


def test_what_all_items_have_leads_nowhere():
    items = ITEMS.assign(color="brown")
    assert not scores(fitted(items=items, attributes=["color"]), "ann")
    assert scores(fitted(items=items, attributes=[GENRES, "color"]), "ann") == scores(
        fitted(items=items), "ann"
    )


@pytest.mark.parametrize("seed", range(3))
def test_nor_does_rounding(seed):
    log, items = planted(seed)
    users, item_ids = zip(*log, strict=True)
    weight = np.random.default_rng(seed).random(len(log))
    train = Interactions.from_columns(
        user_id=list(users),
        item_id=list(item_ids),
        weight=weight,
        items=items.assign(color="brown"),
    )
    channel = InvertedIndex(["color"]).fit(train, Catalog.fit(train))
    assert not channel.left(np.arange(16), channel.likes).data.any()


def test_what_nobody_likes_brings_nothing():
    class Even(Metric):
        def __call__(self, train, catalog):
            return np.ones(catalog.items.size, np.float32)

    channel = fitted(metric=Even())
    assert channel.right[channel.values.index("genres=War")].nnz == 1
    assert not scores(channel, "nobody", history=["d"])  # War: in a list, but in nobody's likes
    assert scores(channel, "nobody", history=["b"])


def test_more_of_a_kind_tells_more():
    channel = fitted()
    by_number = [scores(channel, "nobody", history=history)["b"] for history in (["b"], ["b", "a"])]
    assert by_number[1] > by_number[0] > 0
    assert not scores(channel, "nobody")
    latest = fitted(last=1)  # bob's is b, no Drama any more
    assert (
        scores(fitted(), "bob") != scores(latest, "bob") == scores(latest, "nobody", history=["b"])
    )


def test_requests():
    channel = fitted()
    assert set(scores(channel, "ann")) == {"a", "b"}
    assert set(scores(channel, "ann", exclude=["a"])) == {"b"}
    assert set(scores(channel, "ann", allow=["a", "c"])) == {"a"}
    assert not scores(channel, "ann", exclude_seen=True)
    assert set(scores(channel, "nobody", history=["b"], exclude_seen=True)) == {"a"}


def test_save_and_load(tmp_path):
    log, items = planted(1)
    channel = fitted(log, items, [GENRES, "author"])
    channel.save(tmp_path / "channel")
    channel.catalog.save(tmp_path / "catalog")
    catalog = Catalog.load(tmp_path / "catalog")  # its side tables stay behind
    again = InvertedIndex([GENRES, "author"]).load(tmp_path / "channel", catalog)
    users = [*catalog.users.ids, "nobody"]
    for one, other in zip(
        channel.recommend(users, k=20), again.recommend(users, k=20), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    item = channel.recommend(["u1"], k=1)[0][0, 0]
    assert again.explain("u1", item) == channel.explain("u1", item) != []
    with pytest.raises(ValueError, match="InvertedIndex in .* and this catalog do not go together"):
        InvertedIndex(["author"]).load(tmp_path / "channel", fitted().catalog)
    (tmp_path / "channel" / "values.json").write_text('["genres=')
    with pytest.raises(ValueError, match="values.json is damaged"):
        InvertedIndex(["author"]).load(tmp_path / "channel", catalog)


@pytest.mark.parametrize(
    "attributes",
    [[], [GENRES, {"separator": "|"}], [{**GENRES, "sep": ","}], [{"column": 3}], [""]],
)
def test_bad_attributes(attributes):
    with pytest.raises(
        ValueError, match="attributes are columns of the item table, each a name or"
    ):
        InvertedIndex(attributes)


def test_values_are_known_by_their_text():
    items = ITEMS.assign(
        genres=[[40.0, "é"], ["e\u0301", None], [38.5], ["40"], None],
        year=pd.Series([2001, "2001", 2001.0, True, np.nan], dtype=object),
    )
    channel = fitted(items=items, attributes=["genres", "year"])
    assert channel.values == ["genres=38.5", "genres=40", "genres=é", "year=2001", "year=True"]
    rows = dict(zip(channel.catalog.items.ids, channel.members.toarray()[1:].tolist(), strict=True))
    assert rows == {
        "a": [0, 1, 1, 1, 0],
        "b": [0, 0, 1, 1, 0],
        "c": [1, 0, 0, 1, 0],
        "d": [0, 1, 0, 0, 1],
        "e": [0, 0, 0, 0, 0],
    }


def test_errors():
    with pytest.raises(ValueError, match="each attribute is named once, got genres, genres"):
        InvertedIndex(["genres", GENRES])
    with pytest.raises(
        ValueError, match="the item table has no column 'color'; it has genres, year"
    ):
        fitted(attributes=["color"])
    with pytest.raises(ValueError, match="column 'genres' of the item table is empty"):
        fitted(items=ITEMS.assign(genres=" | "))
    with pytest.raises(ValueError, match="top is a whole number of at least 1, got 0"):
        InvertedIndex(["genres"], top=0)
    with pytest.raises(ValueError, match="strength is a number above 0, got 0"):
        InvertedIndex(["genres"], strength=0)


def test_films_by_genre(shared_data):
    """Of 9,742 films chance finds 1 in 100 in lists of 100."""
    with zipfile.ZipFile(shared_data / "movielens" / "ml-latest-small.zip") as files:
        ratings, films = (
            pd.read_csv(files.open(f"ml-latest-small/{name}.csv")) for name in ("ratings", "movies")
        )
    log = Interactions.from_frame(ratings, {"user_id": "userId", "item_id": "movieId"}, films)
    split = leave_last_out(log)
    catalog = Catalog.fit(split.train)
    channel = InvertedIndex([GENRES]).fit(split.train, catalog)
    report = evaluate(channel, cases_by_user(split.test, catalog), catalog, ks=[100])
    assert report.metrics["recall@100"] > 0.15
    assert report.metrics["coverage@100"] > 1.5 * report.baseline["coverage@100"]
    genres = films.set_index("movieId")["genres"]
    for item in channel.recommend([1], k=5, exclude_seen=True)[0][0]:
        reasons = channel.explain(1, item)
        assert reasons and {reason["id"] for reason in reasons} <= {
            f"genres={g}" for g in genres[item].split("|")
        }
