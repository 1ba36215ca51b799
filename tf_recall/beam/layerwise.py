"""The vectors of all nodes of a graph, layer by layer, as Beam pipelines: for graphs beyond one
machine's memory.
"""

import logging

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from tf_recall.beam import tables
from tf_recall.beam.layers import digest, load_layers
from tf_recall.beam.partial import Edges, Nodes, Pool, Sums, merged, places, shards, summed
from tf_recall.beam.plan import Plan
from tf_recall.beam.progress import Progress
from tf_recall.beam.runs import answer, command, counter, pieces, run, settled

EDGES_AT_ONCE = 2**19  # read by a worker, and summed: up to as many sums, of M float64 each
log = logging.getLogger(__name__)


def layerwise(nodes, edges, layers, out, rows_per_shard: int = 100_000, options=None) -> dict:
    """What the layers of a graph network say of every node, from all neighbors:
    `tf_recall.graph.layerwise` on Beam.

        map     messages_k[u] = convolution_k.messages(vectors_{k-1}[u]), in the shards of the nodes
        that are heard;
                sums_v, weights_v = sum over edges (v, u) of weight * messages_k[u], of weight:
                partial, by shard of u
        reduce  pooled_k[v] = sum of the parts' sums_v / sum of their weights_v
                vectors_k[v] = convolution_k.update(vectors_{k-1}[v], pooled_k[v]), in the shards of
                the nodes that hear

    What travels is arrays of many rows, and of a busy node no more than a sum from each shard. That
    needs convolutions whose pool is a weighted mean. Each layer is a pipeline of its own that
    writes its vectors; a run that was interrupted is called again with the same arguments, and goes
    on after the last layer that was finished.

    Sums are not combined by a `CombineFn`: Beam lifts it before the shuffle and holds up to 100,000
    of its accumulators in memory, here arrays of a whole shard. Parts are summed within a shard and
    added up as they arrive.

    Args:
        nodes: `{type: Parquet}` with the columns `row` (whole numbers) and `vector` (fixed-size
            lists of float32): what goes into the first layer. Parquet is a file, a pattern, or a
            folder.
        edges: `{(type, type of its neighbors): Parquet}` with `source`, `target` and, where they do
            not all count 1, `weight`. Each type has neighbors of one type.
        layers: the folder that `tf_recall.beam.layers.save_layers` wrote.
        out: a folder for the result; `layer-<k>/<type>/vectors-<i>-of-<n>.parquet`, as `nodes`.
        rows_per_shard: nodes that a worker holds at a time.
        options: Beam's `PipelineOptions`; without a runner among them, all is done in this process.

    Returns:
        `{"vectors": {type: pattern of the last layer's files}, "finished": {"layer-<k>": rows and
        edges}}`

    Raises:
        FileNotFoundError: no such files.
        ValueError: a table that lacks columns or rows, lengths that do not fit the layers, a
            convolution whose pool is no weighted mean, an `out` of other inputs. From workers, as
            Beam's runner wraps it: rows that come twice, edges from or to rows that no node has,
            vectors of unequal length, weights below 0.

    Example:
        >>> save_layers([{"item": SAGEConvolution(64, Mean())}], "layers")  # built
        >>> layerwise({"item": "items/"}, {("item", "item"): "edges/"}, "layers", "vectors")

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.4.
    """
    plan = Plan(nodes, edges, load_layers(layers), rows_per_shard)
    options, layers, out = settled(options), str(layers), str(out)
    progress = Progress(out, {**plan.fingerprint(), "layers": digest(layers)})
    for number, layer in enumerate(plan.layers, 1):
        name = f"layer-{number}"
        if name not in progress.finished:
            progress.clear(f"{name}/**")
            counted = run(
                lambda pipeline, number=number: _build(pipeline, plan, layers, number, out), options
            )
            for of_type in layer:
                _check(of_type, _folder(out, number, of_type), plan.nodes[of_type].rows)
            progress.finish(name, counted)
            log.info("%s: %s", name, counted)
    last = {
        of_type: FileSystems.join(_folder(out, len(plan.layers), of_type), "*.parquet")
        for of_type in layer
    }
    return {"vectors": last, "finished": progress.finished}


def _folder(out, number, of_type):
    return FileSystems.join(out, f"layer-{number}", of_type)


def _build(pipeline, plan, layers, number, out):
    """Adds a layer to the pipeline."""
    layer = plan.layers[number - 1]
    before = plan.nodes
    if number > 1:
        before = {
            each: tables.nodes(_folder(out, number - 1, each), each)
            for each in plan.layers[number - 2]
        }
    vectors = {}
    for each in sorted({*layer, *(plan.over[of_type] for of_type in layer)}):
        read = ReadNodes(before[each].title, plan.rows_per_shard, plan.num_shards[each])
        blocks = pieces(pipeline, f"{each} nodes", before[each].blocks(plan.rows_per_shard))
        vectors[each] = blocks | f"{each} nodes: read" >> beam.ParDo(read)
    for of_type in layer:
        near, table = plan.over[of_type], plan.edges[of_type]
        held = Shared()
        blocks = pieces(pipeline, f"{of_type} edges", table.blocks(EDGES_AT_ONCE))
        edges = blocks | f"{of_type} edges: read" >> beam.ParDo(
            ReadEdges(table, plan.num_shards[near])
        )
        titles = before[near].title, table.title
        send = Send(layers, number, of_type, held, titles, plan.num_shards[of_type])
        sums = (
            (vectors[near], edges)
            | f"{of_type}: nodes and edges" >> beam.Flatten()
            | f"{of_type}: by target" >> beam.GroupByKey()
            | f"{of_type}: send" >> beam.ParDo(send)
        )
        titles = before[of_type].title, table.title
        hear = Hear(
            layers,
            number,
            of_type,
            held,
            titles,
            _folder(out, number, of_type),
            plan.num_shards[of_type],
        )
        _ = (
            (vectors[of_type], sums)
            | f"{of_type}: nodes and sums" >> beam.Flatten()
            | f"{of_type}: by source" >> beam.GroupByKey()
            | f"{of_type}: hear" >> beam.ParDo(hear)
        )


class ReadNodes(beam.DoFn):
    """Blocks of a table of nodes -> `(shard, Nodes)`."""

    def __init__(self, title, rows_at_once, num_shards):
        self._title, self._rows, self._num_shards = title, rows_at_once, num_shards

    def process(self, block):
        for batch in block.batches(["row", "vector"], self._rows):
            rows = tables.numbers(batch.column("row"), "row", self._title, np.int64)
            vectors = tables.vectors(batch.column("vector"), self._title)
            for shard, at in shards(rows, self._num_shards):
                yield shard, Nodes(rows[at], vectors[at])


class ReadEdges(beam.DoFn):
    """Blocks of a table of edges -> `(shard of the targets, Edges)`."""

    def __init__(self, table, num_shards):
        self._title, self._num_shards = table.title, num_shards
        self._columns = [
            name for name in ("source", "target", "weight") if name in table.schema.names
        ]
        self._counter = counter("edges")

    def process(self, block):
        for batch in block.batches(self._columns, EDGES_AT_ONCE):
            sources, targets = (
                tables.numbers(batch.column(name), name, self._title, np.int64)
                for name in ("source", "target")
            )
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


class _Step(beam.DoFn):
    """A half of a convolution, which a worker loads once."""

    def __init__(self, layers, number, of_type, held, titles):
        self._layers, self._number, self._type, self._held = layers, number, of_type, held
        self._nodes_title, self._edges_title = titles

    def setup(self):
        self._convolution = self._held.acquire(
            lambda: load_layers(self._layers)[self._number - 1][self._type]
        )

    @staticmethod
    def _of(values, kind):
        """Those of a kind; a second look at them reads them again, so that edges need not fit into
        memory.
        """
        return (value for value in values if isinstance(value, kind))


class Send(_Step):
    """`(shard of the targets, their Nodes and Edges)` -> `(shard of the sources, Sums)`."""

    def __init__(self, *args):
        *args, self._num_shards = args
        super().__init__(*args)

    def process(self, element):
        _, values = element
        nodes, messages = merged(list(self._of(values, Nodes)), self._nodes_title), None
        for edges in _chunks(self._of(values, Edges)):
            at = places(nodes.rows, edges.targets, self._edges_title, "target")
            if messages is None:
                messages = np.asarray(self._convolution.messages(nodes.vectors), np.float64)
            said = edges.weights > 0
            sums = summed(Edges(*(column[said] for column in edges)), at[said], messages)
            for shard, of_shard in shards(sums.rows, self._num_shards):
                yield shard, Sums(*(column[of_shard] for column in sums))


class Hear(_Step):
    """`(shard of the sources, their Nodes and Sums)` -> their new vectors, in a file of that
    shard's own.
    """

    def __init__(self, *args):
        *args, self._folder, self._num_shards = args
        super().__init__(*args)
        self._counter = counter("rows")

    def process(self, element):
        shard, values = element
        nodes = merged(list(self._of(values, Nodes)), self._nodes_title)
        pool = Pool(nodes.rows, self._convolution.message_dim, self._edges_title)
        for sums in self._of(values, Sums):
            pool.add(sums)
        vectors = np.asarray(self._convolution.update(nodes.vectors, pool.mean), np.float32)
        columns = {"row": pa.array(nodes.rows), "vector": tables.vector_column(vectors)}
        name = f"vectors-{shard:05d}-of-{self._num_shards:05d}.parquet"
        tables.write_table(FileSystems.join(self._folder, name), columns)
        self._counter.inc(len(nodes.rows))


def _chunks(blocks):
    """Small blocks of edges together: the more, the fewer sums."""
    waiting, size = [], 0
    for block in blocks:
        waiting, size = [*waiting, block], size + len(block.sources)
        if size >= EDGES_AT_ONCE:
            yield Edges(*map(np.concatenate, zip(*waiting, strict=True)))
            waiting, size = [], 0
    if waiting:
        yield Edges(*map(np.concatenate, zip(*waiting, strict=True)))


def _check(of_type, folder, rows):
    """Whether each node has come through, once: shards are disjoint and their rows were found
    distinct.
    """
    written = tables.nodes(folder, of_type).rows
    if written != rows:
        raise RuntimeError(f"{folder} has {written} rows and should have {rows}; run again")


def main(arguments=None) -> None:
    """`python -m tf_recall.beam.layerwise --nodes ... --edges ... --layers ... --out ... [Beam's
    options]`
    """
    parser = command("layerwise", "The vectors of all nodes of a graph, layer by layer.")
    add = parser.add_argument
    add(
        "--nodes",
        action="append",
        required=True,
        metavar="TYPE=PARQUET",
        help="Rows and vectors; one for each type.",
    )
    add(
        "--edges",
        action="append",
        required=True,
        metavar="TYPE:NEIGHBOR=PARQUET",
        help="Sources and targets.",
    )
    add("--layers", required=True, metavar="DIR", help="Where save_layers wrote them.")
    add("--out", required=True, metavar="DIR", help="Where to; an interrupted run goes on there.")
    add(
        "--rows-per-shard",
        type=int,
        default=100_000,
        metavar="N",
        help="Nodes that a worker holds at a time.",
    )
    given, others = parser.parse_known_args(arguments)
    nodes = dict(_pair(parser, each, "--nodes TYPE=PARQUET") for each in given.nodes)
    edges = {}
    for each in given.edges:
        pair, pattern = _pair(parser, each, "--edges TYPE:NEIGHBOR=PARQUET")
        of_type, colon, near = pair.partition(":")
        if not colon:
            parser.error(f"--edges TYPE:NEIGHBOR=PARQUET, got {each!r}")
        edges[of_type, near] = pattern
    options = PipelineOptions(others)
    answer(
        parser,
        lambda: layerwise(nodes, edges, given.layers, given.out, given.rows_per_shard, options),
    )


def _pair(parser, text, form):
    name, equals, value = text.partition("=")
    if not equals:
        parser.error(f"{form}, got {text!r}")
    return name, value


if __name__ == "__main__":
    # Workers elsewhere find the steps by their module's name, which __main__ is not.
    from tf_recall.beam.layerwise import main as main_of_module

    main_of_module()
