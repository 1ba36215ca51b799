"""A trained model over more users and items: what it has learned stays, and it can train on."""

import keras
import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.features.base import Feature
from tf_recall.features.embedding import RowEmbedding
from tf_recall.features.growing import extended, growing
from tf_recall.retrievers.keras_hooks import (
    inner_optimizers,
    single_states,
    slots_of,
    sublayers,
    trained_by,
)
from tf_recall.retrievers.parts import deserialized, unbuilt
from tf_recall.retrievers.rowwise import RowwiseOptimizer
from tf_recall.towers.base import Tower

Origins = dict[int, np.ndarray]  # of the rows of a variable, by its id


def grown(model: keras.Model, train: Interactions, catalog: Catalog) -> keras.Model:
    """A model of the same recipe over a catalog that has grown; see `Retriever.grown`.

    It is made anew of the model's config and adapts to the grown catalog, each feature and tower
    going on from the model's own. Then all that was trained is copied, row by row where rows are
    more. A setting that the model took from its data, such as the temperature, stays as it is.

    Args:
        model: a `Retriever`.
        train, catalog: as of `Retriever.grown`.
    """
    _check(model, catalog)
    new = type(model)(**deserialized(unbuilt(model.get_config())))
    with growing(list(zip(_learning(new), _learning(model), strict=True))):
        new.adapt(train, catalog)
    origins = _carry(new, model, catalog.origin.moved)
    new.begin_after(model)
    if model.compiled:
        new.compile_from_config(model.get_compile_config())
        if model.optimizer.built:
            carry_optimizer(new.optimizer, model.optimizer, origins)
    new.origins = origins
    new.refresh()
    return new


def carry_optimizer(
    new: keras.optimizers.Optimizer, old: keras.optimizers.Optimizer, origins: Origins
) -> None:
    """Copies an optimizer's state; the slots of new rows stay as a new optimizer has them.

    The learning rate stays that of the new one.

    Args:
        new, old: two of one class, built for a grown model and for the model that it goes on from.
        origins: of the rows of the grown model's variables, `Retriever.origins`.

    Raises:
        ValueError: they are of two classes.
    """
    if type(new) is not type(old):
        raise ValueError(
            f"the state of {type(old).__name__} is none of {type(new).__name__}: keep the "
            "optimizer, or begin anew"
        )
    for inner, known in zip(inner_optimizers(new), inner_optimizers(old), strict=True):
        carry_optimizer(inner, known, origins)
    for now, before in zip(single_states(new), single_states(old), strict=True):
        now.assign(before)
    if isinstance(new, RowwiseOptimizer):
        new.begin_decays()
    for slots, known in zip(slots_of(new), slots_of(old), strict=True):
        for slot, before, variable in zip(slots, known, trained_by(new), strict=True):
            if slot is not None:
                _copy(slot, before, origins.get(id(variable)), mean=False)


def _check(model, catalog):
    name = type(model).__name__
    if not model.built:
        raise ValueError(f"this {name} has learned nothing yet: adapt it, and train it")
    if catalog.origin is None:
        raise ValueError(
            f"{name}.grown takes the grown catalog: catalog.grown(interactions) of the one that "
            "the model was trained on"
        )
    check_same(f"this {name}", model.item_tower.identity, catalog.origin.identity)


def _learning(model):
    """The parts that learn from a catalog, in an order that two models of one recipe share."""
    return [each for each in sublayers(model) if isinstance(each, Tower | Feature)]


def _with_state(model):
    """The layers that have rows, or other state that is not trained."""
    found = [each for each in sublayers(model) if hasattr(each, "by_row") or _carried(each)]
    return [each for each in found if each.built]


def _carried(layer):
    """The names of the layer's state that is neither trained nor made of a catalog."""
    names = getattr(layer, "carried", ())
    return [name for name in names if hasattr(layer, name)]


def _carry(new, old, moved) -> Origins:
    """Copies what was trained, and the state of draws and estimates."""
    origins: Origins = {}
    for now, before in zip(_with_state(new), _with_state(old), strict=True):
        if hasattr(now, "by_row"):
            for (variable, origin), (known, _) in zip(now.by_row(), before.by_row(), strict=True):
                if origin is not None:
                    origins[id(variable)] = origin
                if not variable.trainable:
                    _copy(variable, known, origin)
        if moved and getattr(now, "of_rows", False):
            continue  # what rows mean has changed: it begins anew
        for name in _carried(now):
            getattr(now, name).assign(getattr(before, name))
    usual = {id(each.embeddings) for each in sublayers(new) if _learns_unknown(each)}
    for now, before in zip(new.trainable_variables, old.trainable_variables, strict=True):
        _copy(now, before, origins.get(id(now)), unknown=id(now) in usual)
    return origins


def _learns_unknown(layer):
    return isinstance(layer, RowEmbedding) and layer.learns_unknown


def _copy(variable, known, origin, mean=True, unknown=False):
    if origin is None:
        if variable.shape != known.shape:
            raise ValueError(
                f"{known.path} has {known.shape}, and of the grown catalog {variable.shape}: "
                "nothing says which rows are which"
            )
        variable.assign(known)
        return
    start = variable.numpy()
    if mean:
        variable.assign(extended(known.numpy(), origin, start, unknown))
    else:
        rows = np.flatnonzero(origin)
        start[rows], start[0] = known.numpy()[origin[rows]], known.numpy()[0]
        variable.assign(start)
