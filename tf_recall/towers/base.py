"""What every tower is: a layer that gives one vector for each row of an entity."""

import keras
import tensorflow as tf

from tf_recall.features.needs import Needs


class Tower(keras.layers.Layer):
    """One side of a model: rows of an entity in, one vector each out.

    A tower learns from the training part in `adapt`, once; says in `needs` what batches and
    requests must bring beside the rows; and answers requests from what it has stored where they
    bring nothing. Queries and items of a model are both towers: no part asks which of the two.

    Args:
        entity: whose rows it takes, "user" or "item", and the key under which they arrive.

    Call: `{entity: rows [B] int32, <feature name>: codes [B, ...] where it is context}`, optionally
        `"history": item rows [B, L]` -> `[B, dim]` float32.

    Attributes:
        normalize: whether the vectors are of length 1.
        takes_history: whether a request may bring the items that a user interacted with.
        history_length: how many of them it looks at, the latest; None: all.
        tables: the stored codes by feature.
        num_rows: how many rows it has, the unknown row 0 included; known once it is adapted.
    """

    normalize = False
    takes_history = False
    history_length: int | None = None
    num_rows: int
    tables: dict = {}

    def __init__(self, entity: str, **kwargs):
        super().__init__(name=kwargs.pop("name", f"{entity}_tower"), **kwargs)
        self.entity = entity

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        raise NotImplementedError

    def adapt(self, train, catalog) -> None:
        """Learns from the training part and stores what each row has; call it once.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.

        Raises:
            ValueError: it was adapted before, or a column is neither in the side table nor in the
                interactions.
        """
        if self.built:
            raise ValueError(
                f"{self.name} is adapted already; make a new one, or let it grow: tower.grown(...)"
            )
        self._adapt(train, catalog)

    def _adapt(self, train, catalog):
        raise NotImplementedError

    def grown(self, interactions, catalog) -> "Tower":
        """The same tower over more rows: what it learned stays, known rows keep their codes.

        Args:
            interactions: all that are known by now.
            catalog: `catalog.grown(interactions)`.
        """
        raise NotImplementedError

    def needs(self) -> Needs:
        """What batches and requests must bring beside rows."""
        return Needs(self.entity)

    def end_step(self) -> None:
        """Ends a training step: what is drawn at random is drawn anew in the next."""

    def vocabularies(self) -> list:
        """The vocabularies that requests are looked up in, for an export to keep."""
        return []

    @property
    def raw_columns(self) -> dict[str, tf.TensorSpec]:
        """What a request may give beside the id, by column."""
        return {}

    def inputs_from_raw(self, rows, raw: dict, history=None) -> dict:
        """The inputs of `call` from a request, and from what is stored where it gives nothing.

        Args:
            rows: `[B]` int32, 0 for unknown.
            raw: `{column: [B, ...]}`, "" or NaN for missing; columns may be left out.
            history: item rows `[B, L]` int32, L 0 or more, 0 where there is none; None: not given.
        """
        return {self.entity: rows}

    def as_query(self, vectors):
        """This side's vectors `[B, dim]` as queries among their like: "more like this"."""
        return vectors

    def get_config(self):
        return {**super().get_config(), "entity": self.entity}
