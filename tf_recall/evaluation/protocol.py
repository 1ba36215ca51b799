"""The protocol: ask a recommender every case over the whole catalog, and popularity the same."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tf_recall.data.catalog import Catalog
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.hits import check_lists, drop_repeats, find_hits
from tf_recall.evaluation.metrics import list_metrics, ranking_metrics
from tf_recall.evaluation.report import Report
from tf_recall.recommend.rankings import Popularity

COLD_USER = 5  # a user with fewer training interactions is cold


def evaluate(
    recommender,
    cases: Cases,
    catalog: Catalog,
    ks: Sequence[int] = (10, 20, 100),
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> Report:
    """Exact figures over the whole catalog, beside popularity's on the same cases.

    Ties never count as hits and an item counts once in a list, however often it stands there
    (`hits.find_hits`). To see ties that go on outside, the recommender is asked for one entry more
    than the largest k.

    Args:
        recommender: has `recommend_rows(user_id, k, exclude_seen=..., **context) -> (rows [B, k],
            scores [B, k])`, best first, padded with row 0 and score -inf, so that what is served is
            what is evaluated. Where it has `query_columns` it is given only the context named
            there.
        cases: from `cases_by_user` or `cases_by_row`.
        catalog: fitted on the training part; its counts define the slices.
        ks: cut-offs of the metrics.
        exclude_seen: leave items of the user's training part out of the lists, and out of the
            relevant items.
        batch_size: queries asked at once.

    Raises:
        ValueError: no cases, or none left without the seen items; a k below 1, beyond the catalog,
            or too large for the recommender's `k_max`, where it has one; malformed lists.

    Example:
        >>> report = evaluate(service, cases_by_user(split.test, catalog), catalog, ks=(20, 100))
        >>> report.metrics["recall@20"], report.baseline["recall@20"]
    """
    ks = sorted(set(ks))
    if not ks or ks[0] < 1 or ks[-1] > catalog.num_items:
        raise ValueError(
            f"ks are {ks}; each k must lie between 1 and the {catalog.num_items} items of the "
            "catalog"
        )
    if not len(cases):
        raise ValueError("there are no cases to evaluate. Hold out more in the split.")
    asked = cases.without_seen(catalog) if exclude_seen else cases
    if not len(asked):
        raise ValueError(
            "every held-out item is in its user's training part already, so nothing is left to "
            "find. "
            "Split so that they are disjoint, or evaluate with exclude_seen=False."
        )
    found = {
        name: _ask(name, model, asked, catalog, ks, exclude_seen, batch_size)
        for name, model in (("model", recommender), ("popularity", Popularity().fit(None, catalog)))
    }
    metrics, slices = {}, {}
    every = np.ones(len(asked.rows), bool)
    for name, lists in found.items():
        metrics[name] = _ranking(asked, lists, every, asked.num_unknown, ks)
        metrics[name] |= list_metrics(lists.recommended, catalog.items.counts, asked.rows, ks)
    for name, (pairs, num_unknown) in _slices(asked, catalog).items():
        num_relevant = _num_relevant(asked, pairs, num_unknown)
        model, baseline = (
            _ranking(asked, lists, pairs, num_unknown, ks) for lists in found.values()
        )
        slices[name] = {
            "cases": int(np.count_nonzero(num_relevant)),
            "pairs": int(num_relevant.sum()),
        }
        slices[name] |= {"metrics": model, "baseline": baseline}
    return Report(
        metrics["model"], metrics["popularity"], slices, _counts(cases, asked, catalog.num_items)
    )


class _Lists(NamedTuple):
    """What a recommender answered: pairs found and their ranks, by case, then rank; and how often
    each item came up.
    """

    pair: np.ndarray  # [H]
    rank: np.ndarray  # [H]
    recommended: np.ndarray  # [len(ks), V + 1]


def _ask(
    title: str,
    recommender,
    cases: Cases,
    catalog: Catalog,
    ks: list[int],
    exclude_seen: bool,
    batch_size: int,
) -> _Lists:
    num_items = catalog.num_items
    width, limit = (
        min(ks[-1] + 1, num_items),
        min(getattr(recommender, "k_max", num_items), num_items),
    )
    if width > limit:
        raise ValueError(
            f"ks up to {ks[-1]} ask for lists of {width}, one more to see ties; the recommender's "
            f"k_max is {limit}. "
            "Build it with a larger one, or lower ks."
        )
    pairs, ranks, recommended = [], [], np.zeros((len(ks), num_items + 1), np.int64)
    for start in tqdm(
        range(0, len(cases), batch_size), f"evaluating {title}", unit="batch", delay=3, leave=False
    ):
        batch = slice(start, start + batch_size)
        request = cases.request(batch, recommender, catalog, exclude_seen)
        user_id = request.pop("user_id")
        rows, scores = distinct_lists(recommender, user_id, request, width, limit, num_items)
        offsets = cases.offsets[start : start + len(rows) + 1]
        relevant = cases.rows[offsets[0] : offsets[-1]]
        pair, rank = find_hits(
            rows, scores, offsets - offsets[0], relevant, complete=width == num_items
        )
        pairs.append(pair + offsets[0])
        ranks.append(rank)
        for times, low, high in zip(recommended, [0, *ks], ks, strict=False):
            np.add.at(times, rows[:, low:high].ravel(), 1)
    return _Lists(np.concatenate(pairs), np.concatenate(ranks), np.cumsum(recommended, axis=0))


def distinct_lists(
    recommender, user_id: np.ndarray, request: dict, width: int, limit: int, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores `[B, width]` of distinct items: where a list repeats some, longer lists are
    asked for.
    """
    asked = width
    while True:
        rows, scores = map(np.asarray, recommender.recommend_rows(user_id, asked, **request))
        check_lists(rows, scores, (len(user_id), asked), num_items)
        rows, scores = drop_repeats(np.where(scores > -np.inf, rows, 0), scores)
        enough = (rows[:, width - 1] > 0) | (scores[:, -1] == -np.inf)
        if enough.all() or asked == limit:
            return rows[:, :width], scores[:, :width]
        asked = min(2 * asked, limit)


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
    pairs, unreachable = (
        len(asked.rows) + int(asked.num_unknown.sum()),
        int(asked.num_unknown.sum()),
    )
    return {
        "cases": len(asked),
        "pairs": pairs,
        "unreachable": unreachable,
        "unreachable_share": unreachable / pairs,
        "seen_pairs": len(cases.rows) - len(asked.rows),
        "seen_cases": len(cases) - len(asked),
        "items": num_items,
    }
