"""The doctor: looks in data and in recommended lists for what spoils a model without an error.

Each check gives a list of `Finding`, empty when all is well.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog
from tf_recall.data.split import Split
from tf_recall.positives import user_item
from tf_recall.recommend.base import Recommender
from tf_recall.retrievers.base import Retriever

SAME_LIST = 0.5  # share of the users who get one and the same list
OVERLAP = 0.9  # mean share of a list that is in another list
UNKNOWN = 0.2  # share of the held-out events
LARGE = 10.0  # mean or deviation that a tower's Dense layers cannot use well
FAR = 20.0  # an outlier's distance from the median, in interquartile ranges
MISSING = 0.2  # share of a column
USERS = 1000  # about how many users are asked for their lists


@dataclass(frozen=True)
class Finding:
    """Something that the doctor found.

    Args:
        name: what it is, in one word: `identical_lists`.
        message: what was found, and what to do.
        severity: `error` (the figures mean nothing), `warning` (they may be worse than they could
            be), `info` (worth knowing).
    """

    name: str
    message: str
    severity: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.name}: {self.message}"


def check_answers(recommender: Recommender, catalog: Catalog) -> list[Finding]:
    """Checks the lists that about 1,000 users of a catalog are recommended; see `check_lists`.

    Of a catalog of less than two lists all users get much the same: that is no illness.
    """
    k = min(20, recommender.k_max)
    if catalog.num_items < 2 * k:
        return []
    users = catalog.users.ids[:: max(1, len(catalog.users.ids) // USERS)]
    rows, _ = recommender.recommend_rows(users, k=k)
    return check_lists(rows)


def check_lists(rows: np.ndarray) -> list[Finding]:
    """Checks whether everyone is recommended the same items.

    They are where a tower has collapsed, or has learned nothing but popularity.

    Args:
        rows: `[n, k]` recommended rows (or raw ids) of n different users, seen items among them.

    Example:
        >>> rows, _ = service.recommend_rows(some_users, k=20)
        >>> for finding in check_lists(rows): print(finding)
    """
    num_lists, width = np.shape(rows)
    rows = np.sort(pd.factorize(np.ravel(rows))[0].reshape(num_lists, width), axis=1)
    if num_lists < 2:
        return []
    _, list_count = np.unique(rows, axis=0, return_counts=True)
    same = list_count.max() / num_lists
    if same > SAME_LIST:
        cure = (
            "Check that the loss falls, that the learning rate is not too high, that the "
            "temperature suits, and that the query tower's features differ between users."
        )
        return [
            Finding(
                "identical_lists",
                f"{same:.0%} of {num_lists:,} users get the very same {width} items. {cure}",
                "error",
            )
        ]
    _, count = np.unique(rows, return_counts=True)
    # of two lists drawn at random
    overlap = (count * (count - 1)).sum() / (num_lists * (num_lists - 1) * width)
    if overlap > OVERLAP:
        message = (
            f"two users' lists share {overlap:.0%} of their {width} items on average: the model "
            "hardly distinguishes users. Train longer, give the query tower more features, or "
            "correct for popularity (log q) in the loss."
        )
        return [Finding("similar_lists", message, "warning")]
    return []


def check_split(split: Split) -> list[Finding]:
    """Checks whether figures on the held-out parts can be trusted.

    Looks for targets inside the history, events before the training part's, repeated pairs, and
    unknown users and items.

    Args:
        split: a `Split`; its validation part, if any, is checked as its test part is.
    """
    names = ["train", *(["validation"] if split.validation is not None else []), "test"]
    parts = [getattr(split, name) for name in names]
    users, items = (_alike([part.frame[key] for part in parts]) for key in ("user_id", "item_id"))
    pairs = [_pairs(*each) for each in zip(users, items, strict=True)]  # of train sorted once
    findings = []
    for number, name in enumerate(names):
        findings += _repeated(pairs[number], name)
        if number:
            events = users[0], items[0], split.train.times
            held = users[number], items[number], parts[number].times
            findings += _leaks(pairs[0], events, held, name)
            findings += _unknown(events, held, name)
    return findings


def check_items(items: pd.DataFrame | None) -> list[Finding]:
    """Checks whether the item table holds an item under several ids, or columns with gaps.

    Two items are the same if all their side columns are, ignoring case and white space.

    Args:
        items: the item table, `item_id` and side columns; None gives no finding.
    """
    if items is None or items.shape[1] < 2 or not len(items):
        return []
    side = items.drop(columns="item_id").apply(_plain)
    findings = []
    missing = side.isna().mean()
    if len(missing := missing[missing > MISSING]):
        shares = ", ".join(f"{name} ({share:.0%})" for name, share in missing.items())
        message = (
            f"missing item values in {shares}. Fill them in, or such items differ by their other "
            "columns alone."
        )
        findings.append(Finding("missing_values", message, "warning"))
    described = side.notna().any(axis=1)
    twin = side[described].duplicated(keep=False)
    twins = items.loc[twin.index[twin], "item_id"]
    if len(twins) > len(items) / 2:
        message = (
            f"{len(twins) / len(items):.0%} of the items share all their side values with another "
            f"one: the side columns ({', '.join(side.columns)}) do not identify items. Use the "
            "item id as a feature too."
        )
        findings.append(Finding("vague_items", message, "info"))
    elif len(twins):
        groups = (
            side.loc[twins.index].groupby(list(side.columns), dropna=False, sort=False).ngroup()
        )
        example = ", ".join(map(str, twins[groups == groups.iloc[0]][:3]))
        message = (
            f"{len(twins):,} items have a twin with another id and the same side values, such as "
            f"{example}. Give each item one id, or users see it twice."
        )
        findings.append(Finding("duplicate_items", message, "warning"))
    return findings


def check_numerics(columns: dict[str, np.ndarray]) -> list[Finding]:
    """Checks whether numeric columns suit a tower as they are.

    Args:
        columns: numbers `[n]` by name, as the tower gets them; NaN is missing.

    Raises:
        TypeError: a column is not numeric.
    """
    findings = []
    for name, values in columns.items():
        values = np.asarray(values)
        if values.dtype.kind not in "iufb":
            raise TypeError(
                f"column {name} has type {values.dtype}; numerics are integers, floats or booleans"
            )
        values = values.astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values) or values.min() == values.max():
            held = f"only the value {values[0]:g}" if len(values) else "no value at all"
            message = f"{name} holds {held}. Leave it out."
            findings.append(Finding("constant_numeric", message, "warning"))
            continue
        mean, deviation = values.mean(), values.std()
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        far = np.abs(values - median) > FAR * ((high - low) or deviation)
        if far.any():
            message = (
                f"{name} has {far.sum():,} values far out, such as {values[far][0]:g}, where the "
                f"middle half lies between {low:g} and {high:g}. Use its logarithm, or buckets."
            )
            findings.append(Finding("outliers", message, "warning"))
        if max(abs(mean), deviation) > LARGE:
            message = (
                f"{name} has mean {mean:.4g} and standard deviation {deviation:.4g}. "
                "Standardize it, or use buckets."
            )
            findings.append(Finding("unscaled_numeric", message, "warning"))
    return findings


def numerics(model: Retriever, split: Split, catalog: Catalog) -> dict[str, np.ndarray]:
    """The numeric features of an adapted model, encoded as its towers get them, by name."""
    codes = dict(user_item(split.train, catalog, model.needs())["query"])
    for tower in (model.query_tower, model.item_tower):
        for name, table in tower.tables.items():
            codes[f"{tower.entity}'s {name}"] = table.numpy()[1:]
    return {name: column for name, column in codes.items() if column.dtype.kind == "f"}


def _alike(columns: list[pd.Series]) -> list[np.ndarray]:
    """Columns of ids as numbers, the same id the same number in all of them."""
    if len({column.dtype for column in columns}) == 1 and hasattr(columns[0].dtype, "categories"):
        return [column.array.codes for column in columns]
    numbers, _ = pd.factorize(np.concatenate([column.to_numpy() for column in columns]))
    ends = np.cumsum([len(column) for column in columns])
    return np.split(numbers, ends[:-1])


def _pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The pairs of events as sorted numbers."""
    pairs = users.astype(np.int64)
    pairs <<= 32
    pairs |= items
    pairs.sort()
    return pairs


def _repeated(pairs: np.ndarray, name: str) -> list[Finding]:
    times = int(np.count_nonzero(pairs[1:] == pairs[:-1]))
    if not times:
        return []
    message = (
        f"{times:,} of {len(pairs):,} {name} events ({times / len(pairs):.1%}) repeat a (user, "
        "item) pair. If repeats mean nothing (logged twice), drop them: each is a positive of its "
        "own in training."
    )
    return [Finding("repeated_pairs", message, "info")]


def _leaks(pairs: np.ndarray, train: tuple, held: tuple, name: str) -> list[Finding]:
    """Findings of held-out events, `(users, items, times)`, beside those of train."""
    findings = []
    own = held[0].astype(np.int64) << 32 | held[1]
    at = np.minimum(np.searchsorted(pairs, own), len(pairs) - 1)
    inside = (pairs[at] == own).mean()
    if inside:
        message = (
            f"{inside:.1%} of the {name} pairs are in train too, so the answer is in the user's "
            "history. Evaluate with exclude_seen=True, which filters them out, or split so that a "
            "pair is on one side only."
        )
        findings.append(Finding("target_in_history", message, "warning"))
    if train[2] is not None and held[2] is not None:
        lowest = -np.inf if train[2].dtype.kind == "f" else np.iinfo(train[2].dtype).min
        last = np.full(1 + max(train[0].max(), held[0].max()), lowest, train[2].dtype)
        np.maximum.at(last, train[0], train[2])
        early = (held[2] < last[held[0]]).mean()
        if early:
            message = (
                f"{early:.1%} of the {name} events lie before an event of the same user in train: "
                "the model has seen the future. Random splits do this; for figures that hold when "
                "the model is served, split by_time or leave_last_out."
            )
            findings.append(Finding("future_in_train", message, "warning"))
    return findings


def _unknown(train: tuple, held: tuple, name: str) -> list[Finding]:
    findings = []
    cures = {
        "user": "They are answered from their context alone: give the query tower features beyond "
        "the user id.",
        "item": "To be found they must be in the item table, and the item tower needs features "
        "beyond the item id.",
    }
    for number, (side, cure) in enumerate(cures.items()):
        known = np.zeros(1 + max(train[number].max(), held[number].max()), bool)
        known[train[number]] = True
        share = 1 - known[held[number]].mean()
        if share:
            message = f"the {side} of {share:.1%} of the {name} events is unknown to train. {cure}"
            findings.append(
                Finding(f"unknown_{side}s", message, "warning" if share > UNKNOWN else "info")
            )
    return findings


def _plain(column: pd.Series) -> pd.Series:
    """Values to compare: text in one case with single spaces, missing where it is empty."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    text = [
        " ".join(str(value).casefold().split())
        for value in column.astype(object).where(column.notna(), "")
    ]
    return pd.Series([value or None for value in text], column.index, object)
