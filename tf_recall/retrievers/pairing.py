"""What goes with a model: positives, losses, item towers; the others are refused by name."""

import keras

from tf_recall.registry import REGISTRY, find, keywords
from tf_recall.towers.base import Tower


def check_positives(model: keras.Model) -> None:
    """Checks that a `Retriever` can learn from its positives.

    Raises:
        ValueError: it cannot; the message lists the positives that it can learn from.
    """
    ours = type(model.positives)
    contract = model.needs(), model.item_tower.entity, model.windows, model.has_graph
    why = ours.unfit(*contract)
    if why is None:
        return
    kinds = [find("positives", name) for name in REGISTRY["positives"]]
    fit = [kind.__name__ for kind in kinds if kind.unfit(*contract) is None]
    instead = f"take {' or '.join(fit)}" if fit else "no positives go with these towers"
    raise ValueError(f"{type(model).__name__} cannot learn from {ours.__name__}: {why}; {instead}")


def check_loss(model: keras.Model) -> None:
    """Checks that a `Retriever` can learn by its loss.

    Raises:
        ValueError: it cannot; the message lists the losses, or the samplers, that it can take.
    """
    loss = model.loss_fn
    loss.check_negatives(model.negatives)
    towers = model.query_tower, model.item_tower
    if loss.unit_length and not all(tower.normalize for tower in towers):
        raise ValueError(
            f"{type(loss).__name__} is of cosines, and the towers of this {type(model).__name__} "
            "give vectors of other lengths than 1: give both normalize=True, or take another loss"
        )
    if model.windows and not loss.several_positives:
        kinds = [find("loss", name) for name in REGISTRY["loss"]]
        several = [kind.__name__ for kind in kinds if kind.several_positives]
        raise ValueError(
            f"{type(model).__name__} has several positives a row: it learns by "
            f"{' or '.join(several)}, not by {type(loss).__name__}"
        )


def check_item_context(tower: Tower) -> None:
    """Checks that items can be encoded beforehand, without the context of an event.

    Raises:
        ValueError: the adapted item tower has a feature whose column comes with each event.
    """
    if context := tower.needs().context:
        raise ValueError(
            f"the item tower needs {context[0].name!r}, whose column comes with each event: items "
            "are encoded beforehand, so their columns must be in the items' side table"
        )


def check_heads(model: keras.Model) -> None:
    """Checks that a `Retriever`'s heads go with it, and have endpoints of their own.

    Raises:
        ValueError: they do not.
    """
    if model.predicts and "predicts" not in keywords(type(model)):
        kinds = [find("model", name) for name in REGISTRY["model"]]
        fit = [kind.__name__ for kind in kinds if "predicts" in keywords(kind)]
        raise ValueError(
            f"{type(model).__name__} takes no predicts: a head learns from rows of a user and an "
            f"item with columns of the log; take {', '.join(fit)}"
        )
    names = [head.endpoint for head in model.predicts]
    taken = {"serving_default", "similar_items", "similar_users", "embed_query", "embed_item"}
    for name in names:
        if name in taken or names.count(name) > 1:
            raise ValueError(
                f"predicts: the endpoint {name!r} is taken; give each head an endpoint of its own"
            )
    if names and model.query_tower.interests > 1:
        raise ValueError(
            f"predicts: {names[0]} goes with one vector a user, and the query tower of this "
            f"{type(model).__name__} gives {model.query_tower.interests}"
        )


def check_self_supervision(model: keras.Model) -> None:
    """Checks that a `Retriever`'s item tower has features of which views leave some out.

    Raises:
        ValueError: it has none.
    """
    if model.self_supervision is None:
        return
    why = model.self_supervision.unfit(model.feature_tower)
    if why is not None:
        names = [feature.name for feature in getattr(model.feature_tower, "features", ())]
        of_its_own = "item_tower" not in type(model).towers
        instead = "take TwoTower with" if of_its_own else "give it features, such as"
        raise ValueError(
            f"self_supervision: {why}, and the item tower of this {type(model).__name__} has "
            f"{', '.join(names) or 'none'}: {instead} item_tower: {{features: [id, {{name: text, "
            "column: title}], units: [64]}, or leave self_supervision out"
        )
