"""What must hold between a config and its data before anything is trained.

Each check raises a ValueError in one line: the key, what it holds, what is allowed.
"""

import yaml

from tf_recall.channels.merge import Merge
from tf_recall.channels.rank_fusion import MarginalRank
from tf_recall.config import Config
from tf_recall.data.arguments import shown
from tf_recall.data.catalog import Catalog
from tf_recall.data.split import Split
from tf_recall.evaluation.compare import MERGED
from tf_recall.evaluation.protocol import any_left
from tf_recall.retrievers.fitting import ROWS
from tf_recall.runs.daily import Update
from tf_recall.runs.measure import blocks_of, ranking_names


def check_plain(config: Config) -> None:
    """Whether a config can be written beside the export, and its section `update` can be heeded."""
    Update.of(config.update)
    for key, value in config.to_dict().items():
        try:
            yaml.safe_dump(value)
        except yaml.YAMLError:
            raise ValueError(
                f"{key} holds {value!r}: a config holds plain values, text, numbers, lists and "
                "dicts of them"
            ) from None


def check_test(config: Config, split: Split, catalog: Catalog) -> None:
    """Whether no part is empty, and the test part holds something to find."""
    for name in ("train", "validation", "test"):
        part = getattr(split, name)
        if part is not None and not len(part):
            raise ValueError(f"split: the {name} part is empty; give each part some interactions")
    _check_unseen(config, split, catalog, "test")


def check_training(config: Config, split: Split, catalog: Catalog, num_replicas: int) -> None:
    """Whether a model can be trained as `train` says, and answers the lists of `evaluate`."""
    check_monitor(config)
    settings = config.train
    if settings.patience not in (None, "never") and split.validation is None:
        raise ValueError(
            f"train.patience is {settings.patience} and needs a validation part: "
            f"{with_validation(config)}, or leave train.patience out"
        )
    check_batch_size(config, num_replicas)
    _check_something_to_learn(split, catalog)
    if split.validation is not None:
        _check_unseen(config, split, catalog, "validation")


def check_batch_size(config: Config, num_replicas: int) -> None:
    """Whether a batch can be shared out among replicas."""
    batch_size = config.train.batch_size or ROWS
    if batch_size % num_replicas:
        raise ValueError(
            f"train.batch_size must be a multiple of the replicas, {num_replicas}, not {batch_size}"
        )


def check_monitor(config: Config) -> None:
    """Whether the metric to monitor is one of those that are measured in training."""
    monitor = config.train.monitor
    if monitor.partition("@")[0] not in ranking_names():
        raise ValueError(
            f"train.monitor is {monitor!r}; the metrics are {', '.join(ranking_names())}"
        )


def check_k_max(config: Config, k_max: int, num_items: int) -> None:
    """Whether answers are long enough for `evaluate.ks`: one item more shows ties at the end."""
    longest = max(config.evaluate.ks)
    needed = min(longest + 1, num_items)
    if k_max < needed:
        raise ValueError(
            f"k_max is {k_max}, and evaluate.ks up to {longest} ask for lists of {needed}, one "
            "item more to see ties: raise k_max or lower evaluate.ks"
        )


def check_channels(config: Config, split: Split, catalog: Catalog, merge: Merge) -> None:
    """Whether the channels can be merged and compared."""
    merge.check(list(config.channels))
    if MERGED in config.channels:
        raise ValueError(f"channels: {MERGED!r} is the name of the merge: choose another one")
    if isinstance(merge, MarginalRank):
        if split.validation is None:
            raise ValueError(
                f"merge: marginal_rank learns on a validation part: {with_validation(config)}"
            )
        _check_unseen(config, split, catalog, "validation")


def with_validation(config: Config) -> str:
    """What to type for the config's split to have a validation part, for an error."""
    last = config.split["name"] in ("leave_last_out", "leave_last_session_out")
    share = "true" if last else "0.1"
    parts = [f"{key}: {shown(value)}" for key, value in config.split.items() if key != "validation"]
    written = ", ".join([*parts, f"validation: {share}"]).replace("'", "")
    return f"give the split one, `split: {{{written}}}` or --set split.validation={share}"


def _check_something_to_learn(split, catalog):
    if catalog.num_items < 2:
        raise ValueError(
            "there is nothing to learn: the catalog holds one item, and a model learns to prefer "
            "one item to others"
        )
    weights = split.train.frame.get("weight")
    if weights is not None and not weights.any():
        raise ValueError(
            "there is nothing to learn: the weights of all interactions of the train part are 0; "
            "give those that count a weight above 0"
        )


def _check_unseen(config, split, catalog, name):
    """With `exclude_seen` a part must hold pairs that users have not had before."""
    if not config.evaluate.exclude_seen:
        return
    searching = split.test is split.validation  # then the test part is not looked at
    earlier = split.validation if name == "test" and not searching else None
    cases = blocks_of(config.evaluate, getattr(split, name), catalog, earlier)
    if not any_left(cases, catalog, exclude_seen=True):
        raise ValueError(
            f"evaluate.exclude_seen filters out every pair of the {name} part, since all of them "
            "are in train, in the validation part, or just before: split otherwise, or set "
            "evaluate.exclude_seen to false"
        )
