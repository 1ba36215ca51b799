"""What the command line does with a config or an export, be it of one model or of several
channels.
"""

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.export.load import load
from tf_recall.runs import doctor
from tf_recall.runs.channels import judge_channels, train_channels
from tf_recall.runs.model import Trained, assess, numerics, train_model


def train(config: Config, out="saved_models", resume=False, tensorboard=None) -> Trained:
    """Reads, splits, fits, evaluates beside popularity, exports: a model, or several channels and
    their merge.

    Args:
        config: a `Config`, with a `model` or with `channels`.
        out: the model repository; the export goes to `<out>/<config.name>/<version>`.
        resume: go on from the checkpoints of an interrupted run of the same config.
        tensorboard: a directory for TensorBoard's logs.

    Example:
        >>> trained = train(Config.load("two_tower_movielens"))
        >>> trained.report.metrics["recall@20"], trained.path
    """
    if config.channels is None:
        return train_model(config, out, resume, tensorboard)
    return train_channels(config, out, resume, tensorboard)


def judge(path, config: Config):
    """The report of an export on the test part of a config; of several channels, of each of them
    too.

    Raises:
        FileNotFoundError: there is no export, or a model was exported without what its users had.
    """
    recommender, split = load(path), config.make_split(config.make("data"))
    if recommender.catalog is None:
        raise FileNotFoundError(f"{path} was exported without its model, and so without a catalog")
    if recommender.sources:
        return judge_channels(recommender, config, split.test)
    return assess(recommender, config, split.test, recommender.catalog)


def diagnose(config, path=None):
    """What the doctor finds in a config's data, in its numeric features, and in the answers of an
    exported model.

    Args:
        config: a `Config`.
        path: an export, or None.

    Returns: a list of `doctor.Finding`.
    """
    split = config.make_split(config.make("data"))
    catalog = Catalog.fit(split.train)
    findings = doctor.check_split(split) + doctor.check_items(split.train.items)
    if config.model is not None:
        findings += doctor.check_numerics(numerics(config, split, catalog))
    if path is not None:
        recommender = load(path)
        users = catalog.users.ids[:: max(1, len(catalog.users.ids) // 1000)]
        rows, _ = recommender.recommend_rows(users, k=min(20, recommender.k_max))
        findings += doctor.check_lists(rows)
    return findings
