"""Features of which training shows a share of the rows as unknown."""

import tensorflow as tf

from tf_recall.data.draws import counter_of, unit_of
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.base import Feature, InputColumn
from tf_recall.features.embedding import RowEmbedding


class SometimesUnknown(Feature):
    """A feature that is shown as unknown in a share of a training step's rows.

    So what stands for the unknown learns from events like any others, and is no noise.

    Args:
        column: as `Feature`.
        unknown_rate: the share of training rows shown as unknown, in [0, 1).
        seed: of the choice of those rows.

    Raises:
        ValueError: as `Feature`, or `unknown_rate` out of range.
    """

    carried = ("draws",)

    def __init__(
        self, column: InputColumn | None, unknown_rate: Share = 0.01, seed: Seed = 0, **kwargs
    ) -> None:
        super().__init__(column, **kwargs)
        if not 0 <= unknown_rate < 1:
            raise ValueError(f"unknown_rate must be in [0, 1), not {unknown_rate}")
        self.unknown_rate = unknown_rate
        self.seed = seed

    def build_from_config(self, config: dict) -> None:
        self.draws = counter_of(self)
        self.built = True

    def stays(self, ids: tf.Tensor) -> tf.Tensor:
        """Which of the values `[B]` this training step shows as they are; equal ones alike."""
        return unit_of(ids, [self.seed, self.draws.value]) >= self.unknown_rate

    def end_step(self) -> None:
        self.draws.assign_add(1)

    def get_config(self) -> dict:
        return {**super().get_config(), "unknown_rate": self.unknown_rate, "seed": self.seed}


class SeenFeature(SometimesUnknown):
    """A feature with a trained vector for each value that training has seen.

    All other values share row 0, which learns the vector of an average value.

    Args:
        column, unknown_rate, seed: as `SometimesUnknown`.
        dim: length of the vector.

    Call: codes `[B, *code_shape]` -> `[B, dim]`.

    Raises:
        ValueError: as `SometimesUnknown`.
    """

    def __init__(
        self,
        column: InputColumn | None,
        dim: WholeFrom1 = 32,
        unknown_rate: Share = 0.01,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(column, unknown_rate, seed, **kwargs)
        self.width = dim

    @property
    def dim(self) -> int:
        return self.width

    def rows(self, codes: tf.Tensor) -> tf.Tensor:
        """The rows `[B]` of the codes, 0 for values that training has not seen."""
        return codes

    def shown(self, codes: tf.Tensor, training: bool) -> tf.Tensor:
        """The rows `[B]` as this step uses them: in training a few are replaced by 0."""
        rows = self.rows(codes)
        if training and self.unknown_rate:
            rows = tf.where(self.stays(rows), rows, 0)
        return rows

    def build_from_config(self, config: dict) -> None:
        # Row 0 starts like the others: at zero the normalized vector has a gradient of a million,
        # which Adagrad keeps.
        self.table = RowEmbedding(
            config["num_rows"],
            self.width,
            zero_unknown=False,
            learns_unknown=self.unknown_rate > 0,
            name="table",
        )
        self.table.build()
        super().build_from_config(config)

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.table.num_rows} if self.built else None

    def call(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.table(self.shown(codes, training))

    def known(self, codes, training=False):
        return self.shown(codes, training) > 0

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.width}
