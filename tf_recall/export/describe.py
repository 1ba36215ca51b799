"""Parts as a config names them: what an export keeps of those that are not Keras's."""

from typing import Any

from tf_recall.registry import PARTS, REGISTRY, find, keywords


def described(kind: str, part: Any) -> dict:
    """Describes a part as a config names it, `{name: ..., **its arguments}`: the inverse of `part`.

    The part must keep each argument in an attribute of the same name.

    Args:
        kind: a key of `REGISTRY`.
        part: a part of that kind; parts among its arguments are described too.

    Raises:
        ValueError: the part's class is not registered among those of its kind.

    Example:
        >>> described("loss", SampledSoftmax(0.1))
        {'name': 'sampled_softmax', 'temperature': 0.1}
    """
    title = type(part).__name__
    names = [name for name, home in REGISTRY[kind].items() if home.endswith(f":{title}")]
    names = [name for name in names if find(kind, name) is type(part)]
    if not names:
        raise ValueError(f"{title} is no registered {kind}; there are: {', '.join(REGISTRY[kind])}")
    arguments = [
        key for key in keywords(type(part)) if key != "name"
    ]  # the part's own, in a config
    return {"name": names[0], **{key: _plain(key, getattr(part, key)) for key in arguments}}


def _plain(key, value):
    """An argument as a config has it: the parts in it described, Keras's own lists made plain."""
    if isinstance(value, list | tuple):
        return [_plain(key, each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(None, each) for name, each in value.items()}
    if key not in PARTS or isinstance(value, bool | int | float | str | None):
        return value
    return described(PARTS[key], value)
