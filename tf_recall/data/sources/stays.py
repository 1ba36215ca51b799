"""A planted world shaped like Airbnb's log: searches in a city that may end in a booking, hosts
that may reject.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions

# share, sleeps, price
KINDS = {
    "entire": (0.5, 2, 8, 1.0),
    "private": (0.35, 1, 4, 0.6),
    "shared": (0.15, 1, 2, 0.35),
}
START, SPAN = 1_500_000_000, 365 * 86_400  # Seconds: a year of searches.
LEADS = 0.4  # The share of searches that lead to a booking.
STRAY = 0.05  # The share of clicks outside the city of the search.
HOME = 0.8  # The share of searches in the user's own country.
MAX_REJECTIONS = 3  # The log keeps no more of a search.


@dataclass(frozen=True)
class Stays:
    """A log of searches, and the probabilities it was drawn from.

        fits[u, t] = popularity[t] * exp(sharpness * tastes[u] . styles[t] - (log(price[t] /
        budget[u]) / 0.4)^2 / 2)
                     * (1 if capacity[t] >= party[u], else 0.02)
        rejects[u, t] = 0.9 where the home is shared with the host and the party fills it, else 0.02
        P(city | user):  by size, 0.8 of it in the user's own country
        P(click t | user, city) ∝ fits[u, t] in the city
        P(booked t | user) = sum_city P(city | user) * fits[u, t] (1 - rejects[u, t]) / its sum over
        the city

    Args:
        interactions: The clicks in time order, with both side tables. Context: `search` (the
            session's id), `booked` (true on the last click of a search that led to a booking) and
            `negatives` (on that click, the items whose host rejected the guest before).
        tastes: Unit vectors `[num_users, dim]`, hidden.
        styles: Unit vectors `[num_items, dim]`, hidden.
        popularity: `[num_items]`, sums to 1.
        sharpness: How much taste matters.
    """

    interactions: Interactions
    tastes: np.ndarray
    styles: np.ndarray
    popularity: np.ndarray
    sharpness: float

    def fits(self, users: np.ndarray) -> np.ndarray:
        """How well each item suits the users of these numbers, before the host has a say:
        `[len(users), num_items]`.
        """
        guests, items = self.interactions.users.iloc[users], self.interactions.items
        taste = self.sharpness * (self.tastes[users] @ self.styles.T - 1)
        money = np.log(items["price"].to_numpy() / guests["budget"].to_numpy()[:, None]) / 0.4
        room = np.where(
            items["capacity"].to_numpy() >= guests["party"].to_numpy()[:, None], 1.0, 0.02
        )
        return self.popularity * np.exp(taste - money**2 / 2) * room

    def rejects(self, users: np.ndarray) -> np.ndarray:
        """The probability of each item's host to reject these users: `[len(users), num_items]`."""
        guests, items = self.interactions.users.iloc[users], self.interactions.items
        full = items["capacity"].to_numpy() <= guests["party"].to_numpy()[:, None]
        return np.where(full & (items["kind"] != "entire").to_numpy(), 0.9, 0.02)

    def cities(self, users: np.ndarray) -> np.ndarray:
        """P(city | user): `[len(users), num_cities]`, city number n is "c<n>"."""
        city = _city(self.interactions.items)
        size = np.bincount(city)
        country = self.interactions.items["country"].to_numpy()[
            np.unique(city, return_index=True)[1]
        ]
        home = size * (country == self.interactions.users["country"].to_numpy()[users, None])
        return HOME * home / home.sum(axis=1, keepdims=True) + (1 - HOME) * size / size.sum()

    def booked(self, user_ids: Sequence[str]) -> np.ndarray:
        """P(booked t | user): `[len(user_ids), num_items]`; column n is the item "i<n>"."""
        users = np.array([int(user_id[1:]) for user_id in user_ids])
        city = _city(self.interactions.items)
        accepted = self.fits(users) * (1 - self.rejects(users))
        return (
            self.cities(users)[:, city]
            * accepted
            / (accepted @ np.eye(city.max() + 1)[city])[:, city]
        )

    def best(self, user_ids: Sequence[str], k: int) -> np.ndarray:
        """The items each user is likeliest to book: ids `[len(user_ids), k]`; no model does better
        but by luck.
        """
        return _ids("i", len(self.popularity))[np.argsort(-self.booked(user_ids), axis=1)[:, :k]]


def stays(
    num_users: int = 2000,
    num_items: int = 600,
    num_cities: int = 12,
    num_countries: int = 4,
    dim: int = 4,
    sharpness: float = 3.0,
    zipf: float = 0.6,
    seed: int = 0,
) -> Stays:
    """Draws a world of homes in cities and of users who search, click and book.

    A search stays in one city, but for stray clicks, and has up to 12 clicks on homes that suit the
    user; four in ten lead to a booking. A fifth of the users search once, half of the others up to
    three times. Popularity falls as `rank ** -zipf`; some homes are never clicked and some users
    never search: they stand in the side tables alone.

    Args:
        num_users: Users, "u0" and on; the table has `country`, `budget` (a night) and `party` (1 to
            6).
        num_items: Homes, "i0" and on; the table has `city`, its `country`, `kind`, `capacity` and
            `price`.
        num_cities: Cities, "c0" and on, of falling size, dealt out to the countries.
        num_countries: Countries, at most as many as cities.
        dim: Size of the hidden vectors.
        sharpness: How much the hidden taste matters.
        zipf: How fast popularity falls.
        seed: Same seed, same world.

    Raises:
        ValueError: A size below 1, more countries than cities, or more cities than items.

    Example:
        >>> world = stays(num_users=500)
        >>> world.interactions.frame.query("booked")[["user_id", "item_id", "negatives"]]

    Grbovic, Cheng, "Real-time Personalization using Embeddings for Search Ranking at Airbnb", KDD
    2018, section 3.
    """
    if not (num_users >= 1 and dim >= 1 and 1 <= num_countries <= num_cities <= num_items):
        raise ValueError(
            "there must be a user, a dimension, and 1 <= num_countries <= num_cities <= "
            f"num_items; got {num_users}, "
            f"{dim}, and {num_countries}, {num_cities}, {num_items}"
        )
    rng = np.random.default_rng(seed)
    items, users = (
        _draw_items(rng, num_items, num_cities, num_countries),
        _draw_users(rng, num_users, num_countries),
    )
    styles, tastes = (
        _unit(rng.standard_normal((num_items, dim))),
        _unit(rng.standard_normal((num_users, dim))),
    )
    popularity = rng.permutation((1.0 + np.arange(num_items)) ** -zipf)
    popularity /= popularity.sum()
    truth = Stays(Interactions(pd.DataFrame(), items, users), tastes, styles, popularity, sharpness)
    num_searches = np.where(
        rng.random(num_users) < 0.2, 1, 1 + rng.geometric(0.3, num_users).clip(max=20)
    )
    num_searches[rng.random(num_users) < 0.02] = 0
    rows = [
        row
        for block in np.array_split(np.arange(num_users), 1 + num_users // 256)
        for row in _searches(rng, truth, block, num_searches[block])
    ]
    user, search, second, item, booked, negatives = zip(*rows, strict=True)
    order = np.lexsort((search, second))
    columns = {
        "user_id": users["user_id"].to_numpy(object)[list(user)],
        "item_id": items["item_id"].to_numpy(object)[list(item)],
        "timestamp": np.array(second),
        "search": np.array(search, object),
        "booked": np.array(booked),
        "negatives": pd.Series(negatives, dtype=object).to_numpy(),
    }
    columns = {name: values[order] for name, values in columns.items()}
    return Stays(
        Interactions.from_columns(**columns, items=items, users=users),
        tastes,
        styles,
        popularity,
        sharpness,
    )


def stays_log(num_users=2000, num_items=600, num_cities=12, seed=0):
    """The interactions of a planted world of searches and bookings: no files and no network.

    Args:
        num_users, num_items, num_cities: its size.
        seed: same seed, same world.
    """
    return stays(num_users, num_items, num_cities, seed=seed).interactions


def _draw_items(rng, num, num_cities, num_countries):
    share = 1 / (1 + np.arange(num_cities))
    city = np.r_[
        np.arange(num_cities), rng.choice(num_cities, num - num_cities, p=share / share.sum())
    ]
    of_kind = np.array(list(KINDS.values()))
    kind = rng.choice(len(KINDS), num, p=of_kind[:, 0])
    capacity = rng.integers(
        of_kind[kind, 1].astype(int), of_kind[kind, 2].astype(int), endpoint=True
    )
    dear = rng.uniform(0.7, 1.4, num_cities)  # Some cities cost more.
    price = (
        80 * dear[city] * of_kind[kind, 3] * np.sqrt(capacity) * rng.lognormal(sigma=0.4, size=num)
    )
    columns = {
        "item_id": _ids("i", num),
        "city": _ids("c", num_cities)[city],
        "country": _ids("country", num_countries)[city % num_countries],
        "kind": np.array(list(KINDS), object)[kind],
        "capacity": capacity,
        "price": price.round(),
    }
    return pd.DataFrame(columns)


def _draw_users(rng, num, num_countries):
    party = rng.choice(np.arange(1, 7), num, p=[0.2, 0.35, 0.15, 0.15, 0.1, 0.05])
    budget = 80 * np.sqrt(party) * rng.lognormal(sigma=0.5, size=num)
    country = _ids("country", num_countries)[rng.integers(num_countries, size=num)]
    return pd.DataFrame(
        {"user_id": _ids("u", num), "country": country, "budget": budget.round(), "party": party}
    )


def _searches(rng, truth, users, nums):
    """The users' clicks: (user, search, second, item, booked, negatives)."""
    city = _city(truth.interactions.items)
    given = zip(
        users, nums, truth.fits(users), truth.rejects(users), truth.cities(users), strict=True
    )
    for user, num, fits, rejects, chances in given:
        for at, where in enumerate(rng.choice(len(chances), num, p=chances)):
            inside = fits * (city == where)
            inside /= inside.sum()
            clicks = (1 - STRAY) * inside + STRAY * fits / fits.sum()
            taken = rng.choice(
                len(fits), min(1 + rng.geometric(0.25), 12, len(fits)), replace=False, p=clicks
            ).tolist()
            rejected, booked = [], None
            if rng.random() < LEADS:
                rejected, booked = _request(rng, inside, rejects)
                taken = [item for item in taken if item not in (*rejected, booked)] + [
                    *rejected,
                    booked,
                ]
            second = START + int(SPAN * rng.random())
            for place, item in enumerate(taken):
                led = place == len(taken) - 1 and booked is not None
                yield (
                    user,
                    f"u{user}-{at}",
                    second + 40 * place,
                    item,
                    led,
                    [f"i{n}" for n in rejected if led],
                )


def _request(rng, inside, rejects):
    """The items whose hosts said no, and the one whose host said yes: one asks by how well they
    suit until then.
    """
    accepted, refused = inside * (1 - rejects), inside * rejects
    tries = min(rng.geometric(accepted.sum()) - 1, MAX_REJECTIONS)
    booked = rng.choice(len(inside), p=accepted / accepted.sum())
    rejected = dict.fromkeys(rng.choice(len(inside), tries, p=refused / refused.sum()).tolist())
    return [item for item in rejected if item != booked], booked


def _city(items):
    """Each item's city number `[num_items]`."""
    return items["city"].str[1:].to_numpy(int)


def _ids(letter, count):
    return np.array([f"{letter}{number}" for number in range(count)], dtype=object)


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
