"""What a client gives back."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Found:
    """An item of an answer.

    Args:
        item_id, score: which, and how good; scores fall.
        ranks: of a merge, the item's ranks in the channels that have it.
        why: what speaks for it, where that was asked for.
        columns: what the server's table tells of it, where that was asked for.
    """

    item_id: str | int
    score: float
    ranks: dict[str, int] | None = None
    why: list[dict[str, Any]] | None = None
    columns: dict[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """Items, the best first, and which version of which model gave them.

    Args:
        model, version: that answered.
        items: found.
        unknown: ids of the request that the model does not know, by argument; over gRPC nobody
            tells.
    """

    model: str
    version: int
    items: list[Found]
    unknown: dict[str, list[str | int]] = field(default_factory=dict)

    @property
    def item_ids(self) -> list[str | int]:
        """The ids alone."""
        return [each.item_id for each in self.items]


def of_json(content: dict[str, Any]) -> Answer:
    """The answer of `/recommend` or `/similar`."""
    items = [Found(**each) for each in content["items"]]
    return Answer(content["model"], content["version"], items, content["unknown"])


def of_arrays(model: str, version: int, arrays: dict[str, np.ndarray], k: int) -> Answer:
    """The answer of a signature for one row, without its padding."""
    scores = arrays["score"][0, :k]
    kept = np.flatnonzero(scores > -np.inf)
    ids = [_plain(each) for each in arrays["item_id"][0, kept].tolist()]
    return Answer(
        model, version, [Found(*each) for each in zip(ids, scores[kept].tolist(), strict=True)]
    )


def _plain(item):
    return item.decode() if isinstance(item, bytes) else item
