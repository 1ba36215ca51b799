"""What a model knows of its users and items: ids, counts, side tables, seen pairs; fitted on the
training part only.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Seen:
    """Each user's items as sorted, distinct rows: user `u` has seen
    `rows[offsets[u]:offsets[u + 1]]`.

    Args:
        offsets: `[num_user_rows + 1]` int64.
        rows: `[num_distinct_pairs]` int32 item rows.
    """

    offsets: np.ndarray
    rows: np.ndarray

    @classmethod
    def fit(cls, users: np.ndarray, items: np.ndarray, num_user_rows: int) -> "Seen":
        """From the pairs `(users[n], items[n])`; pairs with an unknown side (row 0) are left
        out.
        """
        known = (users > 0) & (items > 0)
        pairs = np.sort(users[known].astype(np.int64) << 32 | items[known].astype(np.int64))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # sorted and distinct, sooner than np.unique
        counts = np.bincount(pairs >> 32, minlength=num_user_rows)
        return cls(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            (pairs & 0xFFFFFFFF).astype(np.int32),
        )

    def of(self, user: int) -> np.ndarray:
        """The item rows of one user row."""
        return self.rows[self.offsets[user] : self.offsets[user + 1]]


@dataclass(frozen=True)
class Catalog:
    """The vocabularies of users and items, their side tables by row, and the seen pairs.

    Items (and users) that stand in a side table but not in the training interactions get a row too,
    with count 0: they can be recommended from their features. Line `r` of a side table describes
    row `r + 1`; row 0 is *unknown* and has no line.

    Args:
        users, items: raw ids to rows, with training counts.
        user_table, item_table: side columns by row, missing where nothing is known.
        seen: the pairs of the training part.

    Example:
        >>> catalog = Catalog.fit(split.train)
        >>> catalog.items.size - 1          # how many items can be recommended
    """

    users: Vocabulary
    items: Vocabulary
    user_table: pd.DataFrame
    item_table: pd.DataFrame
    seen: Seen

    @classmethod
    def fit(cls, train: Interactions) -> "Catalog":
        """Fits everything on the training part; split first."""
        users, user_table = _side(train.frame["user_id"], train.users, "user_id")
        items, item_table = _side(train.frame["item_id"], train.items, "item_id")
        rows = users.encode(train.frame["user_id"]), items.encode(train.frame["item_id"])
        return cls(users, items, user_table, item_table, Seen.fit(*rows, users.size))

    def extended(self, interactions: Interactions) -> "Catalog":
        """The catalog of further interactions: what it knows keeps its row, what is new gets the
        rows after.

        Args:
            interactions: all that are known by now, old ones too, with side tables that describe
                new users and items.
        """
        users, user_table = _side(
            interactions.frame["user_id"], interactions.users, "user_id", self.users
        )
        items, item_table = _side(
            interactions.frame["item_id"], interactions.items, "item_id", self.items
        )
        rows = (
            users.encode(interactions.frame["user_id"]),
            items.encode(interactions.frame["item_id"]),
        )
        return Catalog(users, items, user_table, item_table, Seen.fit(*rows, users.size))

    @property
    def num_items(self) -> int:
        """How many items can be recommended."""
        return self.items.size - 1

    def known_item(self, item_id) -> int:
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
        """Writes vocabularies and seen pairs. The side tables stay behind: a trained model holds
        them encoded.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.users.save(directory / "users.tsv")
        self.items.save(directory / "items.tsv")
        np.save(directory / "seen_offsets.npy", self.seen.offsets)
        np.save(directory / "seen_rows.npy", self.seen.rows)
        sizes = {"users": self.users.size, "items": self.items.size, "pairs": len(self.seen.rows)}
        (directory / "catalog.json").write_text(json.dumps(sizes))

    @classmethod
    def load(cls, directory: str | Path) -> "Catalog":
        """Reads what `save` wrote, with empty side tables.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: the files disagree (a truncated copy).
        """
        directory = Path(directory)
        names = ["catalog.json", "users.tsv", "items.tsv", "seen_offsets.npy", "seen_rows.npy"]
        if missing := [name for name in names if not (directory / name).is_file()]:
            raise FileNotFoundError(
                f"{directory} is no complete catalog: it lacks {', '.join(missing)}"
            )
        sizes = json.loads((directory / "catalog.json").read_text())
        users, items = (
            Vocabulary.load(directory / "users.tsv"),
            Vocabulary.load(directory / "items.tsv"),
        )
        seen = Seen(np.load(directory / "seen_offsets.npy"), np.load(directory / "seen_rows.npy"))
        found = {"users": users.size, "items": items.size, "pairs": len(seen.rows)}
        if found != sizes or len(seen.offsets) != users.size + 1:
            raise ValueError(f"{directory} is damaged: it should hold {sizes}, and holds {found}")
        return cls(users, items, _blank(users), _blank(items), seen)


def _side(
    ids: pd.Series, table: pd.DataFrame | None, key: str, known=None
) -> tuple[Vocabulary, pd.DataFrame]:
    vocabulary = (known.extended if known else Vocabulary.fit)(
        ids, () if table is None else table[key]
    )
    if table is None:
        return vocabulary, _blank(vocabulary)
    lines = np.full(vocabulary.size - 1, -1)
    lines[vocabulary.encode(table[key]) - 1] = np.arange(len(table))
    # no line is labeled -1: missing
    aligned = table.drop(columns=key).reset_index(drop=True).reindex(lines)
    return vocabulary, aligned.reset_index(drop=True)


def _blank(vocabulary: Vocabulary) -> pd.DataFrame:
    return pd.DataFrame(index=pd.RangeIndex(vocabulary.size - 1))
