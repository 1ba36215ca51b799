"""Whether there is anything to learn, asked before training: a loss of 0 says nothing by itself."""

import logging

import keras
import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.graph.typed import TypedGraph
from tf_recall.positives.base import TrainingBatches

log = logging.getLogger("tf_recall")


def check_catalog(model: keras.Model, catalog: Catalog) -> None:
    """Checks that a negative can differ from its positive.

    Args:
        model: a `Retriever`.
        catalog: with the positives' counts.

    Raises:
        ValueError: there is one item; or one positive, where negatives are positives of the batch.
    """
    entity = model.item_tower.entity
    vocabulary = catalog.side(entity).vocabulary
    if vocabulary.size - 1 < 2:
        raise ValueError(
            f"there is nothing to learn: the catalog has {vocabulary.size - 1} {entity}, and a "
            "model learns to tell at least 2 apart"
        )
    positives = np.count_nonzero(vocabulary.counts[1:])
    if not positives:
        raise ValueError(
            f"there is nothing to learn: no {entity} is ever a positive by "
            f"{type(model.positives).__name__}{model.positives.get_config()}"
        )
    if model.negatives.other_rows_only and positives < 2:
        raise ValueError(
            f"there is nothing to learn: {positives} {entity} is ever a positive, and the "
            f"negatives of {type(model.negatives).__name__} are the other rows': use Uniform"
        )


def check_batches(model: keras.Model, batches: TrainingBatches) -> None:
    """Checks that the rows of a batch have negatives.

    Raises:
        ValueError: a batch is one row, and negatives come from the other rows.
    """
    if model.negatives.other_rows_only and batches.batch_size < 2:
        raise ValueError(
            f"batches of {batches.batch_size} row teach nothing: the negatives of "
            f"{type(model.negatives).__name__} are the positives of the other rows: give a "
            "batch_size of 2 or more, and as much data, or use Uniform"
        )


def tell_of_weights(model: keras.Model, train: Interactions) -> None:
    """Warns of weights in the log that a `Retriever` does not heed.

    Args:
        model: a `Retriever`.
        train: the training `Interactions`.
    """
    if "weight" in train.frame and not (model.positives.weighs or model.has_graph):
        log.warning(
            "the interactions have weights, and %s learns from %s, which have none: every pair "
            "counts alike",
            type(model).__name__,
            type(model.positives).__name__,
        )


def check_edges(graph: TypedGraph) -> None:
    """Checks that a graph has edges.

    Raises:
        ValueError: it has none.
    """
    if not any(relation.graph.num_edges for relation in graph.relations):
        kinds = " or ".join(f"from {each.of} to {each.near}" for each in graph.relations)
        raise ValueError(
            f"there is nothing to learn: the graph has no edges {kinds}; no two nodes follow one "
            "another, or all weights are 0"
        )


def check_rows(graph: TypedGraph, catalog: Catalog) -> None:
    """Checks that the users and items of a graph are those of a catalog.

    Raises:
        ValueError: they are others.
    """
    for of_type, vocabulary in graph.vocabularies.items():
        if of_type in ("user", "item"):
            check_same("the graph", {f"{of_type}s": vocabulary.digest}, catalog.identity)


def check_graph(graph: TypedGraph | None) -> None:
    """Checks that a model over a graph has one.

    Raises:
        ValueError: it was loaded, and graphs are not saved.
    """
    if graph is None:
        raise ValueError(
            "the model has no graph: adapt it, or attach interactions to it, in this process"
        )
