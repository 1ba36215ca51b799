"""The protocol of evaluation: every case asked over the whole catalog, beside popularity."""

import numbers
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tf_recall.data.catalog import Catalog
from tf_recall.evaluation.asking import Asker
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.metrics import list_metrics, ranking_metrics
from tf_recall.evaluation.report import Report
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

COLD_USER = 5  # a user with fewer training interactions is cold


def evaluate(
    recommender: Recommender,
    cases: Cases,
    catalog: Catalog,
    ks: Sequence[int] = (10, 20, 100),
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> Report:
    """Evaluates a recommender over the whole catalog, beside popularity on the same cases.

    Ties never count as hits and an item counts once in a list, however often it is repeated
    (`hits.find_hits`). To see ties that go on outside, the recommender is asked for one item more
    than the largest k. It is asked by `recommend_rows`, so that what is served is what is
    evaluated.

    Args:
        recommender: any that answers users in the catalog's rows; of a case's context it is given
            its `query_columns`.
        cases: from `cases_by_user` or `cases_by_row`.
        catalog: fitted on the training part; its counts define the slices.
        ks: cut-offs of the metrics; one beyond the catalog means the whole catalog, and its figures
            keep the name that it gives them.
        exclude_seen: leave items of the user's training part out of the lists, and out of the
            relevant items.
        batch_size: queries asked at once.

    Raises:
        ValueError: no cases, or none left without the seen items; no k, or one that is no whole
            number of at least 1, or not below the recommender's `k_max`; malformed lists.

    Example:
        >>> report = evaluate(service, cases_by_user(split.test, catalog), catalog, ks=(20, 100))
        >>> report.metrics["recall@20"], report.baseline["recall@20"]
    """
    cut = _cut(ks, catalog.num_items)
    ks = sorted(set(cut.values()))
    if not len(cases):
        raise ValueError("there are no cases to evaluate. Hold out more in the split.")
    asked = cases.without_seen(catalog) if exclude_seen else cases
    if not len(asked):
        raise ValueError(
            "every held-out item is in its user's training part already, so nothing is left to "
            "find. Split so that they are disjoint, or evaluate with exclude_seen=False."
        )
    models = {"model": recommender, "popularity": Popularity().fit(None, catalog)}
    found = {}
    for name, model in models.items():
        asker = Asker(name, model, asked, catalog, ks[-1], exclude_seen)
        found[name] = _ask(name, asker, asked, catalog.num_items, ks, batch_size)
    metrics, slices = {}, {}
    every = np.ones(len(asked.rows), bool)
    for name, lists in found.items():
        figures = _ranking(asked, lists, every, asked.num_unknown, ks)
        figures |= list_metrics(lists.recommended, catalog.items.counts, asked.rows, ks)
        metrics[name] = _named(figures, cut)
    for name, (pairs, num_unknown) in _slices(asked, catalog).items():
        num_relevant = _num_relevant(asked, pairs, num_unknown)
        model, baseline = (
            _named(_ranking(asked, lists, pairs, num_unknown, ks), cut) for lists in found.values()
        )
        slices[name] = {
            "cases": int(np.count_nonzero(num_relevant)),
            "pairs": int(num_relevant.sum()),
        }
        slices[name] |= {"metrics": model, "baseline": baseline}
    return Report(
        metrics["model"], metrics["popularity"], slices, _counts(cases, asked, catalog.num_items)
    )


def checked_ks(ks: Sequence[int]) -> list[int]:
    """List lengths, rising and each once.

    Raises:
        ValueError: there is none, or one is no whole number of at least 1.
    """
    given = list(ks) if isinstance(ks, Iterable) and not isinstance(ks, str) else []
    if not given or not all(map(_is_length, given)):
        raise ValueError(f"ks are {ks!r}; give list lengths, whole numbers of at least 1: [10, 20]")
    return sorted({int(k) for k in given})


def _is_length(k):
    return isinstance(k, numbers.Integral) and not isinstance(k, bool) and k >= 1


def _cut(ks, num_items):
    """The list length that is measured for each k."""
    return {k: min(k, num_items) for k in checked_ks(ks)}


def _named(figures: dict[str, float | None], cut: dict[int, int]) -> dict[str, float | None]:
    """The figures under the ks that were asked for: `{"recall@50": ...}` as `recall@100` too."""
    named = {}
    for k, measured in cut.items():
        for key, value in figures.items():
            name, _, at = key.partition("@")
            if int(at) == measured:
                named[f"{name}@{k}"] = value
    return named


class _Lists(NamedTuple):
    """What a recommender answered: pairs found and their ranks, by case, then rank; and how often
    each item came up.
    """

    pair: np.ndarray  # [H]
    rank: np.ndarray  # [H]
    recommended: np.ndarray  # [len(ks), V + 1]


def _ask(
    title: str, asker: Asker, cases: Cases, num_items: int, ks: list[int], batch_size: int
) -> _Lists:
    pairs, ranks = [], []
    recommended = np.zeros((len(ks), num_items + 1), np.int64)
    for start in tqdm(
        range(0, len(cases), batch_size), f"evaluating {title}", unit="batch", delay=3, leave=False
    ):
        rows, scores = asker.lists(start, batch_size)
        pair, rank = asker.hits(start, rows, scores)
        pairs.append(pair)
        ranks.append(rank)
        for times, low, high in zip(recommended, [0, *ks], ks, strict=False):
            np.add.at(times, rows[:, low:high].ravel(), 1)
    return _Lists(np.concatenate(pairs), np.concatenate(ranks), np.cumsum(recommended, axis=0))


def _num_relevant(cases: Cases, pairs: np.ndarray, num_unknown: np.ndarray) -> np.ndarray:
    return np.bincount(cases.owner[pairs], minlength=len(cases)) + num_unknown


def _ranking(
    cases: Cases, lists: _Lists, pairs: np.ndarray, num_unknown: np.ndarray, ks: list[int]
) -> dict[str, float]:
    """The ranking metrics where only some pairs (mask `[num_pairs]`) and some unknown items (`[n]`)
    are relevant.
    """
    kept = pairs[lists.pair]
    case = cases.owner[lists.pair[kept]]
    return ranking_metrics(case, lists.rank[kept], _num_relevant(cases, pairs, num_unknown), ks)


def _slices(cases: Cases, catalog: Catalog) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each slice as the mask of its pairs and its number of unknown items in each case."""
    counts = catalog.items.counts
    falling = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[falling]) - counts[falling]  # interactions of the more popular items
    head = np.zeros(len(counts), bool)
    head[falling[2 * before < counts.sum()]] = True
    cold_user = catalog.users.counts[catalog.users.encode(cases.user_id)] < COLD_USER
    none = np.zeros_like(cases.num_unknown)
    return {
        "cold_items": (counts[cases.rows] == 0, none),
        "cold_users": (cold_user[cases.owner], cases.num_unknown * cold_user),
        "head_items": (head[cases.rows], none),
        "tail_items": (~head[cases.rows], none),
    }


def _counts(cases: Cases, asked: Cases, num_items: int) -> dict[str, int | float]:
    unreachable = int(asked.num_unknown.sum())
    pairs = len(asked.rows) + unreachable
    return {
        "cases": len(asked),
        "pairs": pairs,
        "unreachable": unreachable,
        "unreachable_share": unreachable / pairs,
        "seen_pairs": len(cases.rows) - len(asked.rows),
        "seen_cases": len(cases) - len(asked),
        "items": num_items,
    }
