"""Similar items by Swing, as a Beam pipeline: for interactions beyond one machine's memory."""

from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from scipy import sparse

from tf_recall.beam.runs import answer, command, default
from tf_recall.beam.similar import (
    ROWS_PER_SHARD,
    USER_LIMIT,
    Step,
    Work,
    WriteSimilar,
    add_arguments,
    matrix,
    similar,
)
from tf_recall.channels.swing import Swing, swinging

ALPHA = default(Swing, "alpha")
TOP = default(Swing, "top")


def swing(
    interactions: str | Path,
    out: str | Path,
    alpha: float = ALPHA,
    top: int = TOP,
    user_limit: int | None = USER_LIMIT,
    item_limit: int | None = 1_000,
    rows_per_shard: int = ROWS_PER_SHARD,
    items_per_shard: int = 500,
    options: PipelineOptions | None = None,
) -> dict:
    """Writes the items most similar to each item by Swing (METHODS.md C3).

        sim(i, j) = sum over users u < v in W_i and W_j of 1 / (alpha + |J_u and J_v|)

    with W_i the users who like item i and J_u the items that user u likes: two users who share few
    items count more than two who share many. W and J are cut to the limits: first of each user the
    latest items, then of each item the latest users, which is reported. An item costs the number of
    its users times the length of all their lists.

    Workers exchange arrays of many rows: likes by user and by item, then for each part of the items
    the lists of all users who like any of them. After an interruption, a call with the same
    arguments continues with the items that have no file yet. Each worker holds the ids of all
    items.

    Args:
        interactions, out: as for `tf_recall.beam.item_cf.item_cf`; a weight counts as 1 if it is
            above 0.
        alpha: at least 0; the larger, the less it matters how many items two users share.
        top: how many similar items to keep of each.
        user_limit: how many of a user's latest items count, by time and then by line; None: all.
        item_limit: how many of an item's latest users count, likewise; None: all.
        rows_per_shard: interactions that a worker holds at a time.
        items_per_shard: items whose similarities a worker counts at a time; it holds the lists of
            all their users.
        options: Beam's `PipelineOptions`; without a runner among them, all runs in this process.

    Returns:
        As `item_cf`; `capped_items` had more users than the limit, `left_out_by_item_limit` likes
        did not count.

    Raises:
        As `item_cf`; ValueError: also an alpha below 0.

    Example:
        >>> done = swing("interactions/", "neighbors", alpha=0.5)
        >>> pd.read_parquet("neighbors/similar")

    Paper: Yang et al. 2020, "Large Scale Product Graph Construction for Recommendation in
        E-commerce", section 2.
    """
    if not 0 <= alpha < np.inf:
        raise ValueError(f"alpha is a number of at least 0, got {alpha!r}")
    settings = {
        "similarity": "Swing",
        "alpha": alpha,
        "top": top,
        "user_limit": user_limit,
        "item_limit": item_limit,
        "rows_per_shard": rows_per_shard,
        "items_per_shard": items_per_shard,
    }

    def steps(likes, work):
        _ = (
            likes
            | "users: send lists" >> beam.ParDo(Send(work))
            | "lists: by item" >> beam.GroupByKey()
            | "lists: count" >> beam.ParDo(Count(work, alpha))
            | "similar: write" >> beam.ParDo(WriteSimilar(work))
        )

    return similar(interactions, out, settings, steps, options)


class Send(Step):
    """`(shard of the users, [Some, ...])` -> `(part of the items, (users [n], likes [n, V]))`."""

    def __init__(self, work: Work):
        super().__init__(work)
        self._waiting = work.waiting()

    def process(self, element):
        _, some = element
        users, likes = matrix(list(some), len(self._items.ids))
        ones = np.ones(likes.nnz, np.int8)
        likes = sparse.csr_matrix((ones, likes.indices, likes.indptr), likes.shape)
        by_item = likes.T.tocsr()
        for part in self._waiting:
            at = np.unique(by_item[part :: self._work.num_parts].indices)
            if len(at):
                yield part, (users[at], likes[at])


class Count(Step):
    """`(part of the items, users' likes)` -> `(part, similarities [items of the part, V])`."""

    def __init__(self, work: Work, alpha: float):
        super().__init__(work)
        self._alpha = alpha

    def process(self, element):
        part, lists = element
        users, likes = zip(*lists, strict=True)
        likes = sparse.vstack(likes, "csr")[np.argsort(np.concatenate(users))].astype(np.float32)
        items = np.arange(part, likes.shape[1], self._work.num_parts)
        yield part, swinging(likes, self._alpha, self._work.top, items)


def main(arguments: list[str] | None = None) -> None:
    """`python -m tf_recall.beam.swing --interactions ... --out ... [Beam's options]`"""
    about = "The items most similar to each item, by the pairs of users who like both."
    parser = command("swing", about)
    add_arguments(
        parser,
        swing,
        alpha="The larger, the less it matters how many items two users share",
        item_limit="How many of an item's latest users count",
        items_per_shard="Items whose users' lists a worker holds",
    )
    given, others = parser.parse_known_args(arguments)
    answer(parser, lambda: swing(**vars(given), options=PipelineOptions(others)))


if __name__ == "__main__":
    # Workers elsewhere find the steps by their module's name, which __main__ is not.
    from tf_recall.beam.swing import main as main_of_module

    main_of_module()
