"""The sources of interactions that need no download: files, and a planted world."""

from collections.abc import Sequence
from pathlib import Path

from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column, Seed, WholeFrom1
from tf_recall.data.rejections import with_negatives
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.weighting import Weighting


def files(
    interactions: str | Path,
    columns: dict[str, Column] | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
    rejections: str | Path | None = None,
    missing: Sequence[str] = (),
    time_unit: str | None = None,
    in_order: bool = False,
    where: Column | None = None,
    weighting: Weighting | None = None,
) -> Interactions:
    """Reads interactions and side tables from CSV or Parquet files.

    Args:
        interactions: a file of interactions.
        columns: `{our name: the file's}` of `user_id`, `item_id`, `timestamp`, `weight`, where they
            differ.
        items: a file with `item_id` and the items' columns.
        users: a file with `user_id` and the users' columns.
        rejections: a file with `user_id` and `item_id`, the items that users did not want: they
            become each row's `negatives`, for the sampler `given`.
        missing: texts that stand for a missing value in CSV files, in quotes: `["NA", "null"]`;
            without them only an empty field does.
        time_unit: what numbers in `timestamp` count, as for `Interactions.from_frame`: `ms`, or
            `"%Y%m%d"` for 20240131; None: seconds.
        in_order: whether a user's events of one time, such as of one date, happened in the order of
            their lines; models of what comes next otherwise take them as simultaneous.
        where: a column that is true, or not 0, where a user took what was shown: the other lines
            are impressions, which metrics of channels count, and nothing else does.
        weighting: makes a weight of a column, such as the time watched: `{name: saturating, column:
            seconds, half: 30}`.

    Raises:
        OSError: no such file, or a folder.
        ValueError: another suffix, a file that is damaged, or content that `Interactions` refuses.

    Example:
        >>> train = files("train.parquet")
    """
    how = {"missing": missing, "time_unit": time_unit}
    log = Interactions.from_file(interactions, columns, items, users, **how)
    log = log.in_order() if in_order else log
    log = log if where is None else log.where(where)
    log = log if weighting is None else log.weighted(weighting)
    if rejections is None:
        return log
    keys = {name: columns[name] for name in ("user_id", "item_id") if name in (columns or {})}
    return with_negatives(log, Interactions.from_file(rejections, keys, **how))


def planted(
    num_users: WholeFrom1 = 1000,
    num_items: WholeFrom1 = 2000,
    num_interactions: WholeFrom1 = 50_000,
    seed: Seed = 0,
) -> Interactions:
    """The interactions of a planted world, without files or network.

    The world is that of `tf_recall.data.sources.synthetic`.

    Args:
        num_users, num_items, num_interactions: the size of the world.
        seed: same seed, same world.
    """
    return synthetic(num_users, num_items, num_interactions, seed=seed).interactions
