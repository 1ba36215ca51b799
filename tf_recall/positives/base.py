"""The base of all positives: which pairs of a training log are positive, as batches."""

from abc import ABC, abstractmethod

import numpy as np

from tf_recall.data.batches import Batches
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.stepwise import StepBatches
from tf_recall.features.needs import Needs
from tf_recall.positives.stream import Stream

TrainingBatches = Batches | StepBatches | Stream


class Positives(ABC):
    """A recipe that makes training batches of positive pairs.

    The attributes decide which models a subclass goes with; a model's constructor refuses the
    others by name. Batches have `at(step)`, a function of the seed and the step, `dataset(start)`,
    `batch_size` and `steps_per_epoch`.

    Attributes:
        query: whose rows the queries are, "user" or "item"; None: those that the model needs.
        item: whose rows the candidates are.
        windows: whether a row is a segment of centers with several positives each, instead of one
            query and one positive.
        gives_history: whether rows can bring the user's items before the event.
        walks: whether it walks on the graph of the model.
        gives_labels: whether rows can bring columns of the log.
        weighs: whether rows bring the weights of the log.
    """

    query: str | None = "user"
    item = "item"
    windows = False
    gives_history = False
    walks = False
    gives_labels = False
    weighs = False

    def counts(self, train: Interactions, catalog: Catalog) -> dict[str, np.ndarray]:
        """How often each row is expected to be a positive in an epoch: `{entity: [V] int64}`.

        Sampling probabilities depend on them. By default they are the training counts.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.
        """
        if train.learned is None:
            return {"user": catalog.users.counts, "item": catalog.items.counts}
        frame = train.to_learn.frame
        rows = {"user": catalog.users.encode(frame["user_id"])}
        rows["item"] = catalog.items.encode(frame["item_id"])
        return {
            entity: np.bincount(of_entity, minlength=catalog.side(entity).vocabulary.size)
            for entity, of_entity in rows.items()
        }

    @abstractmethod
    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> TrainingBatches:
        """Makes the training batches.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.
            needs: what each row must bring, `model.needs()`.
            batch_size: rows of a batch.
            seed: same seed, same batches.

        Raises:
            ValueError: there is no pair to learn from.
        """

    @classmethod
    def unfit(cls, needs: Needs, item: str, windows: bool, graph: bool) -> str | None:
        """Why these positives do not go with a model; None where they do.

        Args:
            needs: what its rows must bring.
            item: whose rows its candidates are.
            windows: whether it takes segments with several positives a row.
            graph: whether it has a graph.
        """
        if cls.windows != windows:
            kinds = {True: "segments of sequences", False: "pairs"}
            return f"it learns from {kinds[windows]}, and {cls.__name__} gives {kinds[cls.windows]}"
        if cls.query not in (None, needs.query):
            return f"its queries are {needs.query}s, and those of {cls.__name__} {cls.query}s"
        if cls.item != item:
            return f"its candidates are {item}s, and those of {cls.__name__} {cls.item}s"
        if cls.walks and not graph:
            return f"it has no graph, and {cls.__name__} walks on one"
        if needs.history and not cls.gives_history:
            return f"its query tower needs histories, and {cls.__name__} gives none"
        if needs.labels and not cls.gives_labels:
            return f"its heads learn from columns of the log, and {cls.__name__} gives none"
        return None

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Positives":
        return cls(**config)
