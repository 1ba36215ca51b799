"""A planted world like MovieLens, of which the best achievable ranking is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions

# Each word of a title belongs to one genre.
GENRES = {
    "Action": "Strike Fury Bullet Chase Rogue Blast Convoy Rampage",
    "Adventure": "Voyage Island Compass Treasure Jungle Summit Caravan Expedition",
    "Animation": "Pixel Bunny Puddle Sketch Balloon Tinker Firefly Button",
    "Comedy": "Honeymoon Neighbor Wedding Mishap Roommate Pancake Prank Holiday",
    "Crime": "Heist Alibi Mobster Verdict Vault Informant Syndicate Ransom",
    "Documentary": "Archive Witness Harvest Glacier Orchestra Factory Migration Portrait",
    "Drama": "Letters Inheritance Silence Winter Daughter Confession Harbour Orchard",
    "Fantasy": "Dragon Wizard Kingdom Amulet Enchanted Prophecy Raven Throne",
    "Horror": "Asylum Curse Cellar Midnight Hollow Crypt Whisper Scream",
    "Romance": "Sweetheart Waltz Paris Kiss Serenade Moonlight Valentine Promise",
    "Sci-Fi": "Orbit Android Nebula Signal Quantum Colony Eclipse Starship",
    "Western": "Saddle Canyon Sheriff Outlaw Prairie Stagecoach Frontier Dust",
}
START = 1_500_000_000  # seconds
SPAN = 2 * 365 * 86_400  # seconds: two years of events
CELLS = 2**22  # users times items in memory at a time


@dataclass(frozen=True)
class Planted:
    """Interactions, and the probabilities from which they were drawn.

        P(item | user) ∝ popularity[item] * exp(sharpness * tastes[user] . vectors[item])

    Each event is a draw from P among the items that the user has not interacted with. So the best
    ranking of a user's next items is all others by falling P, and only by luck can a model do
    better than `best`.

    Args:
        interactions: the events, with both side tables; user number n is "u<n>" and item number n
            is "i<n>".
        tastes: unit vectors `[num_users, dim]`.
        vectors: unit vectors `[num_items, dim]`.
        popularity: `[num_items]`, sums to 1.
        sharpness: how much taste matters.
    """

    interactions: Interactions
    tastes: np.ndarray
    vectors: np.ndarray
    popularity: np.ndarray
    sharpness: float

    def scores(self, user_ids: Sequence[str]) -> np.ndarray:
        """log P(item | user): `[len(user_ids), num_items]`; column n is the item "i<n>"."""
        logits = self._logits(self._numbers(user_ids)).astype(np.float64)
        top = logits.max(axis=1, keepdims=True)
        return logits - (top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))

    def best(
        self, user_ids: Sequence[str], k: int, exclude: Interactions | None = None
    ) -> np.ndarray:
        """The best achievable recommendations: item ids `[len(user_ids), k]` by falling P.

        Args:
            user_ids: ids such as "u12".
            k: how many items a user gets.
            exclude: interactions whose (user, item) pairs are left out, such as the train part of a
                split. Where fewer than `k` items remain, the row ends in "".

        Raises:
            ValueError: `k` is out of range, or an id is not of this world.
        """
        num_items = len(self.popularity)
        if not 1 <= k <= num_items:
            raise ValueError(
                f"k is {k}; it must lie between 1 and the number of items, {num_items}."
            )
        users = self._numbers(user_ids)
        excluded: dict[int, np.ndarray] = {}
        if exclude is not None:
            pairs = exclude.frame.groupby("user_id", sort=False)["item_id"]
            wanted = set(np.asarray(user_ids, dtype=object))
            for user, items in pairs:
                if user in wanted:
                    excluded[_number(user)] = np.array([_number(item) for item in items])
        item_ids = np.append(_ids("i", num_items), "")
        answers = np.empty((len(users), k), dtype=object)
        for start, stop in _blocks(np.full(len(users), num_items), CELLS):
            costs = -self._logits(users[start:stop])
            for row, user in enumerate(users[start:stop]):
                costs[row, excluded.get(user, [])] = np.inf
            top = _smallest(costs, k)
            left = np.isfinite(np.take_along_axis(costs, top, axis=1))
            answers[start:stop] = item_ids[np.where(left, top, num_items)]
        return answers

    def _logits(self, users: np.ndarray) -> np.ndarray:
        """log P(item | user) up to a constant of the user."""
        return np.log(self.popularity).astype(np.float32) + self.sharpness * (
            self.tastes[users] @ self.vectors.T
        )

    def _numbers(self, user_ids: Sequence[str]) -> np.ndarray:
        numbers = np.array([_number(user) for user in user_ids], dtype=np.int64)
        if len(numbers) and numbers.max() >= len(self.tastes):
            raise ValueError(
                f"There is no user 'u{numbers.max()}'; the last one is 'u{len(self.tastes) - 1}'."
            )
        return numbers


def synthetic(
    num_users: int = 1000,
    num_items: int = 2000,
    num_interactions: int = 50_000,
    dim: int = 8,
    sharpness: float = 6.0,
    zipf: float = 0.8,
    seed: int = 0,
) -> Planted:
    """Draws a world of users with tastes and items with genres, and the users' interactions.

    A word of a title belongs to a genre, and its vector is near the genre's; an item's vector is
    near the mean of its words'. A user's taste is between two genres. So genres, titles, the users'
    ages and favorite genres are all informative, and ids add the rest. Popularity falls as
    `rank ** -zipf`, in every genre. No user interacts with an item twice. The cost grows with the
    interactions, not with users times items.

    Args:
        num_users: users, from "u0" on; the table has `age` and `favorite_genre` (a random one for
            one user in five).
        num_items: items, from "i0" on; the table has `title`, `genres` ("Crime|Drama") and `year`.
        num_interactions: events, at least one a user; some users are far more active than others.
        dim: length of the vectors.
        sharpness: how much taste matters; with 0 only popularity does.
        zipf: how fast popularity falls; with 0 all items are equally popular.
        seed: same seed, same world.

    Raises:
        ValueError: a size below 1, or `num_interactions` below `num_users` or above
            `num_users * num_items`.

    Example:
        >>> planted = synthetic(num_users=100, num_items=50, num_interactions=1000)
        >>> planted.best(["u3"], k=10).shape
        (1, 10)
    """
    sizes = {"num_users": num_users, "num_items": num_items, "dim": dim}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1.")
    if not num_users <= num_interactions <= num_users * num_items:
        raise ValueError(
            f"num_interactions is {num_interactions}; it must lie between num_users, {num_users}, "
            f"and num_users * num_items, {num_users * num_items}: no user has an item twice."
        )
    rng = np.random.default_rng(seed)
    centers = _unit(rng.standard_normal((len(GENRES), dim)))
    items, vectors = _draw_items(rng, num_items, centers)
    users, tastes = _draw_users(rng, num_users, centers)
    popularity = rng.permutation((1.0 + np.arange(num_items)) ** -zipf)
    popularity /= popularity.sum()

    counts = _draw_counts(rng, num_users, num_items, num_interactions)
    drawn = [
        _draw_events(rng, tastes[start:stop], vectors, popularity, sharpness, counts[start:stop])
        for start, stop in _blocks(counts, 2**16)
    ]
    user = np.repeat(np.arange(num_users), counts)
    item = np.concatenate(drawn)
    # A user's events are at any times between the day they joined and the end, in the order drawn.
    joined = rng.random(num_users) * 0.9
    moment = joined[user] + (1 - joined[user]) * rng.random(len(user))
    moment = moment[np.lexsort((moment, user))]
    order = np.argsort(moment, kind="stable")
    interactions = Interactions.from_columns(
        user_id=users["user_id"].to_numpy(object)[user[order]],
        item_id=items["item_id"].to_numpy(object)[item[order]],
        timestamp=START + (SPAN * moment[order]).astype(np.int64),
        items=items,
        users=users,
    )
    return Planted(interactions, tastes, vectors, popularity, sharpness)


def _draw_items(rng, num_items, centers) -> tuple[pd.DataFrame, np.ndarray]:
    genres = np.array(list(GENRES), dtype=object)
    words = np.array([line.split() for line in GENRES.values()], dtype=object)  # [genres, words]
    num_genres, num_words = words.shape
    word_vectors = _unit(centers[:, None] + 0.5 * _noise(rng, (*words.shape, centers.shape[1])))
    # Two words an item; half of the second words have the genre of the first.
    genre = rng.integers(num_genres, size=(2, num_items))
    genre[1] = np.where(rng.random(num_items) < 0.5, genre[0], genre[1])
    word = rng.integers(num_words, size=(2, num_items))
    vectors = _unit(
        word_vectors[genre, word].mean(axis=0) + 0.3 * _noise(rng, (num_items, centers.shape[1]))
    )
    year = rng.integers(1950, 2018, size=num_items)
    first, second = words[genre, word]
    low, high = genres[genre.min(axis=0)], genres[genre.max(axis=0)]
    table = pd.DataFrame(
        {
            "item_id": _ids("i", num_items),
            "title": first + " " + second + " (" + year.astype(str).astype(object) + ")",
            "genres": np.where(genre[0] == genre[1], low, low + "|" + high),
            "year": year,
        }
    )
    return table, vectors.astype(np.float32)


def _draw_users(rng, num_users, centers) -> tuple[pd.DataFrame, np.ndarray]:
    genres = np.array(list(GENRES), dtype=object)
    first, second = rng.integers(len(genres), size=(2, num_users))
    share = rng.random((num_users, 1)) * 0.7
    tastes = _unit(
        centers[first] + share * centers[second] + 0.4 * _noise(rng, (num_users, centers.shape[1]))
    )
    stated = np.where(rng.random(num_users) < 0.8, first, rng.integers(len(genres), size=num_users))
    age = 40 + 12 * np.sqrt(centers.shape[1]) * tastes[:, 0] + 5 * rng.standard_normal(num_users)
    table = pd.DataFrame(
        {
            "user_id": _ids("u", num_users),
            "age": age.clip(13, 90).astype(np.int64),
            "favorite_genre": genres[stated],
        }
    )
    return table, tastes.astype(np.float32)


def _draw_counts(rng, num_users, num_items, total) -> np.ndarray:
    """How many events each user has: at least a quarter of the mean, the rest log-normal."""
    floor = max(1, total // (4 * num_users))
    activity = rng.lognormal(sigma=1.0, size=num_users)
    counts = floor + ((total - floor * num_users) * activity / activity.sum()).astype(np.int64)
    counts = np.minimum(counts, num_items)
    while (short := total - counts.sum()) > 0:
        room = np.flatnonzero(counts < num_items)
        counts[rng.choice(room, min(short, len(room)), replace=False)] += 1
    return counts


def _draw_events(rng, tastes, vectors, popularity, sharpness, counts) -> np.ndarray:
    """The items of each user in the order drawn, user after user: from P without replacement.

    Items are proposed by popularity and accepted with probability
    `exp(sharpness * (taste . vector - 1))`: both are unit vectors, so the accepted ones are draws
    from P, and repeats are dropped. A user who would need more proposals than there are items (most
    of those they like are drawn already) draws the rest by a race of exponential times over all
    items that remain, which is the same distribution.
    """
    num_items = len(popularity)
    by_rank = np.argsort(-popularity)  # the search below then ends at the front mostly
    cumulative = np.cumsum(popularity[by_rank])
    cumulative /= cumulative[-1]
    keys = np.empty(0, dtype=np.int64)  # user * num_items + item, in the order drawn
    missing = counts.copy()
    prior = 0.05  # the share of the proposals that give a new item, until a user has their own
    share = np.full(len(counts), prior)
    while True:
        proposals = np.ceil(missing / share).astype(np.int64)
        proposals[proposals > num_items] = 0
        if not proposals.any():
            break
        user = np.repeat(np.arange(len(counts)), proposals)
        item = by_rank[np.searchsorted(cumulative, rng.random(len(user)), side="right")]
        likeness = np.einsum("nd,nd->n", tastes[user], vectors[item])
        threshold = rng.standard_exponential(len(user), dtype=np.float32)
        accepted = threshold > sharpness * (1 - likeness)
        keys = np.concatenate([keys, user[accepted] * num_items + item[accepted]])
        keys = keys[np.sort(np.unique(keys, return_index=True)[1])]
        keys = _first(keys, counts, num_items)
        before = missing
        missing = counts - np.bincount(keys // num_items, minlength=len(counts))
        share = np.where(proposals, (before - missing + 1) / (proposals + 1 / prior), share)
    unfinished = np.flatnonzero(missing)
    for start, stop in _blocks(np.full(len(unfinished), num_items), CELLS):
        racing = unfinished[start:stop]
        pace = popularity * np.exp(sharpness * (tastes[racing] @ vectors.T - 1))
        arrival = rng.standard_exponential(pace.shape) / pace
        row = np.searchsorted(racing, keys // num_items)
        had = (row < len(racing)) & (racing[np.minimum(row, len(racing) - 1)] == keys // num_items)
        arrival[row[had], keys[had] % num_items] = np.inf
        finish = _smallest(arrival, missing[racing].max())
        keys = np.concatenate([keys, (racing[:, None] * num_items + finish).ravel()])
    keys = _first(keys, counts, num_items)
    return keys % num_items


def _first(keys, counts, num_items) -> np.ndarray:
    """The first `counts[user]` keys of each user, in the order given, user after user."""
    keys = keys[np.argsort(keys // num_items, kind="stable")]
    user = keys // num_items
    position = np.arange(len(keys)) - np.searchsorted(user, user)
    return keys[position < counts[user]]


def _smallest(costs, k) -> np.ndarray:
    """The positions `[rows, k]` of each row's smallest costs, in rising order."""
    positions = np.argpartition(costs, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(costs, positions, axis=1), axis=1)
    return np.take_along_axis(positions, order, axis=1)


def _blocks(sizes, limit) -> Iterator[tuple[int, int]]:
    """Cuts rows of the given sizes into blocks of about `limit` in all."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + limit, side="right"))
        stop = max(start + 1, stop)
        yield start, stop
        start = stop


def _ids(letter, count) -> np.ndarray:
    return np.array([f"{letter}{number}" for number in range(count)], dtype=object)


def _number(raw_id: str) -> int:
    number = raw_id[1:]
    if not number.isdigit():
        raise ValueError(f"{raw_id!r} is not an id of this world; they look like 'u12' and 'i345'.")
    return int(number)


def _noise(rng, shape) -> np.ndarray:
    """Gaussian vectors of expected length 1."""
    return rng.standard_normal(shape) / np.sqrt(shape[-1])


def _unit(vectors) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
