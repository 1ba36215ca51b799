"""A planted world like Airbnb's log: searches in a city, bookings, and hosts who reject guests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Seed, WholeFrom1

# kind of home: share of the homes, lowest and highest capacity, factor of the price
KINDS = {
    "entire": (0.5, 2, 8, 1.0),
    "private": (0.35, 1, 4, 0.6),
    "shared": (0.15, 1, 2, 0.35),
}
START = 1_500_000_000  # seconds
SPAN = 365 * 86_400  # seconds: a year of searches
LEADS = 0.4  # the share of searches that lead to a booking
STRAY = 0.05  # the share of clicks outside the city of the search
HOME = 0.8  # the share of searches in the user's own country
MAX_REJECTIONS = 3  # the most that the log keeps of a search


@dataclass(frozen=True)
class Stays:
    """A log of searches, and the probabilities from which it was drawn.

        money = log(price[t] / budget[u]) / 0.4
        fits[u, t] = popularity[t] * exp(sharpness * tastes[u] . styles[t] - money^2 / 2)
                     * (1 if capacity[t] >= party[u], else 0.02)
        rejects[u, t] = 0.9 where the home is shared with the host and the party fills it, else 0.02
        P(city | user):  by size, 0.8 of it in the user's own country
        P(click t | user, city) ∝ fits[u, t] in the city
        P(booked t | user) = sum_city P(city | user) * accepted[u, t] / (its sum over the city),
                             accepted = fits * (1 - rejects)

    Args:
        interactions: the clicks in time order, with both side tables. Context: `search` (the
            session's id), `booked` (true on the last click of a search that led to a booking) and
            `negatives` (on that click, the items whose hosts rejected the guest before).
        tastes: unit vectors `[num_users, dim]`, hidden.
        styles: unit vectors `[num_items, dim]`, hidden.
        popularity: `[num_items]`, sums to 1.
        sharpness: how much taste matters.
    """

    interactions: Interactions
    tastes: np.ndarray
    styles: np.ndarray
    popularity: np.ndarray
    sharpness: float

    def fits(self, users: np.ndarray) -> np.ndarray:
        """How well each item suits these users, before hosts reject: `[len(users), num_items]`.

        Args:
            users: numbers of users.
        """
        guests = self.interactions.users.iloc[users]
        items = self.interactions.items
        taste = self.sharpness * (self.tastes[users] @ self.styles.T - 1)
        money = np.log(items["price"].to_numpy() / guests["budget"].to_numpy()[:, None]) / 0.4
        room = np.where(
            items["capacity"].to_numpy() >= guests["party"].to_numpy()[:, None], 1.0, 0.02
        )
        return self.popularity * np.exp(taste - money**2 / 2) * room

    def rejects(self, users: np.ndarray) -> np.ndarray:
        """P(the item's host rejects the user): `[len(users), num_items]`."""
        guests = self.interactions.users.iloc[users]
        items = self.interactions.items
        full = items["capacity"].to_numpy() <= guests["party"].to_numpy()[:, None]
        return np.where(full & (items["kind"] != "entire").to_numpy(), 0.9, 0.02)

    def cities(self, users: np.ndarray) -> np.ndarray:
        """P(city | user): `[len(users), num_cities]`; column n is the city "c<n>"."""
        city = _city(self.interactions.items)
        size = np.bincount(city)
        _, first = np.unique(city, return_index=True)
        country = self.interactions.items["country"].to_numpy()[first]
        home = size * (country == self.interactions.users["country"].to_numpy()[users, None])
        return HOME * home / home.sum(axis=1, keepdims=True) + (1 - HOME) * size / size.sum()

    def booked(self, user_ids: Sequence[str]) -> np.ndarray:
        """P(booked t | user): `[len(user_ids), num_items]`; column n is the item "i<n>"."""
        users = np.array([int(user_id[1:]) for user_id in user_ids])
        city = _city(self.interactions.items)
        accepted = self.fits(users) * (1 - self.rejects(users))
        in_city = accepted @ np.eye(city.max() + 1)[city]  # [users, cities]
        return self.cities(users)[:, city] * accepted / in_city[:, city]

    def best(self, user_ids: Sequence[str], k: int) -> np.ndarray:
        """The `k` items that each user most probably books: ids `[len(user_ids), k]`.

        Only by luck can a model do better.
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
    """Draws a world of homes in cities, and of users who search, click and book.

    A search is in one city, except for stray clicks, and has up to 12 clicks on homes that suit the
    user; four in ten lead to a booking. A fifth of the users search once, half of the others up to
    three times. Popularity falls as `rank ** -zipf`. Some homes are never clicked and some users
    never search: they are in the side tables only.

    Args:
        num_users: users, from "u0" on; the table has `country`, `budget` (a night) and `party` (1
            to 6).
        num_items: homes, from "i0" on; the table has `city`, its `country`, `kind`, `capacity` and
            `price`.
        num_cities: cities, from "c0" on, of falling size, distributed over the countries.
        num_countries: countries, at most as many as cities.
        dim: length of the hidden vectors.
        sharpness: how much the hidden taste matters.
        zipf: how fast popularity falls.
        seed: same seed, same world.

    Raises:
        ValueError: a size below 1, more countries than cities, or more cities than items.

    Example:
        >>> world = stays(num_users=500)
        >>> world.interactions.frame.query("booked")[["user_id", "item_id", "negatives"]]

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking
        at Airbnb", section 3.
    """
    if not (num_users >= 1 and dim >= 1 and 1 <= num_countries <= num_cities <= num_items):
        raise ValueError(
            "there must be a user, a dimension, and 1 <= num_countries <= num_cities <= "
            f"num_items; got {num_users}, {dim}, and {num_countries}, {num_cities}, {num_items}"
        )
    rng = np.random.default_rng(seed)
    items = _draw_items(rng, num_items, num_cities, num_countries)
    users = _draw_users(rng, num_users, num_countries)
    styles = _unit(rng.standard_normal((num_items, dim)))
    tastes = _unit(rng.standard_normal((num_users, dim)))
    popularity = rng.permutation((1.0 + np.arange(num_items)) ** -zipf)
    popularity /= popularity.sum()
    truth = Stays(Interactions(pd.DataFrame(), items, users), tastes, styles, popularity, sharpness)
    once = rng.random(num_users) < 0.2
    num_searches = np.where(once, 1, 1 + rng.geometric(0.3, num_users).clip(max=20))
    num_searches[rng.random(num_users) < 0.02] = 0
    rows = []
    for block in np.array_split(np.arange(num_users), 1 + num_users // 256):
        rows += _searches(rng, truth, block, num_searches[block])
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
    interactions = Interactions.from_columns(**columns, items=items, users=users)
    return Stays(interactions, tastes, styles, popularity, sharpness)


def stays_log(
    num_users: WholeFrom1 = 2000,
    num_items: WholeFrom1 = 600,
    num_cities: WholeFrom1 = 12,
    seed: Seed = 0,
) -> Interactions:
    """The interactions of a planted world of searches and bookings, without files or network.

    Args:
        num_users, num_items, num_cities: the size of the world.
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
    dear = rng.uniform(0.7, 1.4, num_cities)  # some cities are more expensive
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
    """The users' clicks, in rows of user, search, second, item, booked, negatives."""
    city = _city(truth.interactions.items)
    given = zip(
        users, nums, truth.fits(users), truth.rejects(users), truth.cities(users), strict=True
    )
    for user, num, fits, rejects, chances in given:
        for at, where in enumerate(rng.choice(len(chances), num, p=chances)):
            inside = fits * (city == where)
            inside /= inside.sum()
            clicks = (1 - STRAY) * inside + STRAY * fits / fits.sum()
            num_clicks = min(1 + rng.geometric(0.25), 12, len(fits))
            clicked = rng.choice(len(fits), num_clicks, replace=False, p=clicks).tolist()
            rejected = []
            booked = None
            if rng.random() < LEADS:
                rejected, booked = _request(rng, inside, rejects)
                requested = [*rejected, booked]
                clicked = [item for item in clicked if item not in requested] + requested
            second = START + int(SPAN * rng.random())
            for position, item in enumerate(clicked):
                led = position == len(clicked) - 1 and booked is not None
                negatives = [f"i{n}" for n in rejected] if led else []
                yield user, f"u{user}-{at}", second + 40 * position, item, led, negatives


def _request(rng, inside, rejects):
    """The items whose hosts rejected the user, and the one whose host accepted them.

    Users request items by how well they suit, until a host accepts.
    """
    accepted = inside * (1 - rejects)
    refused = inside * rejects
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
