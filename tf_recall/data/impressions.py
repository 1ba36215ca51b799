"""Impressions: all that users were shown, of which what they took is the interactions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def before(
    impressions: pd.DataFrame, train: pd.DataFrame, held: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """The impressions that training may know: what was shown before anything that is held out.

        kept: time <= the last time of train, and time < the user's first held-out event

    Whoever has events in the held-out parts alone is left out altogether.

    Args:
        impressions, train: the whole log, and the interactions of the training part.
        held: the interactions of the other parts.

    Raises:
        ValueError: no timestamps: nobody knows which came first.
    """
    tables = [impressions, train, *held]
    if lacking := [table for table in tables if "timestamp" not in table]:
        raise ValueError(
            "impressions need timestamps, to be known before what is held out; there are columns "
            f"{list(lacking[0])}"
        )
    events = pd.concat([table[["user_id", "timestamp"]] for table in held])
    first = events.groupby("user_id")["timestamp"].min().astype(float)
    first[~first.index.isin(train["user_id"])] = -np.inf
    limit = impressions["user_id"].map(first).fillna(np.inf)
    time = impressions["timestamp"]
    kept = (time <= train["timestamp"].max()) & (time < limit)
    return impressions[kept.to_numpy()].reset_index(drop=True)
