"""How a run measures whatever recommends: the config's cases and list lengths."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tf_recall.config import Evaluate
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.stored import StoredInteractions
from tf_recall.data.tables import numbered, of_columns
from tf_recall.evaluation import cases_by_row, cases_by_user, evaluate
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.metrics import ranking_metrics
from tf_recall.evaluation.report import Report
from tf_recall.recommend.base import Recommender

CASES = {"by_user": cases_by_user, "by_row": cases_by_row}
USERS = 20_000  # of a log on disk who are asked, where a config says nothing


def cases_of(
    settings: Evaluate, part: Interactions, catalog: Catalog, earlier: Interactions | None = None
) -> Cases:
    """Makes the cases of a held-out part, as a config's `evaluate` says; arguments as `measure`."""
    return CASES[settings.cases](asked(settings, part), catalog, earlier=earlier)


def user_blocks(part: Interactions) -> Iterator[Interactions]:
    """A held-out part, or of a log on disk the events of some users after the others, in memory."""
    if not isinstance(part, StoredInteractions):
        yield part
        return
    numbers, num_users = numbered(part.frame["user_id"])
    for first in range(0, num_users, USERS):
        lines = np.flatnonzero((numbers >= first) & (numbers < first + USERS))
        frame = part.frame.iloc[lines]
        columns = {name: frame[name].to_numpy() for name in frame}
        yield Interactions(of_columns(columns), part.items, part.users)


def most_asked(settings: Evaluate, part: Interactions) -> int | None:
    """How many users of a held-out part are asked at most; None: all."""
    if settings.users is None and isinstance(part, StoredInteractions):
        return USERS
    return None if settings.users == "all" else settings.users


def asked(settings: Evaluate, part: Interactions) -> Interactions:
    """The events of a held-out part's users who are asked, as a config's `evaluate` says.

    Args:
        settings: how many users are asked.
        part: the held-out interactions.
    """
    most = most_asked(settings, part)
    if most is None:
        return part
    numbers, num_users = numbered(part.frame["user_id"])
    if num_users <= most:
        return part
    users = part.frame["user_id"].drop_duplicates()
    hashes = np.empty(num_users, np.uint64)
    hashes[numbers[users.index]] = pd.util.hash_array(users.to_numpy(), categorize=False)
    among = np.zeros(num_users, bool)
    among[np.argsort(hashes, kind="stable")[:most]] = True
    return part.select(among[numbers])


def measure(
    recommender: Recommender,
    settings: Evaluate,
    part: Interactions,
    earlier: Interactions | None = None,
) -> Report:
    """Measures a recommender on a held-out part, as a config's `evaluate` says.

    Args:
        recommender: whatever recommends, with its catalog.
        settings: cases, list lengths, and whether seen items are filtered out.
        part: the held-out interactions.
        earlier: interactions between the training part and `part`, such as the validation part:
            they are part of the histories, and seen.

    Example:
        >>> report = measure(service, Evaluate(ks=(10,)), split.test, split.validation)
    """
    part = asked(settings, part)
    cases = (
        CASES[settings.cases](block, recommender.catalog, earlier=earlier)
        for block in user_blocks(part)
    )
    return evaluate(recommender, cases, recommender.catalog, settings.ks, settings.exclude_seen)


def ranking_names() -> list[str]:
    """The names of the ranking metrics, without their k: higher is better for each."""
    none = np.zeros(0, int)
    return [name.partition("@")[0] for name in ranking_metrics(none, none, np.ones(1, int), [1])]
