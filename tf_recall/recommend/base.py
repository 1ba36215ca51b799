"""The contract of everything that recommends: what it answers, and what it declares of itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.recommend.id_lists import row_ids
from tf_recall.recommend.request import Request, check_k, check_num


class Recommender:
    """Recommends items: to users, or similar to items, or both.

    All recommenders have the same five methods with the same arguments. Their attributes declare
    what they take and answer, so that no caller has to try; what a recommender does not do is
    refused by name. An evaluation, a merge, a server or a file of lists needs to know nothing else.

    A subclass writes `_recommend(request, k)` over a parsed `Request`, `_similar(request, k)` where
    it answers items, `_explain(request, item, num)` where it explains, and
    `_ranks(request, line, item, most)` where it scores every item. The first two give item rows
    `[B, k]`, 0 where no item is left, and scores `[B, k]`, -inf there.

    A merge has one parsed request, of which each channel gets what it takes: it asks by
    `answer_rows` and `answer_reasons`.

    Attributes:
        catalog: the catalog whose rows it answers with. None: there is none, as for a loaded export
            without its model, and for lists of raw ids, which then refuse `recommend_rows`.
        k_max: the most items in one answer.
        id_types: "string" or "int64" by `user_id` and `item_id`.
        query_columns: the features that a request for users may bring, by column.
        item_columns: the features that a request for items may bring.
        filters: those of `exclude`, `allow` and `exclude_seen` that it takes.
        takes_history: whether a request may bring the items that a user interacted with.
        history_length: how many of them it looks at, the latest; None: all.
        answers_users: whether it has `recommend`.
        answers_items: whether it has `similar`.
        explains: whether it has `explain`.
        counts_ranks: whether it has `answer_ranks`: it scores every item, so that an evaluation
            need not ask for lists.
        sources: the names of the recommenders that it merges; empty where it merges none.
        export: the digest of the export that it was loaded from; None where it was not.

    Example:
        >>> item_id, score = service.recommend(["u17", "u4"], k=10, exclude_seen=True)
        >>> item_id, score = service.similar(["i3"], k=10)
        >>> reasons = service.explain("u17", item_id[0, 0])
    """

    catalog: Catalog | None = None
    query_columns: dict[str, tf.TensorSpec] = {}
    item_columns: dict[str, tf.TensorSpec] = {}
    filters: tuple[str, ...] = ("exclude", "allow", "exclude_seen")
    takes_history: bool = False
    history_length: int | None = None
    answers_users: bool = True
    answers_items: bool = False
    explains: bool = False
    counts_ranks: bool = False
    sources: tuple[str, ...] = ()
    export: str | None = None

    @property
    def identity(self) -> dict[str, str] | None:
        """The `identity` of the catalog whose rows it answers with; None where it has none."""
        return None if self.catalog is None else self.catalog.identity

    @property
    def k_max(self) -> int:
        return self.catalog.num_items

    @property
    def id_types(self) -> dict[str, str]:
        return {"user_id": self.catalog.users.dtype, "item_id": self.catalog.items.dtype}

    def recommend(
        self,
        user_id: Any,
        k: int = 10,
        *,
        exclude: Any = None,
        allow: Any = None,
        exclude_seen: bool | Sequence[bool] | np.ndarray = False,
        history: Any = None,
        **context,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for each user, as raw ids.

        `recommend/arrays.py` lists the forms that arguments may have. Which of their ids are
        unknown, `request_for_users(...).unknown()` tells.

        Args:
            user_id: raw ids `[B]`, or one. Of an unknown user nothing is known but what the request
                brings.
            k: how many, up to `k_max`.
            exclude: items to leave out: a list per user, or one list for all. Unknown ids are
                ignored.
            allow: the only items to choose among, in the same form. An empty list restricts
                nothing; a list of unknown ids alone leaves nothing.
            exclude_seen: leave out what the user interacted with in training, and the history
                given; one bool, or one per user.
            history: the items that a user interacted with, in the same form; they stand for what is
                stored of the user. Unknown ids are ignored.
            **context: raw values `[B]` by column of `query_columns`, or one for all. They override
                what is stored of a known user.

        Returns:
            item_id `[B, k]` and score `[B, k]` float32, falling. Where fewer than k items remain,
            the row ends in `""` (or -1) with score -inf.

        Raises:
            ValueError: k beyond `k_max`, an argument that the recommender does not take, lengths
                that differ, a recommender that answers items alone, scores that are NaN.
            TypeError: integer ids where strings were trained on, or the reverse; an argument of
                another form.
        """
        given = {"exclude": exclude, "allow": allow, "history": history, **context}
        items, score = self._checked(
            self.request_for_users(user_id, exclude_seen=exclude_seen, **given), k
        )
        return self._as_ids(items), score

    def recommend_rows(
        self,
        user_id: Any,
        k: int = 10,
        *,
        exclude: Any = None,
        allow: Any = None,
        exclude_seen: bool | Sequence[bool] | np.ndarray = False,
        history: Any = None,
        **context,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend`, in item rows of the catalog instead of raw ids.

        Returns:
            item rows int32 `[B, k]`, 0 where there is no item, and scores `[B, k]`.

        Raises:
            ValueError: as `recommend`; a recommender without a catalog.
        """
        given = {"exclude": exclude, "allow": allow, "history": history, **context}
        return self.answer_rows(
            self.request_for_users(user_id, exclude_seen=exclude_seen, **given), k
        )

    def recommend_sources(
        self, user_id: Any, k: int = 10, **request
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `recommend`, and which of the `sources` had each item.

        Args:
            user_id, k, **request: as for `recommend`.

        Returns:
            item_id `[B, k]`, score `[B, k]`, and int32 `[B, k, number of sources]`: the item's rank
            in the list of each source, from 1; 0 where the source did not have it.
        """
        parsed = self.request_for_users(user_id, **request)
        check_k(k, self.k_max)
        items, score, ranks = self._ranked(parsed, k)
        _check_scores(score)
        return self._as_ids(items), score, ranks

    def similar(
        self, item_id: Any, k: int = 10, *, exclude: Any = None, allow: Any = None, **context
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k items most similar to each item, as raw ids: never the item itself.

        Args:
            item_id: raw ids `[B]`, or one. Of an unknown item nothing is known but the features
                given; without any it has an empty row, and where all items are such they are
                refused.
            k, exclude, allow: as for `recommend`.
            **context: raw values `[B]` by column of `item_columns`, or one for all. They override
                what is stored of a known item.

        Returns: as `recommend`.

        Raises:
            ValueError: as `recommend`; all items are unknown, and the request brings no feature.
            TypeError: as `recommend`.
        """
        request = self.request_for_items(item_id, exclude=exclude, allow=allow, **context)
        items, score = self.answer_similar(request, k)
        self._refuse_unknown(request, score)
        return items, score

    def explain(
        self,
        user_id: Any,
        item_id: Any,
        num: int = 3,
        *,
        exclude: Any = None,
        allow: Any = None,
        exclude_seen: bool | Sequence[bool] | np.ndarray = False,
        history: Any = None,
        **context,
    ) -> list[dict]:
        """Why a user is recommended an item.

        Args:
            user_id, item_id: a raw id each.
            num: how many reasons, at most.
            exclude, allow, exclude_seen, history, **context: those of the request that is
                explained.

        Returns:
            `[{"kind": "item", "id": "tea", "share": 0.7}, ...]`, falling: the kind of reason, what
            it is, and its share of the whole score. Where a user has several vectors, shares are
            those of the items in the vector that answered, and `"interest"` is its number. Of a
            merge `[{"channel": name, "rank": 2, "reasons": [...]}, ...]`. Empty where nothing
            speaks for the item.

        Raises:
            ValueError: an unknown item, a num below 1, a recommender that does not explain.
            TypeError: as `recommend`.
        """
        self._refuse_unless(self.explains, "without explanations")
        given = {"exclude": exclude, "allow": allow, "history": history, **context}
        request = self.request_for_users([user_id], exclude_seen=exclude_seen, **given)
        item = row_ids("item_id", [item_id], tf.as_dtype(self.id_types["item_id"]))[0]
        return self.answer_reasons(request, self.catalog.known_item(item), num)

    def request_for_users(
        self, user_id: Any, *, exclude_seen: bool | Sequence[bool] | np.ndarray = False, **given
    ) -> Request:
        """The arguments of `recommend`, parsed and checked."""
        self._refuse_unless(self.answers_users, "items, not users")
        asked = None if exclude_seen is False else exclude_seen
        return Request.parse(self, "user_id", user_id, {"exclude_seen": asked, **given})

    def request_for_items(self, item_id: Any, **given) -> Request:
        """The arguments of `similar`, parsed and checked."""
        self._refuse_unless(self.answers_items, "users, not items")
        return Request.parse(self, "item_id", item_id, given)

    def knows(self, key: str, ids: np.ndarray) -> np.ndarray | None:
        """Which users or items the recommender knows.

        Args:
            key: "user_id" or "item_id".
            ids: raw ids `[n]`.

        Returns:
            bool `[n]`; None where it cannot tell, as of users where an export lacks its model.
        """
        if self.catalog is None:
            return None
        side = self.catalog.users if key == "user_id" else self.catalog.items
        return side.encode(ids) > 0

    def answer_rows(self, request: Request, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`recommend_rows` of a parsed request: what a merge asks of its channels."""
        items, score = self._checked(request, k)
        return self._as_rows(items), score

    def answer_similar(self, request: Request, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`similar` of a parsed request, in which rows of unknown items are empty."""
        check_k(k, self.k_max)
        items, score = self._similar(request, k)
        _check_scores(score)
        return self._as_ids(items), score

    def answer_once(self, request: Request, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`answer_rows`, of rows that are asked once: nothing is prepared to be fast later."""
        check_k(k, self.k_max)
        items, score = self._once(request, k)
        _check_scores(score)
        return self._as_rows(items), score

    def answer_ranks(
        self, request: Request, line: np.ndarray, item: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far down some items stand in the lists of a parsed request, without the lists.

        Args:
            request: of users; without `allow`.
            line, item: `[P]` distinct pairs, positions in the request, rising, and item rows.
            most: a rank from which on it does not matter.

        Returns:
            above `[P]`: how many items score above it; `most` or more where that many do, or where
            it is not recommended. near `[P]`: not 0 where others score so nearly the same that only
            the list can tell, 0 where `above` is the rank.

        Raises:
            ValueError: a recommender that answers with lists alone; a request with `allow`.
        """
        self._refuse_unless(self.counts_ranks, "with lists, and counts no ranks")
        if request.restricted.any():
            raise ValueError("ranks are counted among all items; the request has an allow list")
        return self._ranks(request, line, item, most)

    def answer_reasons(self, request: Request, item: int, num: int) -> list[dict]:
        """`explain` of a parsed request of one user and of an item's row.

        Empty where the recommender does not explain.
        """
        check_num(num)
        return self._explain(request, item, num) if self.explains else []

    def inputs_of(self, key: str) -> dict[str, tf.TensorSpec]:
        """What a request may hold, by name: of one by "user_id", or by "item_id"."""
        items = tf.TensorSpec([None, None], tf.as_dtype(self.id_types["item_id"]))
        inputs = {key: tf.TensorSpec([None], tf.as_dtype(self.id_types[key]))}
        inputs |= self.query_columns if key == "user_id" else self.item_columns
        inputs |= {name: items for name in ("exclude", "allow") if name in self.filters}
        if key == "user_id" and "exclude_seen" in self.filters:
            inputs["exclude_seen"] = tf.TensorSpec([None], tf.bool)
        if key == "user_id" and self.takes_history:
            inputs["history"] = items
        return inputs

    def _recommend(self, request: Request, k: int) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def _once(self, request: Request, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._recommend(request, k)

    def _similar(self, request: Request, k: int) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def _explain(self, request: Request, item: int, num: int) -> list[dict]:
        raise NotImplementedError

    def _ranks(
        self, request: Request, line: np.ndarray, item: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def _ranked(self, request, k):
        """`_recommend`, and the items' ranks in the lists of the sources."""
        items, score = self._recommend(request, k)
        return items, score, np.zeros((*score.shape, 0), np.int32)

    def _as_ids(self, items: np.ndarray) -> np.ndarray:
        """What `_recommend` and `_similar` give, as raw ids."""
        return self.catalog.items.decode(items)

    def _as_rows(self, items: np.ndarray) -> np.ndarray:
        """What `_recommend` gives, as rows of the catalog."""
        return items

    def _checked(self, request, k):
        check_k(k, self.k_max)
        items, score = self._recommend(request, k)
        _check_scores(score)
        return items, score

    def _refuse_unknown(self, request, score):
        """Refuses a request of items of none of which anything is known."""
        if not len(request) or (score[:, 0] > -np.inf).any() or request.described.any():
            return
        known = self.knows("item_id", request.ids)
        if known is not None and not known.any():
            some = ", ".join(map(repr, dict.fromkeys(request.ids[:3].tolist())))
            raise ValueError(f"item {some} is unknown, and the request brings no feature of it")

    def _refuse_unless(self, does: bool, what: str) -> None:
        if not does:
            raise ValueError(f"{type(self).__name__} answers {what}")


def _check_scores(score):
    """Refuses NaN, in whose order nothing can be said of items."""
    if np.isnan(score).any():
        raise ValueError(
            "the scores are NaN: the model has diverged, or a feature of the request is NaN"
        )
