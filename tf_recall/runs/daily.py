"""How a new log is learned by a model that is served already, and when the result is published."""

import dataclasses
from dataclasses import dataclass

from tf_recall.data.arguments import check, meant
from tf_recall.data.ranges import NumberAbove0, Share, ShareAbove0, ShareTo1, WholeFrom1


@dataclass(frozen=True)
class Update:
    """A config's section `update`.

    Args:
        epochs: how many times the new log is gone through, shuffled.
        validation: the latest share of the new log, which the gate asks before it is learned too.
        margin: by which share of the current version's the new one's `train.monitor` may be lower.
        coverage: which share of the current version's coverage must remain.
        drop_after_days: as in `train`.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> Update.of({"margin": 0.05}).epochs
        1
    """

    epochs: WholeFrom1 = 1
    validation: ShareAbove0 = 0.1
    margin: Share = 0.02
    coverage: ShareTo1 = 0.5
    drop_after_days: NumberAbove0 | None = None

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            check(f"update.{each.name}", each.type, getattr(self, each.name))

    @classmethod
    def of(cls, values: dict | None) -> "Update":
        """Makes the settings of a config's section.

        Raises:
            ValueError: a key that there is not, or a value out of its range.
        """
        known = [each.name for each in dataclasses.fields(cls)]
        for key in values or {}:
            if key not in known:
                raise ValueError(
                    f"update has no {key!r}; {meant(key, known)}there are: {', '.join(known)}"
                )
        return cls(**(values or {}))
