"""Similar items by the users who like both, as a Beam pipeline: ItemCF beyond one machine."""

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
from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.similarity import Cosine, Similarity, WeightedCosine

UNIT = 2.0**60  # sums of cosines are at most 1: in units of 1 / UNIT they fit int64
TOP = default(ItemCF, "top")


def item_cf(
    interactions: str | Path,
    out: str | Path,
    similarity: Similarity | None = None,
    top: int = TOP,
    user_limit: int | None = USER_LIMIT,
    rows_per_shard: int = ROWS_PER_SHARD,
    items_per_shard: int = 2_000,
    options: PipelineOptions | None = None,
) -> dict:
    """Writes the items most similar to each item, as `tf_recall.channels.item_cf.ItemCF` has them.

        A_s     the likes of the users of shard s, columns of all users' likes scaled to length 1
        S       sum over s of A_s' A_s: of each pair of items the cosine

    Workers exchange arrays of many rows: likes twice, by user and by item, then of each shard of
    users one block of A_s' A_s for each part of the items. Blocks are added up as whole multiples
    of 2^-60, so that the sums are the same to the bit in any order. Of very active users only the
    latest items count, which is reported: the work is the sum over users of the square of their
    number. After an interruption, a call with the same arguments continues with the items that have
    no file yet. Each worker holds the ids of all items.

    Args:
        interactions: Parquet (a file, a pattern or a folder) with `user_id`, `item_id`, strings or
            whole numbers, and perhaps `timestamp` and `weight`, at least 0. Interactions of one
            pair are one like, as of the latest.
        out: a folder for the result: `similar/similar-<i>-of-<n>.parquet`, with `item_id`,
            `similar`, a list of ids, and `similarity`, a list of float32, falling; of equal ones
            the smaller id comes first. `likes/` and `items/` beside it are intermediate results.
        similarity: `Cosine()`, or `WeightedCosine()` of the weights, with or without `user_power`;
            None: as `ItemCF`.
        top: how many similar items to keep of each.
        user_limit: how many of a user's latest items count, by time and then by line; None: all.
        rows_per_shard: interactions that a worker holds at a time.
        items_per_shard: items whose similarities to all others a worker holds at a time.
        options: Beam's `PipelineOptions`; without a runner among them, all runs in this process.

    Returns:
        `{"similar": pattern of the files, "rows": items, "counted": {name: number}}`, counted as
            `tf_recall.beam.likes.gather` does: `capped_users` had more likes than the limit,
            `left_out_by_user_limit` likes did not count.

    Raises:
        FileNotFoundError: no such files.
        ValueError: no rows, columns that are missing or of other types, another similarity, an
            `out` of other inputs, no likes. From workers, as Beam's runner wraps
            it: missing ids, weights below 0.

    Example:
        >>> done = item_cf("interactions/", "neighbors", top=50)
        >>> pd.read_parquet("neighbors/similar")

    Paper: Schelter et al. 2012, "Scalable Similarity-Based Neighborhood Methods with MapReduce",
        section 4: its interaction cut is our limit.
    """
    similarity = similarity or ItemCF().similarity
    if type(similarity) not in SCALED:
        allowed = " or ".join(f"{each.__name__}()" for each in SCALED)
        raise ValueError(
            f"similarity is {allowed} here, got {type(similarity).__name__}(): see ItemCF for "
            "others"
        )
    settings = {
        "similarity": type(similarity).__name__,
        "user_power": similarity.user_power,
        "top": top,
        "user_limit": user_limit,
        "item_limit": None,
        "rows_per_shard": rows_per_shard,
        "items_per_shard": items_per_shard,
    }

    def steps(likes, work):
        _ = (
            likes
            | "users: multiply" >> beam.ParDo(Multiply(work, similarity))
            | "products: by item" >> beam.GroupByKey()
            | "products: add up" >> beam.ParDo(AddUp(work))
            | "similar: write" >> beam.ParDo(WriteSimilar(work))
        )

    return similar(interactions, out, settings, steps, options)


def _binary(like, rows, items):
    return 1 / np.sqrt(items.users[rows])


def _weighted(like, rows, items):
    return like / np.sqrt(items.square[rows])


SCALED = {Cosine: _binary, WeightedCosine: _weighted}  # likes as columns of length 1


class Multiply(Step):
    """`(shard of the users, [Some, ...])` -> `(part of the items, products [their number, V])`."""

    def __init__(self, work: Work, similarity: WeightedCosine):
        super().__init__(work)
        self._scaled, self._power = SCALED[type(similarity)], similarity.user_power
        self._waiting = work.waiting()

    def process(self, element):
        _, some = element
        _, likes = matrix(list(some), len(self._items.ids))
        size = np.diff(likes.indptr)  # a user is whole in one shard, and likes something
        likes.data = self._scaled(likes.data, likes.indices, self._items)
        likes.data *= np.repeat(size ** (-self._power / 2), size)
        by_item = likes.T.tocsr()
        for part in self._waiting:
            product = by_item[part :: self._work.num_parts] @ likes
            if product.nnz:
                product.data = np.rint(product.data * UNIT).astype(np.int64)
                yield part, product


class AddUp(Step):
    """`(part of the items, products)` -> `(part, similarities [items of the part, V])`."""

    def process(self, element):
        part, products = element
        total, waiting, size = None, [], 0
        for product in products:
            waiting.append(product)
            size += product.nnz
            # so an entry is added few times, and twice as many are held
            if total is None or size > total.nnz:
                total = _sum(waiting if total is None else [total, *waiting])
                waiting, size = [], 0
        total = _sum([total, *waiting])
        yield part, sparse.csr_matrix((total.data / UNIT, total.indices, total.indptr), total.shape)


def _sum(products):
    """The sum of sparse matrices."""
    row, column, value = [], [], []
    for product in products:
        row.append(np.repeat(np.arange(product.shape[0]), np.diff(product.indptr)))
        column.append(product.indices)
        value.append(product.data)
    entries = np.concatenate(row), np.concatenate(column)
    # adds up the values of an entry
    return sparse.csr_matrix((np.concatenate(value), entries), products[0].shape)


def main(arguments: list[str] | None = None) -> None:
    """`python -m tf_recall.beam.item_cf --interactions ... --out ... [Beam's options]`"""
    named = {each.__name__: each for each in SCALED}
    parser = command("item_cf", "The items most similar to each item, by who likes them.")
    add_arguments(parser, item_cf, items_per_shard="Items whose similarities a worker holds")
    usual = type(ItemCF().similarity).__name__
    parser.add_argument(
        "--similarity", choices=named, default=usual, help=f"Of likes, or of weights; {usual}."
    )
    parser.add_argument(
        "--user-power",
        type=float,
        default=0.0,
        metavar="N",
        help="How much less users count who like many items; 0.0.",
    )
    given, others = parser.parse_known_args(arguments)
    settings = {**vars(given), "options": PipelineOptions(others)}

    def work():
        similarity = named[settings.pop("similarity")](settings.pop("user_power"))
        return item_cf(**settings, similarity=similarity)

    answer(parser, work)


if __name__ == "__main__":
    # Workers elsewhere find the steps by their module's name, which __main__ is not.
    from tf_recall.beam.item_cf import main as main_of_module

    main_of_module()
