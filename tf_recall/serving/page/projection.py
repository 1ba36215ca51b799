"""Items in two dimensions, and of a window of them as many points as a browser draws."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import normalize

from tf_recall.data.catalog import Catalog
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.embedding import EmbeddingRecommender

POINTS = 20_000  # in an answer
SAMPLE = 50_000  # items that the two directions are found on
BLOCK = 4096  # items embedded at once
CELLS = 128  # a side of the grid by which points are thinned out


@dataclass(frozen=True)
class Window:
    """Points in a rectangle: positions in a map, and how many there are in all."""

    at: np.ndarray
    total: int


class ItemMap:
    """Points of items, ordered so that the first of any rectangle stand for all in it.

    First comes one of each cell of a grid, then a second one of each, and so on, in each round at
    random: so a thinned-out map keeps its outline, and who zooms in sees the same points and more.

    Args:
        points: `[V, 2]`, by row of the item; what is not finite is drawn nowhere.

    Attributes:
        x, y: float32, in that order; `row`: uint32, whose points they are.
        place: `[V]`, the place of each item in it; -1 where it has none.
    """

    def __init__(self, points: np.ndarray):
        points = np.asarray(points, np.float32)
        there = np.flatnonzero(np.isfinite(points).all(axis=1))
        order = there[_spread(points[there])]
        self.x, self.y = points[order, 0].copy(), points[order, 1].copy()
        self.row = order.astype(np.uint32)
        self.place = np.full(len(points), -1, np.int32)
        self.place[order] = np.arange(len(order))

    def __len__(self) -> int:
        return len(self.row)

    @property
    def bounds(self) -> list[float]:
        """The least and largest x, then y."""
        if not len(self):
            return [0.0, 1.0, 0.0, 1.0]
        return [float(each) for side in (self.x, self.y) for each in (side.min(), side.max())]

    def window(self, x0: float, x1: float, y0: float, y1: float, most: int = POINTS) -> Window:
        """The points in a rectangle, at most so many."""
        inside = (self.x >= x0) & (self.x <= x1) & (self.y >= y0) & (self.y <= y1)
        at = np.flatnonzero(inside)
        return Window(at[:most], len(at))


def points_of(recommender: Recommender, goes_on: Callable[[float], None]) -> np.ndarray:
    """Each item's point `[V, 2]`: the two directions in which the items' vectors differ most.

    Of several channels the first with vectors counts. Where none has any, the vectors are the users
    that took an item, and the directions those after the first, which is popularity.

    Args:
        recommender: whose items.
        goes_on: is told what share is done, and may raise to stop.

    Raises:
        ValueError: there is nothing to tell items apart by.
    """
    channels = getattr(recommender, "channels", {"": recommender})
    embeds = [each for each in channels.values() if isinstance(each, EmbeddingRecommender)]
    if embeds:
        catalog = recommender.catalog
        ids = embeds[0].item_ids if catalog is None else catalog.items.ids
        return _of_vectors(embeds[0].embed_item, ids, goes_on)
    if recommender.catalog is None or not len(recommender.catalog.histories.items):
        raise ValueError("this version has neither vectors nor histories to draw a map of")
    return _of_histories(recommender.catalog, goes_on)


def _of_vectors(embed, ids, goes_on):
    some = np.unique(np.linspace(0, len(ids) - 1, SAMPLE).astype(int))
    sample = np.concatenate([embed(ids[some[at]]) for at in _blocks(len(some), goes_on, 0, 0.1)])
    sample = sample[np.isfinite(sample).all(axis=1)]
    num = min(2, *sample.shape)
    points = np.zeros((len(ids), 2), np.float32)
    if len(sample) < 2:
        return points
    pca = PCA(num, svd_solver="covariance_eigh").fit(sample)
    for at in _blocks(len(ids), goes_on, 0.1, 0.95):
        vectors = embed(ids[at])
        points[at, :num] = (vectors - pca.mean_) @ pca.components_.T
    return points


def _of_histories(catalog: Catalog, goes_on):
    histories, count = catalog.histories, catalog.items.size - 1
    pairs = histories.items - 1, histories.users
    took = sparse.coo_array((np.ones(len(pairs[0]), np.float32), pairs)).tocsr()
    took.resize(count, took.shape[1])
    goes_on(0.3)
    took.data[:] = 1
    num = min(3, *took.shape)
    found = TruncatedSVD(num, random_state=0).fit_transform(normalize(took))
    points = np.zeros((count, 2), np.float32)
    points[:, : max(0, num - 1)] = found[:, 1:]
    goes_on(0.95)
    return points


def _blocks(count, goes_on, begin, end) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        goes_on(begin + (end - begin) * start / count)
        yield slice(start, start + BLOCK)


def _spread(points):
    """An order: one of each cell of a grid, then a second of each, each time at random."""
    if not len(points):
        return np.zeros(0, int)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = np.where(high > low, CELLS / np.maximum(high - low, 1e-30), 0)
    cell = np.minimum(((points - low) * scale).astype(np.int64), CELLS - 1) @ [CELLS, 1]
    drawn = np.random.default_rng(0).permutation(len(points))
    by_cell = drawn[np.argsort(cell[drawn], kind="stable")]
    sizes = np.unique(cell, return_counts=True)[1]
    nth = np.empty(len(points), np.int64)
    nth[by_cell] = np.arange(len(points)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return drawn[np.argsort(nth[drawn], kind="stable")]
