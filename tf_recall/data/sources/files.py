"""Where interactions come from, as a config names it: one's own files, or a planted world."""

from tf_recall.data.interactions import Interactions
from tf_recall.data.rejections import with_negatives
from tf_recall.data.sources.synthetic import synthetic


def files(interactions, columns=None, items=None, users=None, rejections=None):
    """Interactions and side tables from files, read by their suffix.

    Args:
        interactions: a CSV or Parquet file.
        columns: `{user_id: u, item_id: i, timestamp: t, weight: w}`, ours to the file's, where they
            differ.
        items: a file with `item_id` and its side columns.
        users: a file with `user_id` and its side columns.
        rejections: a file of `user_id` and `item_id`, what users did not want: each row's
            `negatives`, for the sampler `given`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, or content that `Interactions` refuses.
    """
    taken = Interactions.from_file(interactions, columns=columns, items=items, users=users)
    if rejections is None:
        return taken
    named = {key: name for key, name in (columns or {}).items() if key in ("user_id", "item_id")}
    return with_negatives(taken, Interactions.from_file(rejections, columns=named))


def planted(num_users=1000, num_items=2000, num_interactions=50_000, seed=0):
    """The interactions of a planted world (`tf_recall.data.sources.synthetic`): no files and no
    network.

    Args:
        num_users, num_items, num_interactions: its size.
        seed: same seed, same world.
    """
    return synthetic(num_users, num_items, num_interactions, seed=seed).interactions
