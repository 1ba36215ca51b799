"""The best items by a posterior metric, the same for everybody."""

from tf_recall.channels.metrics import Count, Metric
from tf_recall.recommend.rankings import Ranking


class Best(Ranking):
    """Recommends the items that have done best so far, by any metric (METHODS.md C1).

        value(item) = metric(item)

    Rates are smoothed, so an item of few impressions is not on top by luck.

    Args:
        metric: `ShownRate(...)`, `WatchedShare(...)`, `Rate(...)` or `MeanWeight(...)`;
            `Count()` by default, which is popularity.

    Raises:
        ValueError: when fitted, as the metric.

    Example:
        >>> channel = Best(MeanWeight("timestamp")).fit(split.train, catalog)
    """

    kind = "best"

    def __init__(self, metric: Metric | None = None):
        self.metric = metric or Count()

    def values(self, train):
        return self.metric(train, self.catalog)[1:].astype(float)
