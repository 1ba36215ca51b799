"""What a model's batches must bring."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Needs:
    """What a batch must bring beside the rows of queries and items.

    Args:
        query: whose rows the queries are, "user" or "item".
        context: features whose codes come with each row, such as the time of the request.
        history: how many of a user's items before the event; 0 for none.
        packed: whether the query tower also reads several histories packed in one row.
        gaps: whether also how long before the newest of them each was.
        negatives: how many negatives of its own each row names.
        labels: columns of the log that heads learn from.
        graph: the graph that positives may walk on, or None.
    """

    query: str = "user"
    context: tuple = ()
    history: int = 0
    packed: bool = False
    gaps: bool = False
    negatives: int = 0
    labels: tuple[str, ...] = ()
    graph: Any = None

    def also(self, **changes) -> "Needs":
        """The same needs with some changed."""
        return replace(self, **changes)
