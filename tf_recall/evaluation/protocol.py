"""The protocol of evaluation: every case asked over the whole catalog, beside popularity."""

import numbers
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import offsets_of
from tf_recall.evaluation.asking import Asker
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.metrics import list_metrics, ranking_metrics
from tf_recall.evaluation.report import Report
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

Hits = tuple[np.ndarray, np.ndarray]  # pairs and their ranks, by case, then rank

NONE: Hits = (np.zeros(0, np.int64), np.zeros(0, np.int64))
COLD_USER = 5  # a user with fewer training interactions is cold


def evaluate(
    recommender: Recommender,
    cases: Cases | Iterable[Cases],
    catalog: Catalog,
    ks: Sequence[int] = (10, 20, 100),
    exclude_seen: bool = True,
    batch_size: int = 1024,
    lists: bool = True,
) -> Report:
    """Evaluates a recommender over the whole catalog, beside popularity on the same cases.

    Ties never count as hits and an item counts once in a list, however often it is repeated
    (`hits.find_hits`). To see ties that go on outside, the recommender is asked for one item more
    than the largest k. It is asked by `recommend_rows`, so that what is served is what is
    evaluated.

    Coverage and the like need the lists. Without them a recommender that scores every item
    (`counts_ranks`) is asked for none: how many items score above a held-out one is its rank. The
    figures are the same, several times sooner.

    Args:
        recommender: any that answers users in the catalog's rows; of a case's context it is given
            its `query_columns`.
        cases: from `cases_by_user` or `cases_by_row`; or blocks of them, made as they are asked, of
            which no more is kept than what was found.
        catalog: fitted on the training part; its counts define the slices.
        ks: cut-offs of the metrics; one beyond the catalog means the whole catalog, and its figures
            keep the name that it gives them.
        exclude_seen: leave items of the user's training part out of the lists, and out of the
            relevant items.
        batch_size: queries asked at once.
        lists: measure what the lists recommend too, right or wrong: `coverage`, `popularity_lift`
            and `gini`.

    Raises:
        ValueError: no cases, or none left without the seen items; no k, or one that is no whole
            number of at least 1, or not below the recommender's `k_max`; malformed lists.

    Example:
        >>> report = evaluate(service, cases_by_user(split.test, catalog), catalog, ks=(20, 100))
        >>> report.metrics["recall@20"], report.baseline["recall@20"]
    """
    cut = _cut(ks, catalog.num_items)
    ks = sorted(set(cut.values()))
    models = {"model": recommender, "popularity": Popularity().fit(None, catalog)}

    def ask(asker):
        if lists:
            return _ask(asker, catalog.num_items, ks, batch_size)
        return asker.ranked(batch_size), np.zeros((len(ks), 1), np.int64)

    blocks = [
        _judged(each, models, ask, catalog, ks[-1], exclude_seen)
        for each in ([cases] if isinstance(cases, Cases) else cases)
    ]
    asked, found, recommended, parts, counts = _joined(blocks)
    _check_left(counts[0], len(asked))
    metrics = {}
    every = np.ones(len(asked.rows), bool)
    for name in models:
        figures = _ranking(asked, found[name], every, asked.num_unknown, ks)
        if lists:
            figures |= list_metrics(recommended[name], catalog.items.counts, asked.rows, ks)
        metrics[name] = _named(figures, cut)
    slices = {}
    for name, (pairs, num_unknown) in parts.items():
        num_relevant = _num_relevant(asked, pairs, num_unknown)
        model, baseline = (
            _named(_ranking(asked, hits, pairs, num_unknown, ks), cut) for hits in found.values()
        )
        slices[name] = {
            "cases": int(np.count_nonzero(num_relevant)),
            "pairs": int(num_relevant.sum()),
        }
        slices[name] |= {"metrics": model, "baseline": baseline}
    return Report(
        metrics["model"], metrics["popularity"], slices, _counts(counts, asked, catalog.num_items)
    )


class RankMetrics:
    """The ranking metrics of a recommender that is measured again and again, as after each epoch.

    The figures of `evaluate`, without popularity, slices and, where ranks are counted, lists.

    Args:
        recommender, cases, catalog, ks, exclude_seen, batch_size: as for `evaluate`; what the
            recommender answers may change, what it takes may not, and blocks of cases are gone
            through each time.

    Raises:
        ValueError: as `evaluate`.

    Example:
        >>> cases = cases_by_user(split.test, catalog)
        >>> ranking = RankMetrics(service, cases, catalog, ks=[20])
        >>> ranking.metrics()["ndcg@20"]
    """

    def __init__(
        self,
        recommender: Recommender,
        cases: Cases | Iterable[Cases],
        catalog: Catalog,
        ks: Sequence[int] = (10, 20, 100),
        exclude_seen: bool = True,
        batch_size: int = 4096,
    ):
        self._cut = _cut(ks, catalog.num_items)
        self._ks = sorted(set(self._cut.values()))
        self._recommender, self._catalog = recommender, catalog
        self._exclude_seen, self._batch_size = exclude_seen, batch_size
        self._in_memory = isinstance(cases, Cases)
        if self._in_memory:
            self._blocks = [_left(cases, catalog, exclude_seen)]
            _check_left(len(cases), len(self._blocks[0]))
        else:
            self._blocks = cases
            check_left(cases, catalog, exclude_seen)

    def metrics(self) -> dict[str, float]:
        """`{"recall@20": 0.21, ...}`, of the recommender as it is now."""
        pairs, found = zip(*map(self._ranked, self._blocks), strict=True)
        asked, hits = _one(pairs, found)
        every = np.ones(len(asked.rows), bool)
        figures = _ranking(asked, hits["model"], every, asked.num_unknown, self._ks)
        return _named(figures, self._cut)

    def _ranked(self, asked):
        """The pairs of a block of cases, and the hits."""
        if not self._in_memory:
            asked = _left(asked, self._catalog, self._exclude_seen)
        if not len(asked):
            return _pairs(asked), {"model": NONE}
        name, given = type(self._recommender).__name__, (asked, self._catalog, self._ks[-1])
        asker = Asker(name, self._recommender, *given, self._exclude_seen)
        return _pairs(asked), {"model": asker.ranked(self._batch_size)}


def any_left(cases: Cases | Iterable[Cases], catalog: Catalog, exclude_seen: bool) -> bool:
    """Whether cases leave something to find; of blocks it makes no more than it must."""
    blocks = [cases] if isinstance(cases, Cases) else cases
    return any(len(_left(each, catalog, exclude_seen)) for each in blocks)


def check_left(cases: Cases | Iterable[Cases], catalog: Catalog, exclude_seen: bool) -> None:
    """Refuses cases that leave nothing to find.

    Raises:
        ValueError: there are none, or with `exclude_seen` none is left.
    """
    if not any_left(cases, catalog, exclude_seen):
        _check_left(any_left(cases, catalog, exclude_seen=False), False)


def _left(cases, catalog, exclude_seen):
    """The cases that are asked: with `exclude_seen`, without the items that users have seen."""
    return cases.without_seen(catalog) if exclude_seen and len(cases) else cases


def _check_left(num_cases, num_left):
    if not num_cases:
        raise ValueError("there are no cases to evaluate. Hold out more in the split.")
    if not num_left:
        raise ValueError(
            "every held-out item is in its user's training part already, so nothing is left to "
            "find. Split so that they are disjoint, or evaluate with exclude_seen=False."
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


def _ask(asker: Asker, num_items: int, ks: list[int], batch_size: int) -> tuple[Hits, np.ndarray]:
    """The hits, and how often each item came up in the first k: `[len(ks), V + 1]`."""
    found = []
    recommended = np.zeros((len(ks), num_items + 1), np.int64)
    for cases in asker.batches(batch_size):
        rows, scores = asker.lists(cases)
        found.append(asker.hits(cases, rows, scores))
        for times, low, high in zip(recommended, [0, *ks], ks, strict=False):
            np.add.at(times, rows[:, low:high].ravel(), 1)
    pair, rank = (np.concatenate(part) for part in zip(*found, strict=True))
    return (pair, rank), np.cumsum(recommended, axis=0)


def _num_relevant(cases: Cases, pairs: np.ndarray, num_unknown: np.ndarray) -> np.ndarray:
    return np.bincount(cases.owner[pairs], minlength=len(cases)) + num_unknown


def _ranking(
    cases: Cases, hits: Hits, pairs: np.ndarray, num_unknown: np.ndarray, ks: list[int]
) -> dict[str, float]:
    """The ranking metrics where only some pairs (mask `[num_pairs]`) and some unknown items (`[n]`)
    are relevant.
    """
    pair, rank = hits
    kept = pairs[pair]
    case = cases.owner[pair[kept]]
    return ranking_metrics(case, rank[kept], _num_relevant(cases, pairs, num_unknown), ks)


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


def _judged(
    cases: Cases, models: dict, ask: Callable, catalog: Catalog, k: int, exclude_seen: bool
):
    """What is kept of cases that were asked: their pairs, and by model the hits and how often each
    item was recommended; the slices; and the numbers of cases and pairs with those that were seen.
    """
    asked = _left(cases, catalog, exclude_seen)
    found, recommended = dict.fromkeys(models, NONE), dict.fromkeys(models, 0)
    if len(asked):
        for name, model in models.items():
            asker = Asker(name, model, asked, catalog, k, exclude_seen)
            found[name], recommended[name] = ask(asker)
    counts = np.array([len(cases), len(cases.rows)])
    return _pairs(asked), found, recommended, _slices(asked, catalog), counts


def _pairs(asked):
    """What is kept of cases that were asked."""
    return Cases(asked.num_unknown, {}, asked.offsets, asked.rows, asked.num_unknown)


def _joined(blocks: list[tuple]) -> tuple:
    """What was kept of several blocks of cases, as of one."""
    if len(blocks) == 1:
        return blocks[0]
    pairs, found, recommended, parts, counts = zip(*blocks, strict=True)
    times = {name: sum(each[name] for each in recommended) for name in recommended[0]}
    slices = {
        name: tuple(
            np.concatenate(both) for both in zip(*(each[name] for each in parts), strict=True)
        )
        for name in parts[0]
    }
    return *_one(pairs, found), times, slices, sum(counts)


def _one(pairs: Sequence[Cases], found: Sequence[dict[str, Hits]]) -> tuple[Cases, dict]:
    """The pairs of several blocks of cases and the hits by model, as of one."""
    if len(pairs) == 1:
        return pairs[0], found[0]
    before = np.cumsum([0, *(len(each.rows) for each in pairs)])
    num_unknown = np.concatenate([each.num_unknown for each in pairs])
    lengths = np.concatenate([np.diff(each.offsets) for each in pairs])
    rows = np.concatenate([each.rows for each in pairs])
    asked = Cases(num_unknown, {}, offsets_of(lengths), rows, num_unknown)
    hits = {
        name: (
            np.concatenate([each[name][0] + at for each, at in zip(found, before, strict=False)]),
            np.concatenate([each[name][1] for each in found]),
        )
        for name in found[0]
    }
    return asked, hits


def _counts(counts: np.ndarray, asked: Cases, num_items: int) -> dict[str, int | float]:
    unreachable = int(asked.num_unknown.sum())
    pairs = len(asked.rows) + unreachable
    return {
        "cases": len(asked),
        "pairs": pairs,
        "unreachable": unreachable,
        "unreachable_share": unreachable / pairs,
        "seen_pairs": int(counts[1]) - len(asked.rows),
        "seen_cases": int(counts[0]) - len(asked),
        "items": num_items,
    }
