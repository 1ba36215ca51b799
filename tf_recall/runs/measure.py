"""How a run measures whatever recommends: the config's cases and list lengths."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

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


@dataclass(frozen=True)
class CaseBlocks:
    """The cases of a held-out part, made anew for some users after the others.

    Args:
        part: the held-out interactions.
        make: cases of some of them.
    """

    part: Interactions
    make: Callable[[Interactions], Cases]

    def __iter__(self) -> Iterator[Cases]:
        return map(self.make, user_blocks(self.part))


def in_blocks(part: Interactions, make: Callable[[Interactions], Cases]) -> Cases | CaseBlocks:
    """The cases of a held-out part: at once, or where a log on disk has many users in blocks."""
    if isinstance(part, StoredInteractions) and numbered(part.frame["user_id"])[1] > USERS:
        return CaseBlocks(part, make)
    return make(next(user_blocks(part)))


def blocks_of(
    settings: Evaluate, part: Interactions, catalog: Catalog, earlier: Interactions | None = None
) -> Cases | Iterable[Cases]:
    """As `cases_of`, in blocks of users where a log on disk has many; arguments as `measure`."""
    make = CASES[settings.cases]
    part = asked(settings, part)
    return in_blocks(part, lambda block: make(block, catalog, earlier=earlier))


def user_blocks(part: Interactions) -> Iterator[Interactions]:
    """A held-out part, or of a log on disk the events of some users after the others, in memory."""
    if not isinstance(part, StoredInteractions):
        yield part
        return
    numbers, num_users = numbered(part.frame["user_id"])
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=num_users))
    firsts = range(0, num_users, USERS)
    cuts = [0, *(ends[min(first + USERS, num_users) - 1] for first in firsts)]
    for begin, end in pairwise(cuts):
        frame = part.frame.iloc[np.sort(order[begin:end])]
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
    cases = blocks_of(settings, part, recommender.catalog, earlier)
    return evaluate(recommender, cases, recommender.catalog, settings.ks, settings.exclude_seen)


def ranking_names() -> list[str]:
    """The names of the ranking metrics, without their k: higher is better for each."""
    none = np.zeros(0, int)
    return [name.partition("@")[0] for name in ranking_metrics(none, none, np.ones(1, int), [1])]
