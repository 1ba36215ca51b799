"""Several channels behind the interface of one."""

import numpy as np
import pandas as pd

from tf_recall.channels.merge import Merge, Merged, RoundRobin
from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import MISSING
from tf_recall.recommend.request import batch, check_k
from tf_recall.recommend.sparse import Channel, left_out


class MultiChannel:
    """Asks each channel and merges what they say: a recommender as each of them is (METHODS.md C5).

        score(item) = 1 / place(item),   place 1 = the first of the merged list

    Places, and so scores, are strictly distinct; the score tells the order and nothing else. Every
    channel gets the same request, a history where it takes one. Whatever a channel makes of it,
    nothing comes through that is excluded, not allowed or, where that is asked for, seen.

    Whose turn is first depends on the user's id alone. So over all users each channel is the first
    as often as any other, and the same request always gets the same answer, whatever else is in the
    batch.

    Args:
        channels: recommenders by name, trained, loaded or counted, over one catalog.
        catalog: that catalog.
        merge: `RoundRobin()`, `Quotas({...})` or `ReciprocalRank()`.
        depth: how many items each channel is asked for; None: k, all that `RoundRobin` and `Quotas`
            can use: when a channel's turn comes fewer than k items are taken, so one of its first k
                is left. `ReciprocalRank` sees more
            of what channels agree on where lists are longer. No channel is asked for more than the
            catalog holds, or its own `k_max`.

    Raises:
        ValueError: no channels, a merge that names another, a channel over another catalog, a depth
            below 1.

    Example:
        >>> multi = MultiChannel({"item_cf": channel, "two_tower": service}, catalog)
        >>> item_id, score = multi.recommend(["u17"], k=100, exclude_seen=True)
        >>> multi.explain("u17", item_id[0, 0])
        [{'channel': 'item_cf', 'place': 1, 'reasons': [{'kind': 'item', 'id': 'tea', 'share': 0.7},
        ...]}, ...]
    """

    query_columns: dict = {}  # a request brings no features
    takes_history = True
    inputs = Channel.inputs

    def __init__(
        self, channels: dict, catalog: Catalog, merge: Merge | None = None, depth: int | None = None
    ):
        self.channels, self.catalog, self.merge, self.depth = (
            dict(channels),
            catalog,
            merge or RoundRobin(),
            depth,
        )
        self.merge.check(list(self.channels))
        if depth is not None and (not isinstance(depth, int) or depth < 1):
            raise ValueError(f"depth is a whole number of at least 1, or None for k; got {depth!r}")
        for name, channel in self.channels.items():
            size = getattr(channel, "catalog", catalog).num_items
            if size != catalog.num_items:
                raise ValueError(
                    f"the channel {name!r} knows {size} items, the catalog {catalog.num_items}"
                )

    @property
    def id_types(self) -> dict[str, str]:
        """Whether `user_id` and `item_id` are "string" or "int64"."""
        return {"user_id": self.catalog.users.dtype, "item_id": self.catalog.items.dtype}

    def recommend(self, user_id, k=10, exclude=None, allow=None, exclude_seen=False, history=None):
        """The k best items for each user, as raw ids.

        Args:
            user_id, exclude, allow, exclude_seen, history: as for `Channel.recommend`.
            k: how many, up to the size of the catalog.

        Returns:
            item_id `[B, k]` and score `[B, k]` float32, falling. Where the channels have fewer than
            k items, the row ends in `""` (or -1) with score -inf.

        Raises:
            ValueError: k beyond the catalog, lengths that differ.
            TypeError: integer ids where strings were trained on, or the reverse.
        """
        rows, score = self.recommend_rows(user_id, k, exclude_seen, exclude, allow, history)
        return self.catalog.items.decode(rows), score

    def recommend_rows(
        self, user_id, k=10, exclude_seen=False, exclude=None, allow=None, history=None
    ):
        """As `recommend`, in item rows: int32 `[B, k]`, 0 where there is nothing, and scores
        `[B, k]`.
        """
        merged = self.lists(user_id, k, exclude_seen, exclude, allow, history)
        return merged.rows, merged.score

    def lists(
        self, user_id, k=10, exclude_seen=False, exclude=None, allow=None, history=None
    ) -> Merged:
        """The merged lists in item rows, and each item's place in every channel's list, in the
        order of `channels`.
        """
        check_k(k, self.catalog.num_items)
        given = self._given(user_id, exclude_seen, exclude, allow, history)
        begins = pd.util.hash_array(given["user_id"], categorize=False) % len(self.channels)
        return self.merge.merge(self._ask(given, self.depth or k), k, begins.astype(np.int64))

    def explain(
        self,
        user_id,
        item_id,
        num=3,
        history=None,
        k=100,
        exclude_seen=False,
        exclude=None,
        allow=None,
    ) -> list[dict]:
        """Which channels have an item for a user, and why.

        Args:
            user_id, item_id: a raw id each.
            num: how many reasons of each channel, at most.
            k: how many items each channel is asked for, where the `depth` is not set.
            history, exclude_seen, exclude, allow: those of the request that is explained.

        Returns:
            `[{"channel": name, "place": its place in the channel's list, "reasons": what the
            channel's `explain` says}]`, the highest place first. Then come channels that have a
            reason and not the item, with place None.

        Raises:
            ValueError: an unknown item.
        """
        row = self.catalog.known_item(item_id)
        given = self._given([user_id], exclude_seen, exclude, allow, history)
        found = []
        for name, rows in self._ask(given, self.depth or k).items():
            place = np.flatnonzero(rows[0] == row)
            reasons = self._reasons(self.channels[name], user_id, item_id, num, history)
            if len(place) or reasons:
                found.append(
                    {
                        "channel": name,
                        "place": int(place[0]) + 1 if len(place) else None,
                        "reasons": reasons,
                    }
                )
        return sorted(found, key=lambda each: each["place"] or np.inf)

    def _given(self, user_id, exclude_seen, exclude, allow, history):
        given = {"user_id": user_id, "exclude": exclude, "allow": allow, "history": history}
        return batch(self.inputs, "user_id", {**given, "exclude_seen": exclude_seen})

    def _ask(self, given, depth):
        """The item rows `[B, W]` that each channel recommends, without those that must not come
        through.
        """
        had = np.where(
            given["exclude_seen"][:, None], given["history"], MISSING[self.catalog.items.dtype]
        )
        filters = {"exclude_seen": given["exclude_seen"], "allow": given["allow"]}
        barred = self._barred(given)
        lists = {}
        for name, channel in self.channels.items():
            if getattr(channel, "takes_history", False):
                request = {**filters, "exclude": given["exclude"], "history": given["history"]}
            else:
                request = {**filters, "exclude": np.concatenate([given["exclude"], had], axis=1)}
            request = {
                key: value for key, value in request.items() if value.ndim == 1 or value.shape[1]
            }
            k = min(depth, self.catalog.num_items, getattr(channel, "k_max", depth))
            rows, score = map(np.asarray, channel.recommend_rows(given["user_id"], k, **request))
            lists[name] = np.where((score > -np.inf) & ~barred(rows), rows, 0)
        return lists

    def _barred(self, given):
        """A function of item rows `[B, W]`: which of them must not come through."""
        users, items = self.catalog.users.encode(given["user_id"]), self.catalog.items
        lists = {
            name: items.encode(given[name].ravel()).reshape(given[name].shape)
            for name in ("exclude", "allow", "history")
        }
        position, row = left_out(self.catalog.seen, users, given["exclude_seen"], lists)
        out = position << 32 | row  # rising
        asked = (given["allow"] != MISSING[items.dtype]).any(axis=1)
        position, column = np.nonzero(lists["allow"])
        allowed = np.unique(position << 32 | lists["allow"][position, column])

        def barred(rows):
            pair = np.arange(len(rows))[:, None] << 32 | rows.astype(np.int64)
            return _among(pair, out) | (asked[:, None] & ~_among(pair, allowed))

        return barred

    @staticmethod
    def _reasons(channel, user_id, item_id, num, history):
        if not hasattr(channel, "explain"):
            return []
        if getattr(channel, "takes_history", False):
            return channel.explain(user_id, item_id, num, history=history)
        return channel.explain(user_id, item_id, num)


def _among(values, sorted_values):
    """Which of the values are among others, which rise."""
    if not len(sorted_values):
        return np.zeros(values.shape, bool)
    at = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return sorted_values[at] == values
