"""Training of users alone: the vectors of user ids learn, and nothing else does."""

import contextlib
from collections.abc import Iterator

import keras

from tf_recall.features.words import Id
from tf_recall.retrievers.base import Retriever


def user_tables(model: Retriever) -> list[keras.Variable]:
    """The vectors of user ids, on which no item's vector depends.

    Raises:
        ValueError: the model has none.
    """
    tower = model.query_tower
    features = (
        [] if model.has_graph or tower is model.item_tower else getattr(tower, "features", [])
    )
    tables = [each.table.embeddings for each in features if isinstance(each, Id)]
    if tower.entity != "user" or not tables:
        raise ValueError(
            f"{type(model).__name__} has no vectors of user ids that train by themselves: "
            "an update of everything, without --incremental, learns new events; where the model "
            "takes a history, a request may bring it meanwhile"
        )
    return tables


@contextlib.contextmanager
def only(model: Retriever, tables: list[keras.Variable]) -> Iterator[None]:
    """Within, only some variables of a compiled model are trained."""
    kept = {id(each) for each in tables}
    frozen = [each for each in model.trainable_variables if id(each) not in kept]
    for each in frozen:
        each.trainable = False
    try:
        yield
    finally:
        for each in frozen:
            each.trainable = True
