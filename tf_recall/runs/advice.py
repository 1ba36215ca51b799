"""What training tells about a model while it can be mended: each finding says what to try."""

import json
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path

import keras

from tf_recall.channels.graph_filter import GraphFilter
from tf_recall.channels.item_cf import ItemCF
from tf_recall.config import Config, Evaluate
from tf_recall.data.interactions import Interactions
from tf_recall.data.split import Split
from tf_recall.evaluation import RankMetrics
from tf_recall.evaluation.protocol import COLD_USER
from tf_recall.evaluation.report import Report
from tf_recall.positives import NextItem
from tf_recall.positives.windows import Windows
from tf_recall.recommend.base import Recommender
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.checks import with_validation
from tf_recall.runs.doctor import UNKNOWN, Finding
from tf_recall.runs.measure import cases_of

HIGH, LOW = 0.5, 0.01  # between them a temperature suits unit vectors
FLAT = 0.98  # a loss above this share of an untrained model's has not fallen
ENOUGH = 2  # epochs after which a loss must have fallen
COUNTED = {"item_cf": ItemCF, "graph_filter": GraphFilter}
INTERACTIONS = 3_000_000  # up to here the counted channels take a minute at most
CLOSE = 0.98  # of a figure, which is no difference
DAY = 86_400  # seconds
SIMULTANEOUS = 0.1  # share of the events
CASES = 2000  # users of the held-out part who are asked


def as_findings(findings: Sequence[Finding]) -> dict:
    """Findings as plain values, which stand beside the figures of an export."""
    return {"findings": [vars(finding) for finding in findings]}


def findings_of(folder: Path) -> list[Finding]:
    """What training found of an export; none where it was exported without a run."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
    except FileNotFoundError:
        return []
    return [Finding(**values) for values in metrics.get("findings", [])]


def before_training(model: Retriever, train: Interactions) -> list[Finding]:
    """What is known to be off before training.

    Args:
        model: an adapted `Retriever`.
        train: what it learns from.
    """
    return check_temperature(model) + check_exposure(model) + check_order(model, train)


def check_validation(config: Config, split: Split) -> list[Finding]:
    """Checks whether anything tells when training is to end, where the config does not.

    Args:
        config: of one model.
        split: its data.
    """
    settings = config.train
    told = split.validation is not None or settings.start_from is not None
    if told or settings.epochs is not None:
        return []
    message = (
        f"without a validation part training has {settings.most_epochs()} epochs, and for some "
        f"data the best number is 3: {with_validation(config)}; it chooses the number and is "
        "learned at last. Or set train.epochs."
    )
    return [Finding("no_validation", message, "warning")]


def check_temperature(model: Retriever) -> list[Finding]:
    """Checks whether the loss can tell scores apart at its temperature.

    The scores of unit vectors lie between -1 and 1. Divided by a temperature of 1 they are so near
    one another that a softmax over N negatives never falls below log(1 + N / e^2); divided by a
    very small one, a single negative makes up the whole gradient.

    Args:
        model: a `Retriever`.
    """
    loss = model.loss_fn
    temperature = loss.temperature
    if not model.unit_length or loss.scale_free or not isinstance(temperature, Real):
        return []
    if LOW <= temperature <= HIGH:
        return []
    why = (
        "their scores differ by 2 at most, too little for this loss"
        if temperature > HIGH
        else "a single negative makes up the gradient"
    )
    message = (
        f"the temperature {temperature:g} does not suit vectors of length 1: {why}. Leave "
        "model.loss.temperature out, which takes one by the catalog's size, or take 0.1."
    )
    return [Finding("useless_temperature", message, "warning")]


def check_exposure(model: Retriever) -> list[Finding]:
    """Checks whether a model learns which items a user would come across.

    Args:
        model: a `Retriever`.
    """
    if not model.exposure_only:
        return []
    message = (
        f"{type(model).__name__} learns from ratings of what users came across, and nothing tells "
        "it what else they would: it is no recall model. Take `model: als` or `model: two_tower`, "
        "and let it sort what they find."
    )
    return [Finding("exposure_only", message, "warning")]


def check_order(model: Retriever, train: Interactions) -> list[Finding]:
    """Checks whether a model of what comes next knows what came first.

    Args:
        model: a `Retriever`.
        train: what it learns from.
    """
    positives = model.positives
    if train.times is None and isinstance(positives, (NextItem, Windows)):
        message = (
            f"{type(model).__name__} learns what stands by what, and the log has no timestamps: "
            "its lines count as in order of time. Where they are not, name a column of times "
            "(data.columns.timestamp) or take a model that reads no order, such as simplex."
        )
        return [Finding("order_of_lines", message, "warning")]
    if train.times is None or not isinstance(positives, NextItem):
        return []
    times = train.frame["timestamp"]
    if (times % DAY != 0).any():
        return []
    share = train.frame.duplicated(["user_id", "timestamp"], keep=False).mean()
    if share <= SIMULTANEOUS:
        return []
    message = (
        f"the times are dates, and {share:.0%} of the events share theirs with another of their "
        f"user: {type(model).__name__} does not learn what follows what within a day. Where the "
        "lines stand in order, say so: data.in_order=true for files, Interactions.in_order()."
    )
    return [Finding("order_unknown", message, "warning")]


class LossWatch(keras.callbacks.Callback):
    """Notices a loss that stays that of an untrained model, while training goes on.

    Args:
        note: gets what was noticed, a list of `Finding`.
    """

    def __init__(self, note: Callable[[list[Finding]], None]):
        super().__init__()
        self._note = note
        self._first = None

    def on_train_begin(self, logs=None):
        if self.model.step > 0:
            self._first = float("inf")  # what an untrained model's loss was is not known any more

    def on_train_batch_end(self, batch, logs=None):
        if self._first is None:
            self._first = float(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 != ENOUGH or not 0 < self._first < float("inf"):
            return
        loss = float(logs["loss"])
        if loss > FLAT * self._first:
            message = (
                f"after {ENOUGH} epochs the loss is {loss:.4g}, and that of the untrained model "
                f"was {self._first:.4g}: it learns next to nothing. Raise "
                "train.optimizer.learning_rate, or lower model.loss.temperature."
            )
            self._note([Finding("flat_loss", message, "warning")])


def check_epochs(values: Sequence[float], epochs: int, by_gradients: bool = True) -> list[Finding]:
    """Checks whether training ended at the right time.

    Args:
        values: the monitored metric after each epoch, higher is better.
        epochs: how many epochs were allowed.
        by_gradients: whether the model has an optimizer.
    """
    if len(values) < 2:
        return []
    best = values.index(max(values))
    if best == len(values) - 1 == epochs - 1:
        message = (
            f"the last of {epochs} epochs is the best one, so it was still rising: more epochs, "
            f"train.epochs={2 * epochs}, with --resume from an interrupted run or anew."
        )
        return [Finding("still_rising", message, "warning")]
    if best == 0:
        cure = "Lower train.optimizer.learning_rate, or give the optimizer a weight_decay."
        if not by_gradients:
            cure = "Raise model.regularization, or lower model.dim."
        message = f"the best epoch is the first: it learns too fast, or by heart. {cure}"
        return [Finding("first_epoch_best", message, "warning")]
    return []


def check_beside_counted(
    recommender: Recommender, split: Split, settings: Evaluate, monitor: str
) -> list[Finding]:
    """Checks whether a trained model finds more than channels that are counted in seconds.

    Some of the cases are asked; of more than 3 million interactions none are, since counting would
    take minutes.

    Args:
        recommender: the trained model's service.
        split: the data; the validation part is asked where there is one, else the test part.
        settings: how to ask.
        monitor: the metric to compare, as of `Train`.
    """
    if len(split.train) > INTERACTIONS:
        return []
    name = "test" if split.validation is None else "validation"
    catalog = recommender.catalog
    cases = cases_of(settings, _some(getattr(split, name)), catalog)
    metric, _, k = monitor.partition("@")
    k = min(int(k), max(1, recommender.k_max - 1))  # one item more shows ties
    monitor = f"{metric}@{k}"

    def figure(asked):
        return RankMetrics(asked, cases, catalog, [k], settings.exclude_seen).metrics()[monitor]

    own = figure(recommender)
    figures = {key: figure(make().fit(split.train, catalog)) for key, make in COUNTED.items()}
    best = max(figures, key=figures.get)
    if own >= CLOSE * figures[best]:
        return []
    message = (
        f"on the {name} part {monitor} is {own:.4f}, and {best}, which is counted in seconds, has "
        f"{figures[best]:.4f}. Take `channels: {{only: {best}}}`, or both and `merge: "
        "marginal_rank`; or search for better settings: tf-recall tune CONFIG."
    )
    return [Finding("below_counted", message, "warning")]


def check_beside_popularity(report: Report) -> list[Finding]:
    """Checks whether a recommender finds more than popularity on the same cases.

    Args:
        report: of the test part, by `evaluate`.
    """
    name = next(name for name in report.metrics if name.startswith("recall@"))
    figure, popular = report.metrics[name], report.baseline[name]
    if figure >= popular:
        return []
    unknown = report.slices["cold_users"]["cases"] / report.counts["cases"]
    cause = ""
    if unknown > UNKNOWN:
        cause = (
            f" {unknown:.0%} of the cases are users of whom training has less than {COLD_USER} "
            "events: give the query tower a history, or features beyond the user id."
        )
    message = (
        f"{name} of the test part is {figure:.4f}, and popularity has {popular:.4f}.{cause} A "
        "channel `popular: popularity` beside it, merged, answers whom it cannot."
    )
    return [Finding("below_popularity", message, "warning")]


def _some(part):
    """The interactions of some users."""
    users = part.frame["user_id"].unique()
    some = users[:: max(1, len(users) // CASES)]
    return part.select(part.frame["user_id"].isin(some).to_numpy())
