"""The steps of layer-by-layer inference: nodes send messages, and aggregate those they receive."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.utils.shared import Shared

from tf_recall.beam import tables
from tf_recall.beam.layers import Layer, load_layers
from tf_recall.beam.partial import Edges, Nodes, Pool, Sums, merged, positions, shards, summed
from tf_recall.beam.runs import counter
from tf_recall.graph.layerwise import combined

EDGES_AT_ONCE = 2**19  # read by a worker, and summed: up to as many sums, of M float64 each


class ReadNodes(beam.DoFn):
    """Blocks of a table of nodes -> `(shard, Nodes)`."""

    def __init__(self, title: str, rows_at_once: int, num_shards: int):
        self._title = title
        self._rows = rows_at_once
        self._num_shards = num_shards

    def process(self, block):
        for batch in block.batches(["row", "vector"], self._rows):
            rows = tables.numbers(batch.column("row"), "row", self._title, np.int64)
            vectors = tables.vectors(batch.column("vector"), self._title)
            for shard, at in shards(rows, self._num_shards):
                yield shard, Nodes(rows[at], vectors[at])


class ReadEdges(beam.DoFn):
    """Blocks of a table of edges -> `(shard of the targets, Edges)`."""

    def __init__(self, table: tables.Table, num_shards: int):
        self._title = table.title
        self._num_shards = num_shards
        names = ("source", "target", "weight")
        self._columns = [name for name in names if name in table.schema.names]
        self._counter = counter("edges")

    def process(self, block):
        for batch in block.batches(self._columns, EDGES_AT_ONCE):
            sources = tables.numbers(batch.column("source"), "source", self._title, np.int64)
            targets = tables.numbers(batch.column("target"), "target", self._title, np.int64)
            weights = np.ones(len(sources), np.float32)
            if "weight" in self._columns:
                weights = tables.numbers(batch.column("weight"), "weight", self._title, np.float32)
                wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
                if wrong.size:
                    edge = f"({sources[wrong[0]]}, {targets[wrong[0]]})"
                    raise ValueError(
                        f"{self._title}: weights must be at least 0; {edge} has {weights[wrong[0]]}"
                    )
            self._counter.inc(len(sources))
            for shard, at in shards(targets, self._num_shards):
                yield shard, Edges(sources[at], targets[at], weights[at])


class Part(NamedTuple):
    """What nodes receive by a relation, in part."""

    relation: str
    sums: Sums


class Loader:
    """A layer that a worker loads once, for all of its steps.

    Args:
        layers: the folder of all layers.
        number: of the layer, from 1.
        shared: where a worker keeps it.
    """

    def __init__(self, layers: str, number: int, shared: Shared):
        self._layers = layers
        self._number = number
        self._shared = shared

    def load(self) -> Layer:
        """The layer."""
        return self._shared.acquire(lambda: load_layers(self._layers)[self._number - 1])


class Send(beam.DoFn):
    """`(shard of the targets, their Nodes and Edges)` -> `(shard of the sources, a Part)`.

    Args:
        loader: of the layer.
        relation: the edges'.
        titles: of the table of nodes, and of that of edges, for errors.
        num_shards: of the sources.
    """

    def __init__(self, loader: Loader, relation: str, titles: tuple[str, str], num_shards: int):
        self._loader = loader
        self._relation = relation
        self._nodes_title, self._edges_title = titles
        self._num_shards = num_shards

    def setup(self) -> None:
        self._layer = self._loader.load()  # a worker keeps it as long as a step does
        self._convolution = self._layer.convolutions[self._relation]

    def process(self, element):
        _, values = element
        nodes = merged(list(_of(values, Nodes)), self._nodes_title)
        messages = None
        for edges in _chunks(_of(values, Edges)):
            at = positions(nodes.rows, edges.targets, self._edges_title, "target")
            if messages is None:
                messages = np.asarray(self._convolution.messages(nodes.vectors), np.float64)
            used = edges.weights > 0
            sums = summed(Edges(*(column[used] for column in edges)), at[used], messages)
            for shard, of_shard in shards(sums.rows, self._num_shards):
                part = Sums(*(column[of_shard] for column in sums))
                yield shard, Part(self._relation, part)


class Aggregate(beam.DoFn):
    """`(shard of the sources, their Nodes and Parts)` -> a file of their new vectors.

    Args:
        loader: of the layer.
        of_type: whose nodes they are.
        relations: `{relation: title of its table of edges}`, those of the type.
        title: of the table of nodes, for errors.
        num_shards: of the nodes.
        folder: where the files go.
    """

    def __init__(
        self,
        loader: Loader,
        of_type: str,
        relations: dict[str, str],
        title: str,
        num_shards: int,
        folder: str,
    ):
        self._loader = loader
        self._type = of_type
        self._relations = relations
        self._title = title
        self._num_shards = num_shards
        self._folder = folder
        self._counter = counter("rows")

    def setup(self) -> None:
        self._layer = self._loader.load()
        self._convolutions = {name: self._layer.convolutions[name] for name in self._relations}
        self._combination = self._layer.combinations.get(self._type)

    def process(self, element):
        shard, values = element
        nodes = merged(list(_of(values, Nodes)), self._title)
        pools = {
            name: Pool(nodes.rows, each.message_dim, self._relations[name])
            for name, each in self._convolutions.items()
        }
        for part in _of(values, Part):
            pools[part.relation].add(part.sums)
        means = [pool.mean for pool in pools.values()]
        convolutions = list(self._convolutions.values())
        new = combined(nodes.vectors, convolutions, means, self._combination)
        vectors = tables.vector_column(np.asarray(new, np.float32))
        columns = {"row": pa.array(nodes.rows), "vector": vectors}
        name = f"vectors-{shard:05d}-of-{self._num_shards:05d}.parquet"
        tables.write_table(FileSystems.join(self._folder, name), columns)
        self._counter.inc(len(nodes.rows))


def _of(values: Iterable, kind: type) -> Iterator:
    """Those of a kind; a second pass over them reads them again, so that edges need no memory."""
    return (value for value in values if isinstance(value, kind))


def _chunks(blocks):
    """Blocks of edges, joined to larger ones: fewer blocks make fewer sums."""
    waiting, size = [], 0
    for block in blocks:
        waiting.append(block)
        size += len(block.sources)
        if size >= EDGES_AT_ONCE:
            yield Edges(*map(np.concatenate, zip(*waiting, strict=True)))
            waiting, size = [], 0
    if waiting:
        yield Edges(*map(np.concatenate, zip(*waiting, strict=True)))
