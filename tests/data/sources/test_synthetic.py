"""The planted world: drawn from the probabilities it tells, far above popularity, Zipf-like, of any
size.
"""

import numpy as np
import pytest

from tf_recall.data.sources import synthetic as synthetic_module
from tf_recall.data.sources.synthetic import GENRES, Planted, synthetic


@pytest.fixture(scope="module")
def planted() -> Planted:
    return synthetic()


def recall(lists, held_out, users):
    relevant = held_out.frame.groupby("user_id")["item_id"].agg(set)
    return np.mean(
        [
            len(relevant[user] & set(found)) / len(relevant[user])
            for user, found in zip(users, lists, strict=True)
        ]
    )


def halves(planted, share=0.9):
    """The train and the held-out side, cut at a time."""
    cut = int(len(planted.interactions) * share)
    return planted.interactions.select(np.arange(cut)), planted.interactions.select(
        np.arange(cut, len(planted.interactions))
    )


def test_sizes_ids_and_order(planted):
    frame = planted.interactions.frame
    assert len(frame) == 50_000
    assert not frame.duplicated(["user_id", "item_id"]).any()
    assert frame["timestamp"].is_monotonic_increasing and frame["timestamp"].dtype == np.int64
    users, items = planted.interactions.users, planted.interactions.items
    assert users["user_id"].tolist() == [f"u{n}" for n in range(1000)]
    assert items["item_id"].tolist() == [f"i{n}" for n in range(2000)]
    assert set(frame["user_id"]) == set(users["user_id"])
    assert set(frame["item_id"]) <= set(items["item_id"])
    assert {"age", "favorite_genre"} <= set(users) and {"title", "genres", "year"} <= set(items)
    for vectors in (planted.tastes, planted.vectors):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_same_seed_same_world(planted):
    again, other = synthetic(), synthetic(seed=1)
    assert again.interactions.frame.equals(planted.interactions.frame)
    assert again.interactions.items.equals(planted.interactions.items)
    assert again.interactions.users.equals(planted.interactions.users)
    assert not other.interactions.frame["item_id"].equals(planted.interactions.frame["item_id"])


def test_popularity_is_zipf_like_and_activity_is_skewed(planted):
    counts = np.sort(planted.interactions.frame["item_id"].value_counts().to_numpy())[::-1]
    # a tenth of the items, over a third of the events
    assert counts[: len(counts) // 10].sum() > 0.35 * counts.sum()
    ranks = np.unique(np.geomspace(10, 1000, 30).astype(int))
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)
    assert -1.0 < slope < -0.4
    activity = planted.interactions.frame["user_id"].value_counts()
    assert activity.min() >= 12 and activity.max() > 5 * activity.median()


def test_what_is_likely_comes_first():
    """A user's events are in the order drawn, so popular items come before the others."""
    world = synthetic(200, 300, 20_000, sharpness=0.0, zipf=1.2)
    frame = world.interactions.frame
    popularity = np.log(world.popularity[frame["item_id"].str[1:].astype(int)])
    early = frame.groupby("user_id").cumcount() < 10
    assert popularity[early].mean() > popularity[~early].mean() + 1


def test_zipf_and_sharpness_do_what_they_say():
    flat, steep = (
        synthetic(300, 500, 6000, zipf=zipf, sharpness=0.0)
        .interactions.frame["item_id"]
        .value_counts()
        for zipf in (0.0, 1.2)
    )
    assert flat.max() < 3 * flat.mean() and steep.max() > 10 * steep.mean()
    liking = []
    for sharpness in (0.0, 4.0, 10.0):
        world = synthetic(300, 500, 6000, sharpness=sharpness)
        user, item = (
            world.interactions.frame[name].str[1:].astype(int) for name in ("user_id", "item_id")
        )
        liking.append(np.einsum("nd,nd->n", world.tastes[user], world.vectors[item]).mean())
    assert liking[0] < 0.3 < liking[0] + 0.2 < liking[1] < liking[2]


def test_scores_are_log_probabilities(planted):
    users = ["u5", "u0", "u999"]
    scores = planted.scores(users)
    assert scores.shape == (3, 2000)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-6)
    for row, user in enumerate((5, 0, 999)):
        by_hand = planted.popularity * np.exp(
            planted.sharpness * (planted.vectors @ planted.tastes[user])
        )
        np.testing.assert_allclose(np.exp(scores[row]), by_hand / by_hand.sum(), rtol=1e-4)


@pytest.mark.parametrize("raced", [False, True])
def test_events_are_draws_without_replacement(raced):
    """Twenty thousand users of one taste take 3 of 6 items: every ordered triple as often as the
    draws say.

    By hand: P(a, b, c) = p_a * p_b / (1 - p_a) * p_c / (1 - p_a - p_b). With the items outnumbering
    the proposals the draws are by proposal; with few items they are by race, and both must agree.
    """
    rng = np.random.default_rng(0)
    num_users, few = 20_000, 6
    vectors = synthetic_module._unit(rng.standard_normal((few, 4))).astype(np.float32)
    tastes = np.tile(vectors[0], (num_users, 1))
    popularity = np.arange(1, few + 1) / 21
    if not raced:  # a thousand more items that no one will ever draw
        vectors = np.concatenate([vectors, np.tile(vectors[:1], (1000, 1))])
        popularity = np.concatenate([popularity, np.full(1000, 1e-12)])
    counts = np.full(num_users, 3)
    items = synthetic_module._draw_events(rng, tastes, vectors, popularity, 1.5, counts).reshape(
        num_users, 3
    )
    weight = popularity * np.exp(1.5 * (vectors @ vectors[0]))
    p = weight[:few] / weight[:few].sum()
    for a in range(few):
        for b in set(range(few)) - {a}:
            for c in set(range(few)) - {a, b}:
                expected = p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b])
                share = np.mean((items == (a, b, c)).all(axis=1))
                assert abs(share - expected) < 5 * np.sqrt(expected / num_users), (a, b, c)


def test_best_is_far_above_popularity(planted):
    train, held_out = halves(planted)
    users = held_out.frame["user_id"].unique()
    popular = train.frame["item_id"].value_counts().index.tolist()
    seen = train.frame.groupby("user_id")["item_id"].agg(set).to_dict()
    by_popularity = [
        [item for item in popular if item not in seen.get(user, ())][:20] for user in users
    ]
    best = planted.best(users, 20, exclude=train)
    assert recall(best, held_out, users) > 2 * recall(by_popularity, held_out, users) > 0.04


def test_nothing_beats_best_but_by_luck(planted):
    """Rankings by taste alone or by popularity alone, or by a slightly wrong sharpness, find
    less.
    """
    train, held_out = halves(planted)
    users = held_out.frame["user_id"].unique()
    found = recall(planted.best(users, 20, exclude=train), held_out, users)
    for popularity, sharpness in (
        (np.ones(2000), 6.0),
        (planted.popularity, 0.0),
        (planted.popularity, 20.0),
    ):
        wrong = Planted(
            planted.interactions, planted.tastes, planted.vectors, popularity, sharpness
        )
        assert recall(wrong.best(users, 20, exclude=train), held_out, users) < 0.9 * found


def test_best_is_sorted_and_excludes(planted, monkeypatch):
    train, _ = halves(planted)
    users = ["u3", "u700", "u3", "u41"]
    lists = planted.best(users, 50)
    scores = planted.scores(users)
    for row, found in enumerate(lists):
        numbers = [int(item[1:]) for item in found]
        np.testing.assert_allclose(scores[row][numbers], np.sort(scores[row])[::-1][:50], rtol=1e-5)
    excluding = planted.best(users, 50, exclude=train)
    for user, found, unfiltered in zip(users, excluding, planted.best(users, 2000), strict=True):
        seen = set(train.frame["item_id"][train.frame["user_id"] == user])
        assert found.tolist() == [item for item in unfiltered if item not in seen][:50]
    monkeypatch.setattr(synthetic_module, "CELLS", 3000)  # blocks of one user
    assert (planted.best(users, 50, exclude=train) == excluding).all()


def test_best_pads_where_nothing_is_left():
    world = synthetic(num_users=3, num_items=5, num_interactions=12)
    lists = world.best(["u0", "u1", "u2"], 5, exclude=world.interactions)
    taken = world.interactions.frame.groupby("user_id").size()
    for user, found in zip(("u0", "u1", "u2"), lists, strict=True):
        left = 5 - taken[user]
        assert all(found[:left]) and found[left:].tolist() == [""] * taken[user]


def test_titles_genres_and_tables_tell_the_taste(planted):
    items, users = planted.interactions.items, planted.interactions.users
    genre_of = {word: genre for genre, words in GENRES.items() for word in words.split()}
    assert len(genre_of) == sum(len(words.split()) for words in GENRES.values())  # no word twice
    for title, genres in zip(items["title"][:200], items["genres"][:200], strict=True):
        assert sorted({genre_of[word] for word in title.split()[:2]}) == genres.split("|")
    alike = (planted.vectors @ planted.vectors.T)[:500, :500]
    first = items["genres"].str.split("|").str[0].to_numpy()[:500]
    same = first[:, None] == first[None, :]
    np.fill_diagonal(same, False)
    assert alike[same].mean() > alike[~same].mean() + 0.3
    means = {
        genre: planted.vectors[items["genres"].to_numpy() == genre].mean(axis=0) for genre in GENRES
    }
    liking = planted.tastes @ np.stack(list(means.values())).T
    told = np.array([list(GENRES).index(genre) for genre in users["favorite_genre"]])
    assert liking[np.arange(1000), told].mean() > liking.mean() + 0.3
    assert np.corrcoef(users["age"], planted.tastes[:, 0])[0, 1] > 0.7
    assert users["age"].between(13, 90).all()


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (3, 4, 12), (50, 20, 990), (7, 3000, 7), (40, 60, 1000)]
)
def test_small_and_nearly_full_worlds(sizes):
    num_users, num_items, total = sizes
    frame = synthetic(num_users, num_items, total).interactions.frame
    assert len(frame) == total and frame["user_id"].nunique() == num_users
    assert not frame.duplicated(["user_id", "item_id"]).any()


def test_many_items_without_a_dense_matrix(monkeypatch):
    """A hundred thousand items: users of a few events are never raced over all of them."""
    raced = []
    original = synthetic_module._smallest
    monkeypatch.setattr(
        synthetic_module,
        "_smallest",
        lambda costs, k: raced.append(len(costs)) or original(costs, k),
    )
    world = synthetic(num_users=2000, num_items=100_000, num_interactions=20_000)
    assert len(world.interactions) == 20_000 and sum(raced) < 20
    assert world.best(["u7"], 3).shape == (1, 3)


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(num_users=0), "num_users is 0"),
        (dict(num_items=-1), "num_items is -1"),
        (dict(dim=0), "dim is 0"),
        (dict(num_users=10, num_interactions=9), "between num_users, 10"),
        (
            dict(num_users=10, num_items=10, num_interactions=101),
            "100: no user has an item twice",
        ),
    ],
)
def test_sizes_out_of_range(given, message):
    with pytest.raises(ValueError, match=message):
        synthetic(**given)


def test_questions_that_have_no_answer(planted):
    with pytest.raises(
        ValueError, match="k is 0; it must lie between 1 and the number of items, 2000"
    ):
        planted.best(["u1"], 0)
    with pytest.raises(ValueError, match="There is no user 'u1000'; the last one is 'u999'"):
        planted.scores(["u1000"])
    with pytest.raises(ValueError, match="'ann' is not an id"):
        planted.scores(["ann"])
