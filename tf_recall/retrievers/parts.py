"""A model's parts as plain values and back; all of them share one item tower."""

from typing import Any

from tf_recall.features.sharing import deserialize, serialize, shared


def serialized(parts: dict) -> dict:
    """Describes a model's parts as plain values for its config.

    Parts that hold the item tower, such as a query tower over histories, refer to it.

    Args:
        parts: by argument; each a part or a list of parts.
    """
    parts = dict(parts)
    config = {}
    item_tower = parts.pop("item_tower", None)
    if item_tower is not None:
        config["item_tower"] = serialize(item_tower)
    with shared(item_tower=item_tower):
        for name, part in parts.items():
            many = isinstance(part, list)
            config[name] = [serialize(each) for each in part] if many else serialize(part)
    return config


def deserialized(config: dict) -> dict:
    """Makes the parts of a model's config: the inverse of `serialized`, among its arguments.

    Args:
        config: arguments by name; those that are serialized parts, or lists of them, are made.
    """
    parts = {name: value for name, value in config.items() if _is_part(value) and name != "dtype"}
    made = {}
    if "item_tower" in parts:
        made["item_tower"] = deserialize(parts.pop("item_tower"))
    with shared(item_tower=made.get("item_tower")):
        for name, part in parts.items():
            many = isinstance(part, list)
            made[name] = [deserialize(each) for each in part] if many else deserialize(part)
    return {**config, **made}


def unbuilt(config: Any) -> Any:
    """A serialized part, or several, without the sizes that they were built for."""
    if isinstance(config, dict):
        return {key: unbuilt(value) for key, value in config.items() if key != "build_config"}
    return [unbuilt(value) for value in config] if isinstance(config, list) else config


def _is_part(value):
    some = value[0] if isinstance(value, list) and value else value
    return isinstance(some, dict) and bool({"class_name", "shared"} & set(some))
