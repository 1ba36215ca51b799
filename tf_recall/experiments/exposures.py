"""Who was answered by which arm, as a server itself logs it, joined with what users then did."""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tf_recall.data.ids import kind_of, raw_ids
from tf_recall.data.side_tables import strings
from tf_recall.data.times import to_seconds
from tf_recall.experiments.plan import HOLDOUT

MARK = '"experiments"'  # in each line of a request that an arm answered


def read_exposures(path: str | Path) -> pd.DataFrame:
    """Reads which users were answered by which arms from a server's log: lines of JSON.

    Lines without arms, such as those of other requests or what libraries write, are passed over.

    Args:
        path: a file, perhaps compressed (.gz), or a folder of them.

    Returns:
        `user_id`, `time` (seconds), `experiment` and `arm`, a line for each request and arm.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is damaged, or there is no arm in any.
    """
    found = [each for file in _files(Path(path)) for each in _arms(file)]
    if not found:
        raise ValueError(
            f"{path} names no arm: give what `tf-recall serve --experiments` wrote to standard "
            "error, with --log-level INFO"
        )
    users, times, experiments, arms = zip(*found, strict=True)
    moments = pd.to_datetime(pd.Series(times), utc=True, format="ISO8601")
    seconds, _ = to_seconds(moments)
    return pd.DataFrame(
        {
            "user_id": raw_ids(list(users), "user_id"),
            "time": seconds,
            "experiment": experiments,
            "arm": arms,
        }
    )


def with_outcomes(
    exposures: pd.DataFrame, name: str, outcomes: pd.DataFrame, columns: Sequence[str]
) -> pd.DataFrame:
    """A table that `analyze` takes: the users whom an experiment met, and what they did since.

    Who did nothing counts with 0. Where outcomes have a `timestamp`, what a user did before they
    first met the experiment counts as nothing; what others did is left out.

    Args:
        exposures: as `read_exposures` gives them.
        name: of an experiment or of a roll-out.
        outcomes: `user_id`, the metrics, and perhaps `timestamp` and a covariate.
        columns: those of the metrics.

    Raises:
        ValueError: the log has nobody in the experiment, outcomes lack a column, or their ids are
            of another kind.

    Example:
        >>> seen = pd.DataFrame({"user_id": ["a"], "time": [9], "experiment": "e", "arm": "x"})
        >>> did = pd.DataFrame({"user_id": ["a", "a"], "timestamp": [5, 12], "clicks": [3, 4]})
        >>> with_outcomes(seen, "e", did, ["clicks"])["clicks"].tolist()
        [nan, nan, 4.0]
    """
    if name == HOLDOUT:
        raise ValueError(
            "a server's log does not name users in no experiment, whom those held out are compared "
            "with: give a table of all users, without --outcomes"
        )
    own = exposures[exposures["experiment"] == name]
    if own.empty:
        known = ", ".join(sorted(exposures["experiment"].unique()))
        raise ValueError(f"the server's log has nobody in {name}; it has: {known}")
    if absent := [each for each in ("user_id", *columns) if each not in outcomes]:
        raise ValueError(
            f"the outcomes have no column {', '.join(absent)}; they have "
            f"{', '.join(map(str, outcomes))}"
        )
    users = _alike(raw_ids(outcomes["user_id"], "user_id"), own["user_id"].to_numpy())
    told = outcomes.drop(columns=["arm", "experiment"], errors="ignore").assign(user_id=users)
    first = own.groupby("user_id")["time"].min()
    told = told[told["user_id"].isin(first.index)].reset_index(drop=True)
    if "timestamp" in told and len(told):
        seconds, _ = to_seconds(told["timestamp"])
        since = np.floor(told["user_id"].map(first).to_numpy())  # of the same second: perhaps after
        told[[*columns]] = told[[*columns]].where((seconds >= since)[:, None])
    return pd.concat([own[["user_id", "arm"]].drop_duplicates(), told], ignore_index=True)


def _files(path) -> Iterator[Path]:
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    yield from files


def _arms(path) -> Iterator[tuple[Any, str, str, str]]:
    """The users, times, experiments and arms in a log."""
    reading = gzip.open if path.suffix == ".gz" else open
    with reading(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if MARK not in line:
                continue
            try:
                entry = json.loads(line)
                for each in entry.get("experiments") or ():
                    yield entry["user_id"], entry["time"], each["experiment"], each["arm"]
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}, line {number}, is damaged: {error}") from error


def _alike(users, known):
    """Ids of the kind that a server knows: of a file where all are digits, as text."""
    if kind_of(users) == kind_of(known):
        return users
    if kind_of(known) == "int64":
        raise ValueError(
            f"the outcomes' user_id are strings, such as {users[0]!r}, and the server's integers"
        )
    return strings(pd.Series(users)).to_numpy(object)
