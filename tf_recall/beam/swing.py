"""Which items small circles of users like, as Beam pipelines: for interactions beyond one machine's
memory.
"""

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from scipy import sparse

from tf_recall.beam.runs import answer, command
from tf_recall.beam.similar import Step, WriteSimilar, add_arguments, matrix, similar
from tf_recall.channels.swing import swinging


def swing(
    interactions,
    out,
    alpha: float = 1.0,
    top: int = 100,
    user_limit: int | None = 500,
    item_limit: int | None = 1_000,
    rows_per_shard: int = 1_000_000,
    items_per_shard: int = 500,
    options=None,
) -> dict:
    """The items most similar to each item by Swing (METHODS.md C3), on Beam.

        sim(i, j) = sum over users u < v in W_i and W_j of 1 / (alpha + |J_u and J_v|)

    with W_i the users who like item i and J_u the items that user u likes: two users who agree on
    little else say more than two who agree on everything. W and J are what the limits leave: first
    of each user his latest items, then of each item its latest users. Both limits are reported
    where they bind; an item costs the number of its users times the length of all their lists.

    What travels is arrays of many rows: likes by user and by item, then for each part of the items
    the lists of all who like any of them. A run that was interrupted is called again with the same
    arguments, and goes on with the items that have no file yet. Each worker holds the ids of all
    items.

    Args:
        interactions, out: as for `tf_recall.beam.item_cf.item_cf`; of weights only whether they are
            above 0 matters.
        alpha: at least 0; the larger, the less it matters how alike two users are.
        top: how many similar items to keep of each.
        user_limit: how many of a user's latest items count, by time and then by line; None: all.
        item_limit: how many of an item's latest users count, likewise; None: all.
        rows_per_shard: interactions that a worker holds at a time.
        items_per_shard: items whose similarities a worker counts at a time; it holds the lists of
            all their users.
        options: Beam's `PipelineOptions`; without a runner among them, all is done in this process.

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
    """`(shard of the users, [Some, ...])` ->
    `(part of the items, (users [n], their likes [n, V]))`.
    """

    def __init__(self, work):
        super().__init__(work)
        self._waiting = work.waiting()

    def process(self, element):
        _, some = element
        users, likes = matrix(list(some), len(self._items.ids))
        likes = sparse.csr_matrix(
            (np.ones(likes.nnz, np.int8), likes.indices, likes.indptr), likes.shape
        )
        by_item = likes.T.tocsr()
        for part in self._waiting:
            who = np.unique(by_item[part :: self._work.num_parts].indices)
            if len(who):
                yield part, (users[who], likes[who])


class Count(Step):
    """`(part of the items, lists of their users)` ->
    `(part, similarities [items of the part, V])`.
    """

    def __init__(self, work, alpha):
        super().__init__(work)
        self._alpha = alpha

    def process(self, element):
        part, lists = element
        users, likes = zip(*lists, strict=True)
        likes = sparse.vstack(likes, "csr")[np.argsort(np.concatenate(users))].astype(np.float32)
        items = np.arange(part, likes.shape[1], self._work.num_parts)
        yield part, swinging(likes, self._alpha, self._work.top, items)


def main(arguments=None) -> None:
    """`python -m tf_recall.beam.swing --interactions ... --out ... [Beam's options]`"""
    parser = command(
        "swing", "The items most similar to each item, by the small circles of users who like them."
    )
    add_arguments(parser)
    add = parser.add_argument
    add(
        "--alpha",
        type=float,
        default=1.0,
        metavar="A",
        help="The larger, the less users' likeness matters; 1.",
    )
    add(
        "--item-limit",
        type=int,
        default=1_000,
        metavar="N",
        help="How many of an item's latest users count; 1000.",
    )
    add(
        "--items-per-shard",
        type=int,
        default=500,
        metavar="N",
        help="Items whose users' lists a worker holds.",
    )
    given, others = parser.parse_known_args(arguments)
    answer(parser, lambda: swing(**vars(given), options=PipelineOptions(others)))


if __name__ == "__main__":
    # Workers elsewhere find the steps by their module's name, which __main__ is not.
    from tf_recall.beam.swing import main as main_of_module

    main_of_module()
