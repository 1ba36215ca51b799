"""The length of a model's vectors, where it is not one argument: towers that must end in one."""

from tf_recall.registry import find, keywords
from tf_recall.tuning.places import Place


def size_places(model: dict, at: Place) -> tuple[list[Place], list[Place]]:
    """Where the length of the vectors stands in a model's values.

    The two towers of a model end in one length, so what decides it is searched as one value:
    a tower's last layer, the number of its factors, or the `dim` of its feature or features.

    Args:
        model: the model's values, with its towers.
        at: where the model is.

    Returns:
        The places that take the length; none where no single number decides it. And the places that
        must not vary by themselves.
    """
    sized, bound = [], []
    decided = True
    for key in find("model", model["name"]).towers:
        tower = model.get(key)
        if not isinstance(tower, dict) or "features" not in tower:  # it has the items' length
            continue
        own, held = _of_tower(tower, (*at, key))
        sized += own
        bound += held
        decided = decided and bool(own)
    for key in ("dim", "num_factors"):  # the model's own, which must agree with its towers
        if model.get(key) is not None:
            sized.append((*at, key))
    return (sized if decided else []), [*sized, *bound]


def _of_tower(tower, at):
    """The places of a tower that take its length, and those that must not vary."""
    takes = keywords(find("tower", tower["name"]))
    features = [
        (*at, "features", number, "dim")
        for number, feature in enumerate(tower["features"])
        if "dim" in keywords(find("feature", name_of(feature)))
    ]
    if "num_factors" in takes:  # the features' own length does not count
        return [(*at, "num_factors")], features
    if tower.get("units"):
        return [(*at, "units", len(tower["units"]) - 1)], []
    if "units" not in takes:  # a mean: all of one length
        return features, []
    alone = len(tower["features"]) == 1
    return (features if alone else []), features


def name_of(part: dict | str) -> str:
    """The name of a part, written out or not."""
    return part if isinstance(part, str) else part["name"]
