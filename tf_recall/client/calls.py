"""What clients of both kinds ask, as plans: each yields requests and is sent their replies."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

Plan = Generator[Any, Any, Any]
K = 10


@dataclass(frozen=True)
class Asked:
    """Which model a call is for: its newest version, or one by number or label."""

    model: str | None = None
    version: int | None = None
    label: str | None = None

    def __post_init__(self):
        if self.version is not None and self.label is not None:
            raise ValueError("a version is asked for by number or by label, not by both")


class Speaker:
    """One way of asking: `rest` and `rpc` write the plans of these."""

    def recommend(self, asked: Asked, given: dict[str, Any]) -> Plan:
        """Gives an `Answer` for a user."""
        raise NotImplementedError

    def similar(self, asked: Asked, given: dict[str, Any]) -> Plan:
        """Gives an `Answer` of what is like an item."""
        raise NotImplementedError

    def predict(
        self, asked: Asked, inputs: dict[str, Any], signature: str
    ) -> Generator[Any, Any, dict[str, np.ndarray]]:
        """Gives the outputs of a signature by name."""
        raise NotImplementedError

    def models(self) -> Plan:
        """Gives what is served."""
        raise NotImplementedError
