"""How a run measures whatever recommends: the config's cases and list lengths."""

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
    return CASES[settings.cases](part, catalog, earlier=earlier)


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
        earlier: interactions between the training part and `part`, such as the validation part:
            they are part of the histories, and seen.

    Example:
        >>> report = measure(service, Evaluate(ks=(10,)), split.test, split.validation)
    """
    cases = cases_of(settings, part, recommender.catalog, earlier)
    return evaluate(recommender, cases, recommender.catalog, settings.ks, settings.exclude_seen)


def ranking_names() -> list[str]:
    """The names of the ranking metrics, without their k: higher is better for each."""
    none = np.zeros(0, int)
    return [name.partition("@")[0] for name in ranking_metrics(none, none, np.ones(1, int), [1])]
