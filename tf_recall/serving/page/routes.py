"""What the page asks beside `/recommend` and `/similar`: who and what there is, maps, figures."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from tf_recall.serving.backend import LARGEST, Backend
from tf_recall.serving.page import files
from tf_recall.serving.page.colors import columns_of
from tf_recall.serving.page.maps import Maps, packed
from tf_recall.serving.page.users import Users, history, parsed
from tf_recall.serving.page.versions import described, served
from tf_recall.serving.refusal import Refusal, invalid, refusal_of

MOST = 20  # found in a search
Model = Annotated[str, Query(max_length=500)]
Version = Annotated[int | None, Query(ge=1, le=LARGEST)]
Text = Annotated[str, Query(max_length=500)]
Side = Annotated[float, Query(allow_inf_nan=False)]


class Titles(BaseModel):
    """Which items' titles are asked for."""

    model_config = ConfigDict(extra="forbid")

    model: str
    version: int | None = Field(None, ge=1, le=LARGEST)
    ids: list[StrictStr | StrictInt] = Field(max_length=1000)


def router(backend: Backend) -> APIRouter:
    """The routes, those of the page's files among them."""
    routes = APIRouter(include_in_schema=False)
    files.add(routes)
    _add_choices(routes, backend)
    _add_people(routes, backend)
    _add_map(routes, backend, Maps(backend))
    return routes


def _add_choices(routes, backend):
    @routes.get("/ui/api/models")
    async def models() -> list[dict[str, Any]]:
        """The versions that are served, and what each takes."""
        found = [await backend.away(described, backend, *each) for each in served(backend)]
        return [each for each in found if each is not None]

    @routes.get("/ui/api/metrics")
    async def metrics(model: Model, version: Version = None) -> dict[str, Any]:
        """How good a version is, as its export says."""
        with backend.models.lease(model, version) as servable:
            return servable.metrics


def _add_people(routes, backend):
    users = Users()

    @routes.get("/ui/api/users")
    async def find_users(model: Model, q: Text = "", version: Version = None) -> dict[str, Any]:
        """Users by a part of their id."""
        with backend.models.lease(model, version) as servable:
            return await backend.away(users.find, servable, q, MOST)

    @routes.get("/ui/api/user")
    async def user(model: Model, id: Text, version: Version = None) -> dict[str, Any]:
        """What a user did."""
        with backend.models.lease(model, version) as servable:
            items = await backend.away(backend.items_of, servable)
            return await backend.away(history, servable.recommender, items, id)

    @routes.post("/ui/api/titles")
    async def titles(wanted: Titles) -> dict[str, Any]:
        """What items are called."""
        with backend.models.lease(wanted.model, wanted.version) as servable:
            items = await backend.away(backend.items_of, servable)
            return {"titles": await backend.away(_titles, items, wanted.ids)}

    @routes.get("/ui/api/items")
    async def find_items(model: Model, q: Text = "", version: Version = None) -> dict[str, Any]:
        """Items by words of their title, or a part of their id."""
        with backend.models.lease(model, version) as servable:
            items = await backend.away(backend.items_of, servable)
            return await backend.away(_found, items, q)


def _add_map(routes, backend, maps):
    async def drawing(model, version):
        with backend.models.lease(model, version) as servable:
            found = await maps.of(servable)
        if found.error:
            raise invalid(f"there is no map: {found.error}")
        return found

    async def drawn(model, version):
        found = await drawing(model, version)
        if found.map is None:
            raise Refusal("UNAVAILABLE", "the map is being drawn")
        return found

    @routes.get("/ui/api/map")
    async def about(model: Model, version: Version = None) -> dict[str, Any]:
        """How far the map is, and what it may be colored by."""
        found = await drawing(model, version)
        if found.map is None:
            return {"share": found.share}
        columns = await backend.away(columns_of, found.items)
        drawn = found.map
        return {"share": 1, "points": len(drawn), "bounds": drawn.bounds, "columns": columns}

    @routes.get("/ui/api/map/colors")
    async def colors(model: Model, by: Text, version: Version = None) -> dict[str, Any]:
        """The groups that a column colors items by."""
        found = await backend.away((await drawn(model, version)).colors_by, by)
        return {"labels": found.labels, "ordered": found.ordered}

    @routes.get("/ui/api/map/points")
    async def points(
        model: Model,
        x0: Side,
        x1: Side,
        y0: Side,
        y1: Side,
        color: Text = "",
        version: Version = None,
    ) -> Response:
        """The points of a rectangle, as `packed` says."""
        found = await drawn(model, version)
        body = await backend.away(packed, found, (x0, x1, y0, y1), color)
        return Response(body, media_type="application/octet-stream")

    @routes.get("/ui/api/map/item")
    async def of_row(model: Model, row: int, version: Version = None) -> dict[str, Any]:
        """What stands at a point of the map."""
        found = await drawn(model, version)
        if not 0 <= row < len(found.items):
            raise invalid(f"there is no row {row} of items; rows go to {len(found.items) - 1}")
        return await backend.away(_told, found.items, row)

    @routes.get("/ui/api/item")
    async def item(model: Model, id: Text, version: Version = None) -> dict[str, Any]:
        """What is known of an item, and where it stands on the map once that is drawn."""
        with backend.models.lease(model, version) as servable:
            kind = servable.recommender.id_types["item_id"]
            items = await backend.away(backend.items_of, servable)
            own_id = parsed(id, kind, "item")
            (row,) = await backend.away(items.rows, [own_id])
            if row < 0:
                return {"id": own_id, "known": False, "columns": {}}
            told, place = await backend.away(_told, items, int(row)), maps.place(servable, int(row))
            return {**told, "known": True, "at": place}


def _titles(items, ids):
    try:
        return items.titles(ids)
    except (TypeError, ValueError) as error:
        raise refusal_of(error) from None


def _found(items, text):
    rows, total = items.find(text, MOST)
    ids = items.ids[rows]
    pairs = zip(ids.tolist(), items.titles(ids), strict=True)
    return {"total": total, "found": [{"id": each, "title": title} for each, title in pairs]}


def _told(items, row):
    (own_id,) = items.ids[[row]].tolist()
    columns = items.about([own_id], items.columns)[0]
    events = None if items.counts is None else int(items.counts[row])
    return {"id": own_id, "title": columns.get(items.title), "columns": columns, "events": events}
