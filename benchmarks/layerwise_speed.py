"""The cost of the vectors of all nodes of a graph: layer by layer, or batch by batch.

    python benchmarks/layerwise_speed.py [--quick]

The graphs have 1 million nodes and about 20 million edges, degrees by a power law at both ends: the
r-th node by r^(-2/3), as is common, or by 1/r (Zipf), where the same few nodes are neighbors of all
others. There are two layers of 64 numbers, one set of weights for all ways. `layerwise` aggregates
all neighbors of every node. Its peers encode 1,024 nodes at a time, each node of a batch once, and
some batches spread over all nodes; their seconds are scaled up to all nodes:

- `exact` aggregates all neighbors and all of theirs, and so computes the vectors of `layerwise`.
- `sampled` aggregates 15 drawn neighbors and 10 of each of these, and makes the next batch while
  one computes: less work, and vectors that depend on the draw.

`ratio` is the exact peer's seconds over ours in the worst case, the aim is 5; `sampled_ratio` the
other's. Each figure is the median of rounds in which all run in turn; the first is not counted.
`peak_gib` is the peak memory of a process of its own that reads the graph from memory maps and runs
`layerwise`; the aim is under 8.

`--quick`: a tenth of the nodes and edges, one round; batches then share more of their nodes, and
the gain is smaller.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from tutorial import finish

from tf_recall.graph.csr import Graph
from tf_recall.graph.expand import expand
from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.neighbors import UniformNeighbors
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.towers.aggregators import MaxPool, Mean
from tf_recall.towers.convolutions import PinSageConvolution, SAGEConvolution

NODES, DIM, BATCH, NEAR = 1_000_000, 64, 1024, (10, 15)
KINDS = {
    "GraphSAGE, Mean": lambda: SAGEConvolution(DIM, Mean()),
    "GraphSAGE, MaxPool": lambda: SAGEConvolution(DIM, MaxPool(DIM)),
    "PinSage": lambda: PinSageConvolution(DIM, DIM),
}
# from numbers even in 0 to 1: ranks from 0 to 1; how many edges to draw for a node, so that 20
# differ
GRAPHS = {
    "r^(-2/3)": (lambda even, size: even**3, 20.2),
    "1/r": (lambda even, size: size ** (even - 1), 30.5),
}


def make_graph(kind, num_nodes):
    """A graph by the power law in which each node has an edge; one drawn twice weighs 2."""
    generator = np.random.default_rng(0)
    rank, per_node = GRAPHS[kind]
    num_edges = int(per_node * num_nodes)
    ids = 1 + generator.permutation(num_nodes).astype(np.int32)
    ends = [
        ids[(num_nodes * rank(generator.random(num), num_nodes)).astype(int)]
        for num in (num_edges,) * 2
    ]
    ends[0][:num_nodes] = ids
    return Graph.from_edges(*ends, None, num_nodes + 1)


def make_layers(kind):
    layers = [KINDS[kind]() for _ in NEAR]
    for layer in layers:
        layer.build((None, DIM), (None, None, DIM))
    return layers


def layer_by_layer(vectors, layers, graph):
    """The vectors of all nodes."""
    states = layerwise(
        {"item": vectors},
        [{"item_item": layer} for layer in layers],
        TypedGraph([Relation("item", "item", graph)]),
    )
    return states[-1]["vectors"]["item"]


class MiniBatches:
    """The peer: vectors of some nodes, of drawn neighbors."""

    def __init__(self, vectors, layers, graph):
        self.vectors, self.size = tf.constant(vectors), graph.num_nodes
        self.near = [{"item": UniformNeighbors(graph, num)} for num in NEAR]

        @tf.function(reduce_retracing=True)
        def encode(batch):
            known = tf.gather(self.vectors, batch["rows"]["item"])
            for number, layer in enumerate(layers, 1):
                edges = batch["layers"][str(number)]["item"]
                own, near = (
                    known[: tf.shape(edges["position"])[0]],
                    tf.gather(layer.messages(known), edges["position"]),
                )
                known = layer.update(own, layer.pool(own, near, edges["weight"]))
            return known

        self.encode = encode

    def seconds(self, num_batches, generator):
        """The seconds for all nodes, scaled from `num_batches` batches spread over them."""

        def of_batch(start):
            seeds = np.arange(start, min(start + BATCH, self.size), dtype=np.int32)
            return expand({"item": seeds}, self.near, {"item": ("item", "item")}, generator)

        starts = np.linspace(0, self.size - BATCH, num_batches).astype(int)
        begin = time.perf_counter()
        with ThreadPoolExecutor(1) as producer:
            batch = producer.submit(of_batch, starts[0])
            for following in [*starts[1:], None]:
                ready = batch.result()
                if following is not None:
                    batch = producer.submit(of_batch, following)
                self.encode(ready).numpy()
        return (time.perf_counter() - begin) * self.size / (BATCH * num_batches)


def compare(graph, vectors, num_rounds, num_batches):
    """Median seconds for all nodes: `{kind: (layer by layer, exact batches, sampled batches)}`."""
    generator = np.random.default_rng(1)
    layers = {kind: make_layers(kind) for kind in KINDS}
    peers = {kind: MiniBatches(vectors, layers[kind], graph) for kind in KINDS}
    times = {kind: ([], [], []) for kind in KINDS}
    for _ in range(1 + num_rounds):
        for kind in KINDS:
            begin = time.perf_counter()
            layer_by_layer(vectors, layers[kind], graph)
            times[kind][0].append(time.perf_counter() - begin)
            times[kind][1].append(
                exact_seconds(vectors, layers[kind], graph, max(2, num_batches // 20))
            )
            times[kind][2].append(peers[kind].seconds(num_batches, generator))
    return {
        kind: tuple(float(np.median(each[1:])) for each in ways) for kind, ways in times.items()
    }


def exact_seconds(vectors, layers, graph, num_batches):
    """The seconds for all nodes batch by batch with all neighbors, scaled from `num_batches`."""
    lower, upper = ([{"item": layer}] for layer in layers)
    starts = np.linspace(1, graph.num_nodes - BATCH, num_batches).astype(int)
    begin = time.perf_counter()
    for start in starts:
        batch = np.arange(start, start + BATCH)
        middle = reached(graph, batch)
        bottom = reached(graph, middle)
        inner = convolve(graph, middle, bottom, vectors[middle], vectors[bottom], lower)
        convolve(graph, batch, middle, inner[np.searchsorted(middle, batch)], inner, upper)
    return (time.perf_counter() - begin) * graph.num_nodes / (BATCH * num_batches)


def reached(graph, nodes):
    """Some nodes and all their neighbors, rising."""
    there = np.zeros(graph.num_nodes, bool)
    there[graph.subgraph(nodes).targets] = there[nodes] = True
    return np.flatnonzero(there)


def convolve(graph, nodes, near, own, vectors, layer):
    """The next vectors of nodes from vectors of all their neighbors: `[len(nodes), dim]`."""
    edges = TypedGraph([Relation("node", "item", graph.subgraph(nodes, near))])
    vectors = {"node": np.pad(own, [(1, 0), (0, 0)]), "item": np.pad(vectors, [(1, 0), (0, 0)])}
    return layerwise(vectors, [{"node_item": layer[0]["item"]}], edges)[0]["vectors"]["node"][1:]


def peak_gib(folder, kind):
    """For a fresh process: the most memory that it held, in GiB."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    layer_by_layer(vectors, make_layers(kind), Graph.load(folder / "graph"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peaks(graph, vectors):
    """`{kind: GiB}`."""
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph.save(folder / "graph")
        np.save(folder / "vectors.npy", vectors)
        found = {}
        for kind in KINDS:
            with fresh.Pool(1) as pool:
                found[kind] = pool.apply(peak_gib, (folder, kind))
        return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    num_nodes, num_rounds, num_batches = NODES, 2, 50
    if parser.parse_args().quick:
        num_nodes, num_rounds, num_batches = NODES // 10, 1, 10
    figures, lines = {}, []
    for of_graph in GRAPHS:
        graph = make_graph(of_graph, num_nodes)
        vectors = np.random.default_rng(2).normal(size=(graph.num_nodes, DIM)).astype(np.float32)
        memory = peaks(graph, vectors)
        print(
            f"{of_graph}: {num_nodes:,} nodes, {graph.num_edges:,} edges, degrees up to "
            f"{graph.degrees.max():,}"
        )
        for kind, (ours, exact, sampled) in compare(
            graph, vectors, num_rounds, num_batches
        ).items():
            figures[f"{of_graph}, {kind}"] = {
                "seconds": ours,
                "exact_seconds": exact,
                "sampled_seconds": sampled,
                "ratio": exact / ours,
                "sampled_ratio": sampled / ours,
                "peak_gib": memory[kind],
            }
            cells = f"{ours:>12.1f}{exact:>12.1f}{exact / ours:>8.1f}"
            cells += f"{sampled:>12.1f}{sampled / ours:>8.1f}"
            lines.append(f"{of_graph:<10}{kind:<20}{cells}{memory[kind]:>10.1f}")
    titles = (
        f"{'layerwise':>12}{'exact':>12}{'ratio':>8}{'sampled':>12}{'ratio':>8}{'peak GiB':>10}"
    )
    print(f"\n{'seconds for all nodes':<30}{titles}")
    print("\n".join(lines))
    finish(
        ratio=min(each["ratio"] for each in figures.values()),
        sampled_ratio=min(each["sampled_ratio"] for each in figures.values()),
        peak_gib=max(each["peak_gib"] for each in figures.values()),
        figures=figures,
    )


if __name__ == "__main__":
    main()
