"""A plain endpoint for people: one user or item, JSON with sensible defaults, and why."""

import functools
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt, StrictStr

from tf_recall.data.ids import MISSING, raw_ids
from tf_recall.serving.backend import LARGEST, Asked, Backend
from tf_recall.serving.endpoint import encoded
from tf_recall.serving.refusal import Refusal, invalid, refusal_of
from tf_recall.serving.replies import failures, note, timeout_of
from tf_recall.serving.servable import DEFAULT, SIMILAR, endpoint_of
from tf_recall.serving.sources import Question

Id = Annotated[StrictStr | StrictInt, Field(description="As in the training data: text or integer")]
Ids = list[Id]
ITEMS, REASONS, COLUMNS = 10, 3, 50
WHO = {  # one of them at least, and what it must be
    "user_id": {"not": {"type": "null"}},
    "history": {"type": "array", "minItems": 1},
    "context": {"minProperties": 1},
}


class Wanted(BaseModel):
    """What is asked of a model."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str | None = Field(None, description="By default the only one that is served")
    version: int | None = Field(None, ge=1, le=LARGEST, description="By default the newest")
    label: str | None = Field(None, description="A version by its label")
    channel: str | None = Field(None, description="Of several channels one alone, not the merge")
    k: int | None = Field(None, ge=1, description="How many items; by default 10, or all there are")
    exclude: Ids = Field([], description="Items to leave out")
    allow: Ids = Field([], description="The only items to choose among; empty: all")
    context: dict[str, JsonValue] = Field(
        {}, description="Features by column; they override what is stored"
    )
    columns: list[str] = Field(
        [], max_length=COLUMNS, description="What to tell of each item, such as its title"
    )


class ForUser(Wanted):
    """A request for one user, known or not."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [name], "properties": {name: WHO[name]}} for name in WHO]
        }
    )

    user_id: Id | None = Field(None, description="Nobody known, if left out")
    history: Ids | None = Field(None, description="Items that the user took, the oldest first")
    exclude_seen: bool | None = Field(
        None, description="Leave out what the user has seen; by default true, if the model can"
    )
    explain: bool = Field(False, description="Say why of each item, if the model can")
    where: dict[str, JsonValue] = Field(
        {}, description="Conditions on the columns of the model's live store, all of which hold"
    )


class LikeItem(Wanted):
    """A request for what is like one item."""

    item_id: Id
    user_id: Id | None = Field(None, description="Who asks; for experiments, and nothing else")


class Found(BaseModel):
    """An item of an answer."""

    item_id: str | int
    score: float
    ranks: dict[str, int] | None = Field(None, description="Its ranks in the channels that have it")
    why: list[dict[str, Any]] | None = Field(None, description="What speaks for it")
    columns: dict[str, Any] | None = Field(None, description="What the table of items tells of it")


class Arm(BaseModel):
    """An arm of an experiment that the user is in."""

    layer: str
    bucket: int
    experiment: str
    arm: str


class Answer(BaseModel):
    """The items, the best first."""

    model: str
    version: int
    source: str = Field(description="Where it is from: model, list, vector or store")
    items: list[Found]
    unknown: dict[str, list[str | int]] = Field(
        {}, description="What of the request the model does not know"
    )
    experiments: list[Arm] | None = Field(None, description="The arms by which it was answered")


class Served(BaseModel):
    """A model that is served."""

    model: str
    version: int
    k: int = Field(description="The most items in an answer")
    answers: list[str]
    context: list[str] = Field(description="The features that a request for a user may bring")
    history: bool = Field(description="Whether a request may bring a history")
    channels: list[str]


def router(backend: Backend) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["For people"], responses=failures(400, 404, 503, 504))

    @routes.post("/recommend", response_model_exclude_none=True)
    async def recommend(wanted: ForUser, request: Request) -> Answer:
        """The k best items for a user, or for whoever took the items of `history`."""
        return await _answer(backend, wanted, request, _OfUser(wanted))

    @routes.post("/similar", response_model_exclude_none=True)
    async def similar(wanted: LikeItem, request: Request) -> Answer:
        """The k items most like an item."""
        return await _answer(backend, wanted, request, _OfItem(wanted))

    @routes.get("/models")
    async def models() -> list[Served]:
        """The models that are served, and what they take."""
        found = []
        for name in backend.models.names:
            with backend.models.lease(name) as servable:
                found.append(_served(servable, backend.limits))
        return found

    return routes


class _OfUser:
    """What is particular to `/recommend`."""

    signature = DEFAULT

    def __init__(self, wanted):
        self._wanted = wanted
        if wanted.user_id is None and not wanted.history and not wanted.context:
            raise invalid(f"say for whom: one of {', '.join(WHO)}")

    @property
    def plain(self):
        """Whether the request says nothing of the user but the id."""
        wanted = self._wanted
        return wanted.user_id is not None and wanted.history is None and not wanted.context

    def request(self, recommender):
        user, given = self._arguments(recommender)
        return recommender.request_for_users([user], **given)

    def check(self, items, unknown):
        pass

    def explains(self, recommender):
        return self._wanted.explain and recommender.explains

    def reasons(self, recommender, items):
        user, given = self._arguments(recommender)
        known = recommender.knows("item_id", raw_ids(items))  # a live store has others too
        return [
            recommender.explain(user, item, REASONS, **given) if knows else []
            for item, knows in zip(items, known, strict=True)
        ]

    def _arguments(self, recommender):
        wanted = self._wanted
        seen = wanted.exclude_seen
        if seen is None:
            seen = "exclude_seen" in recommender.filters
        given = {**_lists(wanted), **_context(wanted, recommender.query_columns)}
        if wanted.history is not None:
            given["history"] = wanted.history
        user = wanted.user_id
        if user is None:
            user = MISSING[recommender.id_types["user_id"]]
        return user, {"exclude_seen": seen, **given}


class _OfItem:
    """What is particular to `/similar`."""

    signature = SIMILAR

    def __init__(self, wanted):
        self._wanted = wanted

    def request(self, recommender):
        given = {**_lists(self._wanted), **_context(self._wanted, recommender.item_columns)}
        return recommender.request_for_items([self._wanted.item_id], **given)

    def check(self, items, unknown):
        if "item_id" in unknown and not items and not self._wanted.context:
            item = self._wanted.item_id
            raise invalid(f"item {item!r} is unknown, and the request brings no feature of it")

    def explains(self, recommender):
        return False


async def _answer(backend, wanted, http, particular):
    timeout = backend.timeout(timeout_of(http.headers))
    if wanted.version is not None and wanted.label is not None:
        raise invalid("a version is asked for by number or by label, not by both")
    asked = Asked(wanted.model or _only_one(backend.models.names), wanted.version, wanted.label)
    size = _checked_size(wanted, backend.limits)
    asked, merge, arms = _decided(backend, wanted, asked)
    if arms:
        note(http, user_id=wanted.user_id, experiments=arms)
    with backend.models.lease(asked.name, asked.version, asked.label) as servable:
        note(http, model=servable.name, version=servable.version)
        try:
            recommender, prefix = servable.answering(wanted.channel, merge)
            request, unknown = await backend.aside(size, _parsed, particular, recommender)
        except (ValueError, TypeError) as error:
            raise refusal_of(error) from None
        endpoint = endpoint_of(servable, prefix + particular.signature)
        most = min(recommender.k_max, backend.limits.k)
        k = min(ITEMS, most) if wanted.k is None else wanted.k
        if k > most:
            raise invalid(f"k must be a whole number from 1 to {most}; got {k}")
        if prefix and getattr(wanted, "where", None):
            raise invalid("where is for a model's live store; a channel or merge answers from none")
        if particular.signature == DEFAULT and not prefix:
            question = Question(
                servable, request, k, timeout, particular.plain, wanted.where, bool(wanted.allow)
            )
            outputs, source = await backend.sources.answer(question)
        else:
            arrays = {name: encoded(array) for name, array in request.arrays.items()}
            outputs, source = await servable.batcher.ask(endpoint, arrays, timeout, k), "model"
        items = _found(outputs, k, recommender.sources)
        particular.check(items, unknown)
        if particular.explains(recommender):
            ids = [each.item_id for each in items]
            reasons = functools.partial(particular.reasons, recommender, ids)
            for item, why in zip(items, await servable.batcher.run(reasons, timeout), strict=True):
                item.why = why
        note(http, source=source)
        if wanted.columns:
            await backend.away(_describe, backend, servable, items, wanted.columns)
    for arm in arms:
        backend.metrics.arms.labels(arm["experiment"], arm["arm"]).inc()
    return Answer(
        model=servable.name,
        version=servable.version,
        source=source,
        items=items,
        unknown=unknown,
        experiments=arms or None,
    )


def _decided(backend, wanted, asked):
    """What is asked for as experiments have it, the merge, and the arms that say so.

    A version or a label that the request names stands, as does a request of nobody.
    """
    user = wanted.user_id
    named = wanted.version is not None or wanted.label is not None
    if backend.plan is None or named or user is None or user in MISSING.values():
        return asked, None, []
    try:
        decision = backend.plan.decide(asked.name, user)
    except ValueError as error:
        raise refusal_of(error) from None
    target = decision.target
    arms = [vars(each) for each in decision.assigned]
    return Asked(target.model, target.version), target.merge, arms


def _describe(backend, servable, items, columns):
    try:
        told = backend.items_of(servable).about([each.item_id for each in items], columns)
    except ValueError as error:
        raise refusal_of(error) from None
    for item, each in zip(items, told, strict=True):
        item.columns = each


def _parsed(particular, recommender):
    """The request of a recommender, and what of it is unknown."""
    request = particular.request(recommender)
    return request, request.unknown()


def _only_one(names):
    if len(names) != 1:
        known = ", ".join(names) or "none"
        raise invalid(f"several models are served, or none: say which by model; there are: {known}")
    return names[0]


def _lists(wanted):
    return {name: getattr(wanted, name) for name in ("exclude", "allow") if getattr(wanted, name)}


def _context(wanted, columns):
    if unknown := sorted(set(wanted.context) - set(columns)):
        raise ValueError(
            f"the model takes no {', '.join(unknown)} in context; it takes: "
            f"{', '.join(sorted(columns)) or 'nothing'}"
        )
    return wanted.context


def _checked_size(wanted, limits):
    """About how many bytes the lists of a request are."""
    lengths = {
        name: len(getattr(wanted, name, None) or ()) for name in ("exclude", "allow", "history")
    }
    for name, length in lengths.items():
        if length > limits.ids:
            raise invalid(f"{name} has {length} ids; at most {limits.ids}")
    return 16 * sum(lengths.values())


def _found(outputs, k, sources):
    """The items of the only row, without padding."""
    scores = outputs["score"][0, :k]
    if np.isnan(scores).any():
        raise Refusal("INTERNAL", "the scores are NaN: the model has diverged")
    items = []
    for at in np.flatnonzero(scores > -np.inf):
        item = outputs["item_id"][0, at]
        item = item.decode() if isinstance(item, bytes) else int(item)
        items.append(Found(item_id=item, score=float(scores[at])))
        if sources:
            ranks = zip(sources, outputs["ranks"][0, at].tolist(), strict=True)
            items[-1].ranks = {name: rank for name, rank in ranks if rank}
    return items


def _served(servable, limits):
    recommender = servable.recommender
    answers = {"recommend": recommender.answers_users, "similar": recommender.answers_items}
    return Served(
        model=servable.name,
        version=servable.version,
        k=min(recommender.k_max, limits.k),
        answers=[name for name, does in answers.items() if does],
        context=sorted(recommender.query_columns),
        history=recommender.takes_history,
        channels=list(recommender.sources),
    )
