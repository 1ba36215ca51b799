"""The maps of versions: each made once, aside, when somebody first asks."""

import asyncio
import struct
import weakref
from dataclasses import dataclass, field

from tf_recall.data.errors import one_line
from tf_recall.serving.backend import Backend
from tf_recall.serving.items import Items
from tf_recall.serving.page.colors import Colors, colors_of
from tf_recall.serving.page.projection import ItemMap, points_of
from tf_recall.serving.refusal import invalid
from tf_recall.serving.servable import Servable

COLORED = 8  # columns whose colors are kept for a version


@dataclass
class Drawing:
    """A map that is being made, or is made.

    Attributes:
        share: how much of the work is done.
        map: the map; None until it is made.
        error: why there is none.
    """

    items: Items
    share: float = 0.0
    map: ItemMap | None = None
    error: str = ""
    colors: dict[str, Colors] = field(default_factory=dict)

    def colors_by(self, name: str) -> Colors:
        """The items' colors by a column.

        Raises:
            Refusal: items cannot be colored by it.
        """
        if name not in self.colors:
            try:
                found = colors_of(self.items, name)
            except ValueError as error:
                raise invalid(str(error)) from None
            while len(self.colors) >= COLORED:
                self.colors.pop(next(iter(self.colors)), None)
            self.colors[name] = found
            return found
        return self.colors[name]


class Maps:
    """The maps of a server.

    Args:
        backend: whose versions are drawn. What is being drawn when it stops is given up.
    """

    def __init__(self, backend: Backend):
        self._backend = backend
        self._one = asyncio.Lock()  # at a time: it takes a core, and memory
        self._drawings: weakref.WeakKeyDictionary[Servable, Drawing] = weakref.WeakKeyDictionary()
        self._tasks: set[asyncio.Task] = set()

    async def of(self, servable: Servable) -> Drawing:
        """A version's map, which is begun where it is not yet."""
        if servable not in self._drawings:
            items = await self._backend.away(self._backend.items_of, servable)
            if servable not in self._drawings:
                self._drawings[servable] = drawing = Drawing(items)
                task = asyncio.create_task(self._draw(servable.recommender, drawing))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return self._drawings[servable]

    def place(self, servable: Servable, row: int) -> list[float] | None:
        """Where an item stands; None where the map is not made, or does not have it."""
        drawing = self._drawings.get(servable)
        if drawing is None or drawing.map is None or drawing.map.place[row] < 0:
            return None
        at = drawing.map.place[row]
        return [float(drawing.map.x[at]), float(drawing.map.y[at])]

    async def _draw(self, recommender, drawing):
        def goes_on(share):
            drawing.share = share
            if not self._backend.ready:
                raise ValueError("the server stops")

        def make():
            return ItemMap(points_of(recommender, goes_on))

        loop = asyncio.get_running_loop()
        async with self._one:
            try:
                drawing.map = await loop.run_in_executor(None, make)
                drawing.share = 1.0
            except Exception as error:  # whatever it is, the others go on
                drawing.error = one_line(error)[:500]


def packed(drawing: Drawing, corners: tuple[float, float, float, float], color: str) -> bytes:
    """The points of a rectangle for the browser, all little-endian.

        uint32 n, uint32 total; float32 x[n]; float32 y[n]; uint32 row[n]; uint8 group[n]

    Args:
        drawing: a map that is made.
        corners: x from and to, y from and to.
        color: a column; "" for one color.

    Raises:
        Refusal: items cannot be colored by it.
    """
    drawn = drawing.map
    window = drawn.window(*corners)
    row = drawn.row[window.at]
    group = drawing.colors_by(color).group[row] if color else bytes(len(row))
    parts = [
        drawn.x[window.at].astype("<f4"),
        drawn.y[window.at].astype("<f4"),
        row.astype("<u4"),
        group,
    ]
    head = struct.pack("<II", len(row), window.total)
    return head + b"".join(bytes(memoryview(each)) for each in parts)
