"""Asking a recommender the cases of an evaluation: ranks, or lists and the hits in them."""

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.hits import check_lists, drop_repeats, find_hits
from tf_recall.recommend.base import Recommender


class Asker:
    """Asks a recommender the cases, batch by batch, for one item more than k.

    So ties that go on outside the list are seen.

    Args:
        name: what the recommender is called in an error.
        recommender: any that answers users; of a case it is given what it takes (`Cases.request`).
        cases: what is asked.
        catalog: of the training part.
        k: the length of the lists.
        exclude_seen: leave out what the user interacted with in training.

    Raises:
        ValueError: the recommender or the cases are of another catalog; a `k_max` that is not above
            k, where the catalog is larger.
    """

    def __init__(
        self,
        name: str,
        recommender: Recommender,
        cases: Cases,
        catalog: Catalog,
        k: int,
        exclude_seen: bool,
    ):
        check_same(f"{name!r}", recommender.identity, catalog.identity)
        check_same("the cases", cases.identity, catalog.identity)
        self._name = name
        self._recommender = recommender
        self._cases = cases
        self._catalog = catalog
        self._num_items = catalog.num_items
        self._width = min(k + 1, self._num_items)
        self._limit = min(recommender.k_max, self._num_items)
        if self._width > self._limit:
            raise ValueError(
                f"k {k} asks for lists of {self._width}, one more to see ties; the k_max of "
                f"{name!r} is {self._limit}. Build it with a larger one, or lower k."
            )
        self._complete = self._width == self._num_items
        self._exclude_seen = exclude_seen

    def batches(self, size: int, of: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Numbers of cases, of all or of some, so many at a time, with a bar of progress."""
        of = np.arange(len(self._cases)) if of is None else of
        starts = range(0, len(of), size)
        title = f"evaluating {self._name}"
        for start in tqdm(starts, title, unit="batch", delay=3, leave=False):
            yield of[start : start + size]

    def lists(self, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lists of some cases: item rows and scores `[B, k + 1]`, padded with 0 and -inf.

        Each item stands once; where a list repeats items, longer lists are asked for.

        Raises:
            ValueError: malformed lists.
        """
        request = self._request(cases)
        asked = self._width
        while True:
            rows, scores = self._recommender.recommend_rows(k=asked, **request)
            check_lists(rows, scores, (len(cases), asked), self._num_items)
            rows, scores = drop_repeats(np.where(scores > -np.inf, rows, 0), scores)
            enough = (rows[:, self._width - 1] > 0) | (scores[:, -1] == -np.inf)
            if enough.all() or asked == self._limit:
                return rows[:, : self._width], scores[:, : self._width]
            asked = min(2 * asked, self._limit)

    def hits(
        self, cases: np.ndarray, rows: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The relevant items found in the lists of some cases.

        Returns:
            pair `[H]`, positions in `cases.rows`, and rank `[H]`, from 0.
        """
        pairs, line = self._cases.pairs_of(cases)
        offsets = np.searchsorted(line, np.arange(len(cases) + 1))
        pair, rank = find_hits(rows, scores, offsets, self._cases.rows[pairs], self._complete)
        return pairs[pair], rank

    def ranked(self, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """The hits in the lists of all cases; lists are made only where ranks cannot be counted.

        Where others score nearly as a relevant item does, the list decides too: so the figures are
        those of the lists, whatever the rounding.

        Returns:
            pair and rank, as `hits`, by case, then rank.
        """
        found = []
        if self._recommender.counts_ranks:
            counted = [self._counted(cases) for cases in self.batches(batch_size)]
            pair, rank, unsure = (np.concatenate(part) for part in zip(*counted, strict=True))
            found.append((pair, rank))
            batches, ask = self.batches(batch_size, unsure), self._once
        else:
            batches, ask = self.batches(batch_size), self.lists
        for cases in batches:
            found.append(self.hits(cases, *ask(cases)))
        pair, rank = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort([rank, self._cases.owner[pair]])
        return pair[order], rank[order]

    def _counted(self, cases):
        """The hits of some cases, pairs and ranks, and the cases whose lists must decide."""
        pairs, line = self._cases.pairs_of(cases)
        most = self._num_items if self._complete else self._width - 1
        rows = self._cases.rows[pairs]
        above, near = self._recommender.answer_ranks(self._parsed(cases), line, rows, most)
        unsure = np.unique(line[near != 0])
        sure = (above < most) & ~np.isin(line, unsure)
        return pairs[sure], above[sure], cases[unsure]

    def _once(self, cases):
        """The lists of some cases, of a recommender that names each item once."""
        rows, scores = self._recommender.answer_once(self._parsed(cases), self._width)
        check_lists(rows, scores, (len(cases), self._width), self._num_items)
        return rows, scores

    def _parsed(self, cases):
        return self._recommender.request_for_users(**self._request(cases))

    def _request(self, cases):
        return self._cases.request(cases, self._recommender, self._catalog, self._exclude_seen)
