"""Several indexes over parts of the items, which answer as one."""

import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1
from tf_recall.index import default_index
from tf_recall.index.base import Index
from tf_recall.index.recall import Truth
from tf_recall.registry import REGISTRY, find, part


class Sharded(Index):
    """Asks an index over each part of the items, and merges their answers by score.

        part s holds the items from V * s / shards on;  the k best of all parts' k best

    None of the k best is lost by the merge: an item is as far up in its own part as in the whole,
    or further. So shards of `Exact` answer what one does, and those of `IVF` find at least what
    each of them finds. This is how items beyond one machine are served, a part on each; here all
    parts are in one graph.

    Args:
        shards: how many parts, of nearly one size; where there are fewer items, as many as these.
        of: an empty index, whose settings those of the parts are; None: what suits their size.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
        >>> scores, positions = Sharded(4, of=Exact()).build(vectors).search(vectors[:2], k=10)
    """

    min_recall = 0.0  # the parts keep theirs, and say where they do not

    def __init__(self, shards: WholeFrom1 = 4, of: Index | None = None) -> None:
        super().__init__()
        if shards < 1:
            raise ValueError(f"shards must be 1 or more, got {shards}")
        self.shards = shards
        self.of = of

    def get_config(self) -> dict:
        of = None
        if self.of is not None:
            names = (name for name in REGISTRY["index"] if find("index", name) is type(self.of))
            of = {"name": next(names), **self.of.get_config()}
        return {"shards": self.shards, "of": of}

    @classmethod
    def from_config(cls, config: dict) -> "Sharded":
        of = config["of"] and part("index", config["of"])
        return cls(config["shards"], of)

    def _store(self, vectors, queries):
        parts = np.array_split(vectors, min(self.shards, len(vectors)))
        self.starts = np.cumsum([0, *map(len, parts)]).tolist()
        self.parts = [self._empty(len(own)).build(own, queries) for own in parts]
        self.recall = Truth(vectors, queries).measure(self)

    def _empty(self, num_items):
        if self.of is None:
            return default_index(num_items)
        return type(self.of).from_config(self.of.get_config())

    def vectors_at(self, positions: np.ndarray | tf.Tensor) -> tf.Tensor:
        positions = tf.convert_to_tensor(positions, tf.int32)
        found = self.parts[0].vectors_at(tf.minimum(positions, self.starts[1] - 1))
        for index, start in zip(self.parts[1:], self.starts[1:], strict=False):
            own = tf.clip_by_value(positions - start, 0, index.num_items - 1)
            found = tf.where((positions >= start)[..., None], index.vectors_at(own), found)
        return found

    def find(
        self, queries: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        found = []
        for index, start in zip(self.parts, self.starts, strict=False):
            own = None
            if exclude is not None:
                own = tf.where(exclude < start + index.num_items, exclude - start, -1)
                own = tf.maximum(own, -1)
            scores, positions = index.find(queries, k, own)
            found.append((scores, positions + start))
        scores, positions = (tf.concat(each, axis=1) for each in zip(*found, strict=True))
        scores, order = tf.math.top_k(scores, k)  # of equal scores the lower position first
        return scores, tf.gather(positions, order, batch_dims=1)

    def __str__(self):
        return f"Sharded({self.num_items:,} vectors in {len(self.parts)} parts, {self.parts[0]})"
