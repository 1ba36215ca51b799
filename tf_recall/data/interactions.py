"""Interactions: which user chose which item, when and how much, with side tables of both."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tf_recall.data import tables
from tf_recall.data.histories import Histories
from tf_recall.data.side_tables import checked_ids, checked_side, keys_of, opened, strings
from tf_recall.data.times import spread, to_seconds
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.data.weighting import Weighting


@dataclass(frozen=True, eq=False)
class Interactions:
    """A checked table of interactions, with side tables of its users and items.

    Make it with a `from_...` constructor: they check the tables. Ids are strings or int64. A CSV
    file does not distinguish the two, so there ids are integers where every one is written as a
    plain integer ("7", not "007"). Where a table and its side table differ (7 and "7"), both become
    strings.

    Attributes:
        frame: columns `user_id`, `item_id`, and where known `timestamp` (seconds since 1970 UTC to
            their full precision: int64 where all are whole, else float64) and `weight` (float32, at
            least 0). Any further column is *context*: what was known at the time of the
            interaction. The rows are as given, but for times that float64 does not tell apart
            (within about 200 ns): those rows are in order of time.
        items: `item_id` and the columns of each item, or None. It may hold items without
            interactions.
        users: `user_id` and the columns of each user, or None.
        learned: bool `[n]`, which rows are positives to learn from, the others being known, as
            part of histories and graphs; None: all.
        impressions: of a log of what was shown, all of it, with the columns of `frame`, where these
            are what was taken of it (`where`); else None.

    Example:
        >>> ids = {"user_id": ["ann", "bob"], "item_id": [7, 8]}
        >>> clicks = Interactions.from_columns(**ids, timestamp=[100, 200])
        >>> len(clicks.select(clicks.frame["timestamp"] > 100))
        1
    """

    frame: pd.DataFrame
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    learned: np.ndarray | None = None
    impressions: pd.DataFrame | None = None
    _rows: dict = field(default_factory=dict, init=False, repr=False)  # the latest, by entity

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        columns: dict | None = None,
        items: Any = None,
        users: Any = None,
        missing: Iterable[str] = (),
        time_unit: str | None = None,
    ) -> "Interactions":
        """Interactions of a dataframe.

        Args:
            frame: pandas, polars, Arrow or any table that has `to_pandas`.
            columns: `{our name: the frame's}` where they differ, such as
                `{"user_id": "customer", "timestamp": "date"}`; context columns may be renamed too.
            items: a table (or the path of a CSV or Parquet file) with `item_id`, under that name or
                the one in `columns`.
            users: the same for users, with `user_id`.
            missing: texts that stand for a missing value in CSV files, such as `["NA"]`; without
                them only an empty field does.
            time_unit: what numbers in `timestamp` count: s, ms, us, ns, min, h or D (days) since
                1970, or `spreadsheet` days; or, as a format of `strptime`, which digits of a date
                they are: `%Y%m%d` for 20240131, and of text `%d/%m/%Y` for 31/1/2024. None:
                seconds, unless they look like another.

        Raises:
            TypeError: something that is not a table, or ids that are neither strings nor integers.
            ValueError: no rows; a column that is missing or there twice; a misspelt name in
                `columns`; a missing id; a time that cannot be read or is not in `time_unit`; a
                weight that is negative or not a number; an id twice in a side table, or a side
                table that shares no id with the interactions.
        """
        columns = tables.checked_names(columns)
        frame = tables.renamed(tables.as_pandas(frame, "interactions"), columns)
        if frame.empty:
            raise ValueError(
                f"There are no interactions: the table has columns {list(frame.columns)} and no "
                "rows."
            )
        user_id = checked_ids(frame, "user_id", "interactions")
        item_id = checked_ids(frame, "item_id", "interactions")
        items, users = (opened(table, columns, missing) for table in (items, users))
        users, user_id = checked_side(users, "users", "user_id", columns, user_id)
        items, item_id = checked_side(items, "items", "item_id", columns, item_id)
        checked = {"user_id": user_id, "item_id": item_id}
        order = None
        if "timestamp" in frame:
            checked["timestamp"], order = to_seconds(frame["timestamp"], time_unit)
        if "weight" in frame:
            checked["weight"] = _weights(frame["weight"])
        context = {name: frame[name] for name in frame if name not in checked}
        interactions = cls(tables.of_columns(checked | context), items, users)
        return interactions if order is None else interactions.select(order)

    @classmethod
    def from_columns(
        cls,
        user_id: Any,
        item_id: Any,
        timestamp: Any = None,
        weight: Any = None,
        items: Any = None,
        users: Any = None,
        time_unit: str | None = None,
        **context: Any,
    ) -> "Interactions":
        """Interactions of arrays of one length; every further keyword is a context column.

        Raises:
            TypeError, ValueError: arrays of different lengths, or as `from_frame`.
        """
        given = {
            "user_id": user_id,
            "item_id": item_id,
            "timestamp": timestamp,
            "weight": weight,
            **context,
        }
        given = {name: values for name, values in given.items() if values is not None}
        lengths = {name: len(values) for name, values in given.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns must have one length, got {lengths}.")
        return cls.from_frame(
            tables.of_columns(given), items=items, users=users, time_unit=time_unit
        )

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        columns: dict | None = None,
        items: Any = None,
        users: Any = None,
        missing: Iterable[str] = (),
        time_unit: str | None = None,
    ) -> "Interactions":
        """Interactions of a CSV or Parquet file, by its suffix; arguments as `from_frame`.

        The suffixes are `.csv` and `.tsv`, also compressed, and `.parquet`.

        Raises:
            OSError: no such file, or a folder.
            ValueError: a file that cannot be read, or what `from_frame` refuses; the message names
                the file.
        """
        return cls._of_file(tables.read, path, columns, items, users, missing, time_unit)

    @classmethod
    def from_csv(cls, path: str | Path, *args: Any, **kwargs: Any) -> "Interactions":
        """Interactions of a CSV file, compressed or not; arguments and errors as `from_file`.

        It is tab separated where its name holds `.tsv`. Every line must have one field for each
        column that the header names, and only an empty field is missing: "NA" is a word.
        """
        return cls._of_file(tables.read_csv, path, *args, **kwargs)

    @classmethod
    def from_parquet(cls, path: str | Path, *args: Any, **kwargs: Any) -> "Interactions":
        """Interactions of a Parquet file or a folder of them; arguments and errors as `from_file`.

        `missing` is for side tables that are CSV files.
        """

        def read(path, keys, missing):
            return tables.read_parquet(path)  # it says itself which columns hold ids

        return cls._of_file(read, path, *args, **kwargs)

    @classmethod
    def _of_file(cls, read, path, columns=None, items=None, users=None, missing=(), time_unit=None):
        names = tables.checked_names(columns)
        frame = read(path, keys_of(names), missing)
        items, users = (opened(table, names, missing) for table in (items, users))
        try:
            return cls.from_frame(frame, columns, items, users, time_unit=time_unit)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def times(self) -> np.ndarray | None:
        """The times in seconds, `[n]`; None where there is no timestamp."""
        return times_of(self.frame)

    def table(self, entity: str) -> pd.DataFrame | None:
        """The side table of an entity, "user" or "item"."""
        return {"user": self.users, "item": self.items}[entity]

    def vocabulary(self, entity: str) -> Vocabulary:
        """Fits the vocabulary of an entity: its ids here, and those that its side table adds."""
        table = self.table(entity)
        key = f"{entity}_id"
        extra = () if table is None else table[key]
        vocabulary, rows = Vocabulary.fit_rows(self.frame[key], extra)
        self._keep(entity, vocabulary, rows)
        return vocabulary

    def rows(self, entity: str, vocabulary: Vocabulary) -> np.ndarray:
        """The rows of an entity in a vocabulary: int32 `[n]`, read-only; 0 for an unknown id.

        They are kept, so that ids are looked up once, whatever asks for their rows.
        """
        digest, rows = self._rows.get(entity, (None, None))
        if digest != vocabulary.digest:
            rows = vocabulary.encode(self.frame[f"{entity}_id"])
            self._keep(entity, vocabulary, rows)
        return rows

    def _keep(self, entity, vocabulary, rows):
        rows.flags.writeable = False
        self._rows[entity] = (vocabulary.digest, rows)

    def histories(self, users: Vocabulary, items: Vocabulary) -> Histories:
        """Each user's items in order of time."""
        rows = self.rows("user", users), self.rows("item", items)
        return Histories.fit(*rows, self.times, users.size)

    def select(self, rows: Any) -> "Interactions":
        """The interactions at a boolean mask or at row positions, with the same side tables."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        learned = None if self.learned is None else self.learned[rows]
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return replace(self, frame=frame, learned=learned)

    def interleaved(self, other: "Interactions", taken: np.ndarray | None = None) -> "Interactions":
        """The rows of both, with the columns and the side tables of these.

        Args:
            other: further interactions; they have all columns of these.
            taken: bool `[n]`, which rows of the result are the other's; None: the last.

        Example:
            >>> ids = Interactions.from_columns(["a", "b", "c"], [7, 8, 9])
            >>> held = np.array([False, True, False])
            >>> ids.select(~held).interleaved(ids.select(held), held).frame["item_id"].tolist()
            [7, 8, 9]
        """
        frames = [self.frame, other.frame[list(self.frame)]]
        masks = [
            np.ones(len(each), bool) if each.learned is None else each.learned
            for each in (self, other)
        ]
        learned = np.concatenate(masks)
        learned = None if learned.all() else learned
        both = replace(self, frame=pd.concat(frames, ignore_index=True), learned=learned)
        if taken is None:
            return both
        return both.select(np.where(taken, len(self) + np.cumsum(taken), np.cumsum(~taken)) - 1)

    @property
    def to_learn(self) -> "Interactions":
        """The rows that are positives to learn from; all, where `learned` is None."""
        return self if self.learned is None else replace(self.select(self.learned), learned=None)

    def where(self, column: str) -> "Interactions":
        """Those at which a column is true, or not 0; all of them are kept as its impressions.

        A log of what was shown holds what was taken: `clicks = shown.where("clicked")`. Models,
        histories and evaluation then see the clicks alone, and metrics of channels both. An item
        that nobody took is unknown, unless it is in the item table.

        Raises:
            ValueError: no such column, one that holds anything else, or one that is true nowhere.

        Example:
            >>> shown = Interactions.from_columns(["a", "a"], [7, 8], clicked=[1, 0])
            >>> clicks = shown.where("clicked")
            >>> len(clicks), len(clicks.impressions)
            (1, 2)
        """
        taken = tables.flags(self.frame, column)
        if not taken.any():
            raise ValueError(f"column {column!r} is true nowhere: there are no interactions")
        return replace(self.select(taken), impressions=self.frame)

    def weighted(self, weighting: Weighting) -> "Interactions":
        """The same interactions with a column `weight` made of another one.

        Args:
            weighting: `Saturating("seconds", half=30)`, or `Logarithmic(...)`.

        Raises:
            ValueError: they have weights already; or as the weighting.
        """
        if "weight" in self.frame:
            raise ValueError(
                "the interactions have a column 'weight' already: leave the weighting out, or name "
                "that column otherwise"
            )
        return replace(self, frame=self.frame.assign(weight=weighting(self.frame)))

    def in_order(self) -> "Interactions":
        """The same interactions, of which a user's events of one time happened in order of lines.

        Events of one time do not see one another in training, since nobody knows which came first.
        Where times are dates and the lines stand in order, this tells it: each event of a user at
        an equal time comes a second after the one before, or less where the next time is near.

        Raises:
            ValueError: no timestamps, or no room between them.

        Example:
            >>> log = Interactions.from_columns(["a", "a"], [7, 8], timestamp=[86400, 86400])
            >>> log.in_order().frame["timestamp"].tolist()
            [86400.0, 86401.0]
        """
        if "timestamp" not in self.frame:
            raise ValueError(f"There is no timestamp to order by, only {list(self.frame.columns)}.")
        users, _ = pd.factorize(self.frame["user_id"])
        times = spread(self.frame["timestamp"].to_numpy(), users)
        return replace(self, frame=self.frame.assign(timestamp=times))

    def with_string_ids(self, key: str) -> "Interactions":
        """The same interactions, with the ids of a column as strings in both tables.

        Args:
            key: "user_id" or "item_id".
        """
        changed = {}
        for name in ("frame", "users" if key == "user_id" else "items", "impressions"):
            table = getattr(self, name)
            if table is not None:
                changed[name] = table.assign(**{key: strings(table[key])})
        return replace(self, **changed)


def times_of(frame: pd.DataFrame) -> np.ndarray | None:
    """The times of interactions in seconds, `[n]`; None where they have no timestamp."""
    return frame["timestamp"].to_numpy() if "timestamp" in frame else None


def _weights(column: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    weights = numbers.to_numpy(np.float64, na_value=np.nan).astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise ValueError(
            f"weight must be a number of at least 0, got '{column.iloc[wrong[0]]}' in row "
            f"{wrong[0]}."
        )
    return weights
