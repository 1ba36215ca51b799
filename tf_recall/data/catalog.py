"""The catalog of a model: its users and items, their counts, side tables and histories."""

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.atomic import atomic_file
from tf_recall.data.growth import Origin
from tf_recall.data.histories import Histories, Seen
from tf_recall.data.interactions import Interactions
from tf_recall.data.npy import read_array, write_array
from tf_recall.data.vocabulary import Vocabulary

SIZES = "catalog.json"


@dataclass(frozen=True)
class Side:
    """One entity of a catalog: users, or items.

    Args:
        vocabulary: raw ids to rows, with training counts.
        table: side columns by row: line r describes row r + 1.
        origin: `[V]`, the row of each in the catalog that this one grew out of, 0 for none; None
            where it grew out of none.
    """

    vocabulary: Vocabulary
    table: pd.DataFrame
    origin: np.ndarray | None = None


@dataclass(frozen=True)
class Catalog:
    """The vocabularies of users and items, their side tables by row, and each user's history.

    Everything is fitted on the training part only.

    Items (and users) that are in a side table but not in the training interactions have a row too,
    with count 0: they can be recommended from their features. Line `r` of a side table describes
    row `r + 1`; row 0 is *unknown* and has no line.

    Args:
        users, items: raw ids to rows, with training counts.
        user_table, item_table: side columns by row, with missing values for rows that they lack.
        histories: each user's items of the training part, in order of time.
        origin: where the rows of a catalog that has grown come from; None: it has not.

    Example:
        >>> catalog = Catalog.fit(split.train)
        >>> catalog.items.size - 1          # how many items can be recommended
    """

    users: Vocabulary
    items: Vocabulary
    user_table: pd.DataFrame
    item_table: pd.DataFrame
    histories: Histories
    origin: Origin | None = None

    @classmethod
    def fit(cls, train: Interactions) -> "Catalog":
        """Fits everything on the training part; split first."""
        return cls._of(train, train.vocabulary("user"), train.vocabulary("item"))

    def grown(self, interactions: Interactions, keep: bool = True) -> "Catalog":
        """The catalog of more interactions: known rows stay, new users and items get further rows.

        Args:
            interactions: all that are known by now, old ones too, with side tables that describe
                new users and items.
            keep: whether users and items that the interactions and their side tables do not name
                keep their rows; else these go, and later rows move up.
        """
        sides = {"user": self.users, "item": self.items}
        now = {entity: interactions.vocabulary(entity) for entity in sides}
        for entity, known in sides.items():
            if not keep:  # what neither the log nor a side table names
                known = known.select(now[entity].rows_of(known) > 0)
            now[entity] = known.extended(now[entity])
        catalog = self._of(interactions, now["user"], now["item"])
        sides = {"user": (self.users, catalog.users), "item": (self.items, catalog.items)}
        rows = {
            entity: before.rows_of(after).astype(np.int64)
            for entity, (before, after) in sides.items()
        }
        sizes = {entity: before.size for entity, (before, _) in sides.items()}
        return replace(catalog, origin=Origin(self.identity, rows, sizes))

    def interactions(self) -> Interactions:
        """The training part again, as far as it is kept: who had what, and when."""
        columns = {
            "user_id": self.users.decode(self.histories.users),
            "item_id": self.items.decode(self.histories.items),
        }
        if self.histories.times is not None:
            columns["timestamp"] = self.histories.times
        return Interactions(pd.DataFrame(columns))

    @classmethod
    def _of(cls, interactions, users, items):
        tables = _aligned(interactions, "user", users), _aligned(interactions, "item", items)
        return cls(users, items, *tables, interactions.histories(users, items))

    @functools.cached_property
    def seen(self) -> Seen:
        """Each user's distinct items of the training part."""
        return self.histories.seen()

    @property
    def identity(self) -> dict[str, str]:
        """What tells its rows from those of others: `{"users": digest, "items": digest}`."""
        return {"users": self.users.digest, "items": self.items.digest}

    def side(self, entity: str) -> Side:
        """The vocabulary and the side table of an entity, "user" or "item".

        Raises:
            ValueError: there is no such entity.
        """
        sides = {"user": (self.users, self.user_table), "item": (self.items, self.item_table)}
        if entity not in sides:
            raise ValueError(f"a catalog has the entities {', '.join(sides)}, not {entity!r}")
        return Side(*sides[entity], self.origin and self.origin.rows[entity])

    def with_counts(self, counts: dict[str, np.ndarray]) -> "Catalog":
        """The same catalog with other counts, `{entity: [V] int64}`; those of row 0 are ignored."""
        changed = {
            f"{entity}s": self.side(entity).vocabulary.with_counts(of_entity[1:])
            for entity, of_entity in counts.items()
        }
        return replace(self, **changed)

    @property
    def num_items(self) -> int:
        """How many items can be recommended."""
        return self.items.size - 1

    def known_item(self, item_id: str | int) -> int:
        """The row of an item.

        Raises:
            ValueError: the catalog does not know it.
        """
        row = int(self.items.encode([item_id])[0])
        if not row:
            raise ValueError(
                f"item {item_id!r} is unknown: it is not among the {self.num_items} of the catalog"
            )
        return row

    def save(self, directory: str | Path) -> None:
        """Writes vocabularies and histories. A trained model holds the side tables encoded."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SIZES).unlink(missing_ok=True)  # half an old and half a new one do not load
        self.users.save(directory / "users.tsv")
        self.items.save(directory / "items.tsv")
        for name in ("offsets", "items", "times"):
            if (array := getattr(self.histories, name)) is not None:
                write_array(directory / f"history_{name}.npy", array)
        with atomic_file(directory / SIZES) as aside:
            aside.write_text(json.dumps(self._sizes()))

    def _sizes(self):
        return {
            "users": self.users.size,
            "items": self.items.size,
            "interactions": len(self.histories.items),
            "timestamps": self.histories.times is not None,
            "identity": self.identity,
        }

    @classmethod
    def load(cls, directory: str | Path) -> "Catalog":
        """Reads what `save` wrote, with empty side tables.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or the files disagree (a truncated copy).
        """
        directory = Path(directory)
        _check_there(
            directory, [SIZES, "users.tsv", "items.tsv", *_histories(["offsets", "items"])]
        )
        try:
            sizes = json.loads((directory / SIZES).read_text(encoding="utf-8"))
            arrays = ["offsets", "items", *["times"] * bool(sizes["timestamps"])]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{directory / SIZES} is damaged: {error}") from error
        _check_there(directory, _histories(arrays))
        users = Vocabulary.load(directory / "users.tsv")
        items = Vocabulary.load(directory / "items.tsv")
        kinds = {"history_times.npy": "if"}  # the others hold whole numbers
        histories = Histories(
            *(read_array(directory / name, kinds.get(name, "i")) for name in _histories(arrays))
        )
        catalog = cls(users, items, _blank(users), _blank(items), histories)
        if (found := catalog._sizes()) != sizes:
            raise ValueError(f"{directory} is damaged: it should hold {sizes}, and holds {found}")
        if wrong := _wrong(histories, users.size, items.size):
            raise ValueError(f"{directory} is damaged: {wrong}")
        return catalog


def _histories(arrays):
    return [f"history_{name}.npy" for name in arrays]


def _wrong(histories, num_users, num_items) -> str | None:
    """Which file names users, items or an order that cannot be, and how; None where none does."""
    offsets, items, times = histories.offsets, histories.items, histories.times
    num = len(items)
    if len(histories) != num_users or (offsets[0], offsets[-1]) != (0, num):
        return f"history_offsets.npy does not go from 0 to {num} in {num_users} users"
    if (np.diff(offsets) < 0).any() or offsets[1]:
        return "history_offsets.npy falls, or gives the unknown user a history"
    if num and not (items.min() > 0 and items.max() < num_items):
        return (
            f"history_items.npy holds rows from {items.min()} to {items.max()}, and those of items "
            f"go from 1 to {num_items - 1}"
        )
    if times is None:
        return None
    if len(times) != num:
        return f"history_times.npy holds {len(times)} times of {num} events"
    falls = np.flatnonzero(np.diff(times) < 0) + 1  # the events after which time goes back
    if not np.isin(falls, offsets).all():
        return "history_times.npy falls within the history of a user"
    return None


def _check_there(directory, names):
    if missing := [name for name in names if not (directory / name).is_file()]:
        raise FileNotFoundError(
            f"{directory} is not a complete catalog: it lacks {', '.join(missing)}"
        )


def _aligned(interactions: Interactions, entity: str, vocabulary: Vocabulary) -> pd.DataFrame:
    """The side table of an entity by row."""
    table, key = interactions.table(entity), f"{entity}_id"
    if table is None:
        return _blank(vocabulary)
    lines = np.full(vocabulary.size - 1, -1)
    lines[vocabulary.encode(table[key]) - 1] = np.arange(len(table))
    # no line is labeled -1: missing
    aligned = table.drop(columns=key).reset_index(drop=True).reindex(lines)
    return aligned.reset_index(drop=True)


def _blank(vocabulary: Vocabulary) -> pd.DataFrame:
    return pd.DataFrame(index=pd.RangeIndex(vocabulary.size - 1))
