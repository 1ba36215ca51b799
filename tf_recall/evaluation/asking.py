"""Asking a recommender the cases of an evaluation: distinct lists, and the hits in them."""

import numpy as np

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
        self._exclude_seen = exclude_seen

    def lists(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The lists of some cases: item rows and scores `[B, k + 1]`, padded with 0 and -inf.

        Each item stands once; where a list repeats items, longer lists are asked for.

        Raises:
            ValueError: malformed lists.
        """
        batch = slice(start, start + count)
        request = self._cases.request(batch, self._recommender, self._catalog, self._exclude_seen)
        asked = self._width
        while True:
            rows, scores = self._recommender.recommend_rows(k=asked, **request)
            check_lists(rows, scores, (len(request["user_id"]), asked), self._num_items)
            rows, scores = drop_repeats(np.where(scores > -np.inf, rows, 0), scores)
            enough = (rows[:, self._width - 1] > 0) | (scores[:, -1] == -np.inf)
            if enough.all() or asked == self._limit:
                return rows[:, : self._width], scores[:, : self._width]
            asked = min(2 * asked, self._limit)

    def hits(
        self, start: int, rows: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The relevant items found in the lists of the cases from `start` on.

        Returns:
            pair `[H]`, positions in `cases.rows`, and rank `[H]`, from 0.
        """
        offsets = self._cases.offsets[start : start + len(rows) + 1]
        relevant = self._cases.rows[offsets[0] : offsets[-1]]
        complete = self._width == self._num_items
        pair, rank = find_hits(rows, scores, offsets - offsets[0], relevant, complete)
        return pair + offsets[0], rank
