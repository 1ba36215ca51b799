"""What every tower is: a layer that gives one vector for each row of an entity."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import as_numbers, of_numbers
from tf_recall.data.interactions import Interactions
from tf_recall.features.needs import Needs


class Tower(keras.layers.Layer):
    """One side of a model: rows of an entity in, one vector each out.

    A tower learns from the training part in `adapt`, once. `needs` lists what batches and requests
    must bring beside the rows. Where a request brings nothing, the tower uses what it has stored.
    A model's query side and its item side are both towers, with the same methods.

    Args:
        entity: whose rows it encodes, "user" or "item", and the key under which they arrive.

    Call: `{entity: rows [B] int32, <feature name>: codes [B, ...] where it is context}`, optionally
        `"history": item rows [B, L]` -> `[B, dim]` float32, of several interests
        `[B, interests, dim]`.

    Attributes:
        normalize: whether the vectors are of length 1.
        interests: how many vectors a row has; where above 1 a call gives `[B, interests, dim]`.
        takes_history: whether a request may bring the items that a user interacted with.
        history_length: how many of them it looks at, the latest; None: all.
        tables: the stored codes `[V, ...]` by feature.
        num_rows: how many rows it has, the unknown row 0 included; known once it is adapted.
    """

    normalize = False
    interests = 1
    takes_history = False
    history_length: int | None = None
    num_rows: int
    tables: dict = {}

    def __init__(self, entity: str, **kwargs) -> None:
        super().__init__(name=kwargs.pop("name", f"{entity}_tower"), **kwargs)
        self.entity = entity
        self._identity = self.add_weight(
            name="identity", shape=(4,), dtype="int64", initializer="zeros", trainable=False
        )

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        raise NotImplementedError

    @property
    def identity(self) -> dict[str, str] | None:
        """The `identity` of the catalog whose rows it knows; None before it is adapted."""
        return of_numbers(self._identity.numpy())

    @identity.setter
    def identity(self, identity: dict[str, str]) -> None:
        self._identity.assign(as_numbers(identity))

    @property
    def adapted(self) -> bool:
        """Whether it has learned from a training part."""
        return self.built

    def adapt(self, train: Interactions, catalog: Catalog) -> None:
        """Learns from the training part and stores each row's codes; call it once.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.

        Raises:
            ValueError: it was adapted before, or a column is neither in the side table nor in the
                interactions.
        """
        if self.adapted:
            raise ValueError(
                f"{self.name} is adapted already; make a new one, or let it grow: tower.grown(...)"
            )
        self._adapt(train, catalog)
        self.identity = catalog.identity

    def _adapt(self, train, catalog):
        raise NotImplementedError

    def grown(self, interactions: Interactions, catalog: Catalog) -> "Tower":
        """The same tower over more rows: what it learned stays, known rows keep their codes.

        Args:
            interactions: all that are known by now.
            catalog: `catalog.grown(interactions)`.
        """
        tower = self._grown(interactions, catalog)
        tower.identity = catalog.identity
        return tower

    def _grown(self, interactions, catalog):
        raise NotImplementedError

    def needs(self) -> Needs:
        """What batches and requests must bring beside rows."""
        return Needs(self.entity)

    def dropped(self, vectors: tf.Tensor, rows: tf.Tensor, depth: int, training: bool) -> tf.Tensor:
        """A layer's vectors `[B, D]` of rows `[B]` with the tower's dropout, where it has one.

        Args:
            vectors, rows, training: as in `RowDropout`.
            depth: the number of the layer; below 0 are those of a graph.
        """
        return vectors

    def end_step(self) -> None:
        """Ends a training step: the next one makes new random draws."""

    def vocabularies(self) -> list:
        """The lookup tables for the values of requests, which an export must keep."""
        return []

    @property
    def raw_columns(self) -> dict[str, tf.TensorSpec]:
        """The columns that a request may give beside the id: `{column: spec of [B, ...]}`."""
        return {}

    def inputs_from_raw(
        self, rows: tf.Tensor, raw: dict[str, tf.Tensor], history: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """The inputs of `call`: a request's values, and the stored ones where it gives none.

        Args:
            rows: `[B]` int32, 0 for unknown.
            raw: `{column: [B, ...]}`, "" or NaN for missing; columns may be left out.
            history: item rows `[B, L]` int32, L 0 or more, 0 where there is none; None: not given.
        """
        return {self.entity: rows}

    def as_query(self, vectors: tf.Tensor) -> tf.Tensor:
        """This side's vectors `[B, dim]` as queries for similar rows of the same entity."""
        return vectors

    def get_config(self) -> dict:
        return {**super().get_config(), "entity": self.entity}


def size_of(towers: Sequence[Tower | None], dim: int | None = None) -> int | None:
    """The length of the vectors of towers, some of which are not made yet.

    Args:
        towers: the towers; None: not made yet.
        dim: the length that is asked for, or None.

    Returns:
        The length; None where nothing tells it.

    Raises:
        ValueError: a tower has another one than `dim`.
    """
    given = [tower for tower in towers if tower is not None]
    for tower in given:
        if dim not in (None, tower.dim):
            raise ValueError(
                f"dim is {dim}, and the {tower.entity} tower ends in {tower.dim}: leave dim out"
            )
    return given[0].dim if given else dim
