"""A Beam pipeline per layer that computes the vectors of all nodes of a graph of any size."""

import logging
from pathlib import Path

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from tf_recall.beam import tables
from tf_recall.beam.layer_steps import (
    EDGES_AT_ONCE,
    Aggregate,
    Loader,
    ReadEdges,
    ReadNodes,
    Send,
)
from tf_recall.beam.layers import digest, load_layers
from tf_recall.beam.plan import Plan
from tf_recall.beam.progress import Progress
from tf_recall.beam.runs import add_settings, answer, command, run, tasks, with_runner

log = logging.getLogger(__name__)

EDGES = "--edges TYPE:NEIGHBOR[:NAME]=PARQUET"


def layerwise(
    nodes: dict[str, str | Path],
    edges: dict[tuple[str, ...], str | Path],
    layers: str | Path,
    out: str | Path,
    rows_per_shard: int = 100_000,
    options: PipelineOptions | None = None,
) -> dict:
    """Writes the vectors of every node at every layer, as `tf_recall.graph.layerwise` has them.

        send, by relation r, in the shards of the neighbors:
            messages_kr[u] = convolution_kr.messages(vectors_{k-1}[u])
            sums_vr, weights_vr = sum over edges (v, u) of weight * messages_kr[u], and of weight:
                partial, by shard of u
        aggregate, in the shards of the nodes:
            pooled_kr[v] = sum of the parts' sums_vr / sum of their weights_vr
            vectors_k[v] = combination_k over r of
                convolution_kr.update(vectors_{k-1}[v], pooled_kr[v])

    Workers exchange arrays of many rows, and for a node of many neighbors no more than a sum from
    each shard. That needs convolutions whose pool is a weighted mean. Each layer is a pipeline of
    its own that writes its vectors. After an interruption, a call with the same arguments continues
    after the last finished layer.

    Sums are not combined by a `CombineFn`: Beam moves it before the shuffle and holds up to 100,000
    of its accumulators in memory, here arrays of a whole shard. Parts are summed within a shard and
    added up as they arrive.

    Args:
        nodes: `{type: Parquet}` with the columns `row` (whole numbers) and `vector` (fixed-size
            lists of float32): what goes into the first layer. Parquet is a file, a pattern, or a
            folder.
        edges: `{(type, type of its neighbors): Parquet}` with `source`, `target` and perhaps
            `weight`, else 1. The relation is called `<type>_<type>`; another name, as several
            relations between two types need, is the third of `(type, type, name)`.
        layers: the folder that `tf_recall.beam.layers.save_layers` wrote.
        out: a folder for the result; `layer-<k>/<type>/vectors-<i>-of-<n>.parquet`, as `nodes`.
        rows_per_shard: nodes that a worker holds at a time.
        options: Beam's `PipelineOptions`; without a runner among them, all runs in this process.

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
        >>> model = GraphSAGE(query_tower, item_tower, 8, [10, 5]).adapt(split.train, catalog)
        >>> done = layerwise(**write_inputs(model, "inputs"), out="vectors")
        >>> items = pd.read_parquet("vectors/layer-2/item")     # row, vector

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.4.
    """
    plan = Plan(nodes, edges, load_layers(layers), rows_per_shard)
    options = with_runner(options)
    layers, out = str(layers), str(out)
    progress = Progress(out, {**plan.fingerprint(), "layers": digest(layers)})
    for number, layer in enumerate(plan.layers, 1):
        name = f"layer-{number}"
        if name not in progress.finished:
            progress.clear(f"{name}/**")
            counted = run(
                lambda pipeline, number=number: _build(pipeline, plan, layers, number, out), options
            )
            for of_type in plan.of(layer):
                _check(of_type, _folder(out, number, of_type), plan.nodes[of_type].rows)
            progress.finish(name, counted)
            log.info("%s: %s", name, counted)
    last = {of_type: _folder(out, number, of_type) for of_type in plan.of(layer)}
    last = {of_type: FileSystems.join(folder, "*.parquet") for of_type, folder in last.items()}
    return {"vectors": last, "finished": progress.finished}


def _folder(out, number, of_type):
    return FileSystems.join(out, f"layer-{number}", of_type)


def _build(pipeline, plan, layers, number, out):
    """Adds a layer to the pipeline."""
    relations = plan.of(plan.layers[number - 1])
    before = plan.nodes
    if number > 1:
        before = {
            each: tables.nodes(_folder(out, number - 1, each), each)
            for each in plan.of(plan.layers[number - 2])
        }
    ends = [plan.over[name] for names in relations.values() for name in names]
    vectors = {}
    for each in sorted({each for pair in ends for each in pair}):
        read = ReadNodes(before[each].title, plan.rows_per_shard, plan.num_shards[each])
        blocks = tasks(pipeline, f"{each} nodes", before[each].blocks(plan.rows_per_shard))
        vectors[each] = blocks | f"{each} nodes: read" >> beam.ParDo(read)
    loader = Loader(layers, number, Shared())
    for of_type, names in relations.items():
        parts = []
        for name in names:
            _, near = plan.over[name]
            table = plan.edges[name]
            blocks = tasks(pipeline, f"{name} edges", table.blocks(EDGES_AT_ONCE))
            read = ReadEdges(table, plan.num_shards[near])
            edges = blocks | f"{name} edges: read" >> beam.ParDo(read)
            titles = before[near].title, table.title
            send = Send(loader, name, titles, plan.num_shards[of_type])
            parts.append(
                (vectors[near], edges)
                | f"{name}: nodes and edges" >> beam.Flatten()
                | f"{name}: by target" >> beam.GroupByKey()
                | f"{name}: send" >> beam.ParDo(send)
            )
        titles = {name: plan.edges[name].title for name in names}
        folder = _folder(out, number, of_type)
        title, num = before[of_type].title, plan.num_shards[of_type]
        aggregate = Aggregate(loader, of_type, titles, title, num, folder)
        _ = (
            (vectors[of_type], *parts)
            | f"{of_type}: nodes and sums" >> beam.Flatten()
            | f"{of_type}: by source" >> beam.GroupByKey()
            | f"{of_type}: aggregate" >> beam.ParDo(aggregate)
        )


def _check(of_type, folder, rows):
    """Refuses a result that lacks nodes; none can be there twice: rows of a shard are distinct."""
    written = tables.nodes(folder, of_type).rows
    if written != rows:
        raise RuntimeError(f"{folder} has {written} rows and should have {rows}; run again")


def main(arguments: list[str] | None = None) -> None:
    """`python -m tf_recall.beam.layerwise --nodes ... --edges ... --layers ... --out ... [...]`"""
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
        metavar=EDGES.removeprefix("--edges "),
        help="Sources and targets of a relation; one for each.",
    )
    add("--layers", required=True, metavar="DIR", help="Where save_layers wrote them.")
    add("--out", required=True, metavar="DIR", help="Where to; an interrupted run continues there.")
    add_settings(parser, layerwise, rows_per_shard="Nodes that a worker holds at a time")
    given, others = parser.parse_known_args(arguments)
    nodes = dict(_pair(parser, each, "--nodes TYPE=PARQUET") for each in given.nodes)
    edges = {}
    for each in given.edges:
        types, pattern = _pair(parser, each, EDGES)
        key = tuple(types.split(":"))
        if len(key) not in (2, 3):
            parser.error(f"{EDGES}, got {each!r}")
        edges[key] = pattern
    settings = {"rows_per_shard": given.rows_per_shard, "options": PipelineOptions(others)}
    answer(parser, lambda: layerwise(nodes, edges, given.layers, given.out, **settings))


def _pair(parser, text, form):
    name, equals, value = text.partition("=")
    if not equals:
        parser.error(f"{form}, got {text!r}")
    return name, value


if __name__ == "__main__":
    # Workers elsewhere find the steps by their module's name, which __main__ is not.
    from tf_recall.beam.layerwise import main as main_of_module

    main_of_module()
