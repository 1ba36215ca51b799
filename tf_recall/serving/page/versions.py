"""The versions that are served, and what the page may ask of each."""

from typing import Any

from tf_recall.recommend.base import Recommender
from tf_recall.serving.backend import Backend
from tf_recall.serving.models import State
from tf_recall.serving.refusal import Refusal


def served(backend: Backend) -> list[tuple[str, int]]:
    """The models and versions that answer: by name, of each the newest first."""
    found = []
    for name in sorted(backend.models.names):
        try:
            status = backend.models.status(name)
        except Refusal:  # it went just now
            continue
        ready = [each for each in status.model_version_status if each.state == State.AVAILABLE]
        found += [(name, each.version) for each in ready]
    return found


def described(backend: Backend, name: str, version: int) -> dict[str, Any] | None:
    """What a version is and takes; None where it went just now."""
    try:
        with backend.models.lease(name, version) as servable:
            recommender, items = servable.recommender, backend.items_of(servable)
            catalog = recommender.catalog
            return {
                "model": name,
                "version": version,
                "items": len(items),
                "users": None if catalog is None else catalog.users.size - 1,
                "title": items.title,
                "user_ids": recommender.id_types["user_id"],
                "columns": items.columns,
                "metrics": bool(servable.metrics),
                **_answers(recommender, backend.limits.k),
                "channels": [
                    {"name": each, **_answers(channel, backend.limits.k)}
                    for each, channel in getattr(recommender, "channels", {}).items()
                ],
            }
    except Refusal:
        return None


def _answers(recommender: Recommender, most):
    return {
        "k": min(recommender.k_max, most),
        "recommends": recommender.answers_users,
        "similar": recommender.answers_items,
        "explains": recommender.explains,
        "history": recommender.takes_history,
        "seen": "exclude_seen" in recommender.filters,
        "context": {
            name: "text" if spec.dtype.name == "string" else "number"
            for name, spec in recommender.query_columns.items()
            if spec.shape.rank == 1
        },
    }
