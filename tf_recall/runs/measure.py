"""How a run measures whatever recommends: the config's cases and list lengths."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tf_recall.config import Evaluate
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation import cases_by_row, cases_by_user, evaluate
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.metrics import ranking_metrics
from tf_recall.evaluation.report import Report
from tf_recall.recommend.base import Recommender

CASES = {"by_user": cases_by_user, "by_row": cases_by_row}


def cases_of(
    settings: Evaluate, part: Interactions, catalog: Catalog, earlier: Interactions | None = None
) -> Cases:
    """Makes the cases of a held-out part, as a config's `evaluate` says; arguments as `measure`."""
    if settings.cases == "by_row":
        return cases_by_row(part, catalog, earlier=earlier)
    return CASES[settings.cases](part, catalog)


def measure(
    recommender: Recommender,
    settings: Evaluate,
    part: Interactions,
    earlier: Interactions | None = None,
) -> Report:
    """Measures a recommender on a held-out part, as a config's `evaluate` says.

    Args:
        recommender: whatever recommends, with its catalog.
        settings: cases, list lengths, and whether seen items are filtered out.
        part: the held-out interactions.
        earlier: interactions between the training part and `part`, such as the validation part;
            where events are asked one by one, they are part of the histories.

    Example:
        >>> report = measure(service, Evaluate(ks=(10,)), split.test, split.validation)
    """
    cases = cases_of(settings, part, recommender.catalog, earlier)
    return evaluate_cut(recommender, cases, recommender.catalog, settings.ks, settings.exclude_seen)


def evaluate_cut(
    recommender: Recommender,
    cases: Cases,
    catalog: Catalog,
    ks: Sequence[int],
    exclude_seen: bool = True,
) -> Report:
    """Evaluates with list lengths cut to the catalog.

    A k beyond the catalog means the whole catalog; its figures keep the name that k gives them.

    Args:
        recommender, cases, catalog, exclude_seen: as for `tf_recall.evaluate`.
        ks: list lengths, of any size.
    """
    cut = {k: min(k, catalog.num_items) for k in sorted(set(ks))}
    report = evaluate(recommender, cases, catalog, sorted(set(cut.values())), exclude_seen)
    slices = {}
    for name, figures in report.slices.items():
        named = {key: _named(figures[key], cut) for key in ("metrics", "baseline")}
        slices[name] = {**figures, **named}
    return replace(
        report,
        metrics=_named(report.metrics, cut),
        baseline=_named(report.baseline, cut),
        slices=slices,
    )


def ranking_names() -> list[str]:
    """The names of the ranking metrics, without their k: higher is better for each."""
    none = np.zeros(0, int)
    return [name.partition("@")[0] for name in ranking_metrics(none, none, np.ones(1, int), [1])]


def _named(figures, cut):
    """The figures `{"recall@80": ...}` under the ks that were asked for: `{"recall@100": ...}`."""
    named = {}
    for k, measured in cut.items():
        for key, value in figures.items():
            name, _, at = key.partition("@")
            if int(at) == measured:
                named[f"{name}@{k}"] = value
    return named
