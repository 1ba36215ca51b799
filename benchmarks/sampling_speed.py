"""The cost of sampling a batch's part of a graph, compared with DGL's CPU sampler.

    python benchmarks/sampling_speed.py --peer-python ENVIRONMENT/bin/python [--quick]

The graph has 1 million nodes and about 20 million edges, degrees by a power law at both ends. A
batch is 1,024 different nodes, 15 neighbors of each, and 10 of each of all these, drawn with
replacement; each node is listed once and edges hold its position, by `expand` here and by blocks
there. There are two workers, and as many batches as make up a round.

DGL runs in four ways: its `DataLoader` with 2 worker processes, GraphBolt's with 2, and
`NeighborSampler` called by 2 threads of one process, each with one OpenMP thread a worker; and 2
threads with 2 OpenMP threads each, not fused, since its fused sampler leaves out two thirds of the
edges where OpenMP has more than one thread. `ratio` is our sampled edges a second over those of the
fastest. Each figure is the median of rounds in which all run in turn; the first is not counted. The
table shows edges a batch, which should be the same for all.

DGL 2.1.0 needs a PyTorch that does not go with NumPy 2, so it has its own environment:

    python3.11 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install dgl==2.1.0 torch==2.2.1 torchdata==0.7.1 \\
        'numpy<2' 'pandas<3' pydantic pyyaml setuptools
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from peer import Peer

NODES, MEAN_DEGREE, LARGEST, BATCH, FAN_OUTS, WORKERS = 1_000_000, 20, 100_000, 1024, (15, 10), 2
# threads of each way
OPENMP = {
    "DGL, 2 threads": 1,
    "DGL, DataLoader": 1,
    "DGL, GraphBolt": 1,
    "DGL, OpenMP": 2,
}
WARM = 8  # batches of a round that are not counted: workers start


def write_graph(folder, num_batches):
    """Offsets, targets, and the nodes of a round's batches."""
    rng = np.random.default_rng(0)
    degrees = np.minimum((1 + rng.pareto(1.5, NODES)) * MEAN_DEGREE / 3, LARGEST).astype(np.int64)
    degrees[0] = 0
    offsets = np.concatenate([[0], np.cumsum(degrees)])
    popular = 1 + rng.permutation(NODES - 1)
    np.save(folder / "offsets.npy", offsets)
    np.save(
        folder / "targets.npy",
        popular[((NODES - 1) * rng.random(offsets[-1]) ** 3).astype(np.int64)].astype("i4"),
    )
    np.save(
        folder / "batches.npy",
        (1 + rng.permutation(NODES - 1)[: num_batches * BATCH]).reshape(num_batches, BATCH),
    )
    print(f"{offsets[-1]:,} edges, degrees up to {degrees.max():,}")


def read_graph(folder):
    return [np.load(Path(folder) / f"{name}.npy") for name in ("offsets", "targets", "batches")]


def timed(edges_of_batches):
    """Seconds and edges of a round, after the first batches."""
    for _ in range(WARM):
        next(edges_of_batches)
    start = time.perf_counter()
    edges = list(edges_of_batches)
    return {"seconds": time.perf_counter() - start, "edges": sum(edges), "batches": len(edges)}


def our_round(folder):
    from tf_recall.graph.csr import Graph
    from tf_recall.graph.expand import expand
    from tf_recall.graph.neighbors import UniformNeighbors

    offsets, targets, batches = read_graph(folder)
    graph = Graph(offsets, targets, None)
    layers = [{"node": UniformNeighbors(graph, num)} for num in reversed(FAN_OUTS)]

    def sample(step):
        rng = np.random.default_rng(step)
        found = expand({"node": np.sort(batches[step])}, layers, {"node": ("node", "node")}, rng)
        return sum(
            int(np.count_nonzero(layer["node"]["weight"])) for layer in found["layers"].values()
        )

    def run():
        with ThreadPoolExecutor(WORKERS) as pool:
            return timed(pool.map(sample, range(len(batches))))

    return run


def peer_rounds(folder):
    """Each way to use DGL, by name."""
    os.environ["DGLBACKEND"] = "pytorch"
    import dgl
    import torch
    from dgl import graphbolt

    offsets, targets, batches = (
        torch.from_numpy(array.astype(np.int32)) for array in read_graph(folder)
    )
    graph = dgl.graph(
        ("csc", (offsets, targets, torch.zeros(0, dtype=torch.int32))), num_nodes=NODES
    ).formats("csc")
    fan_outs = list(reversed(FAN_OUTS))  # the first layer's first, as ours
    sampler = dgl.dataloading.NeighborSampler(fan_outs, replace=True)
    loader = dgl.dataloading.DataLoader(
        graph,
        batches.flatten(),
        sampler,
        batch_size=BATCH,
        num_workers=WORKERS,
        persistent_workers=True,
    )
    pipe = graphbolt.ItemSampler(
        graphbolt.ItemSet(batches.flatten(), names="seed_nodes"), batch_size=BATCH
    )
    pipe = pipe.sample_neighbor(
        graphbolt.fused_csc_sampling_graph(offsets.long(), targets), fan_outs, replace=True
    )
    bolt = graphbolt.DataLoader(pipe, num_workers=WORKERS, persistent_workers=True)

    unfused = dgl.dataloading.NeighborSampler(fan_outs, replace=True, fused=False)

    def threads(sampler):
        with ThreadPoolExecutor(WORKERS) as pool:
            sampled = pool.map(lambda nodes: sampler.sample(graph, nodes), batches)
            return timed(sum(block.num_edges() for block in blocks) for _, _, blocks in sampled)

    return {
        "DGL, 2 threads": lambda: threads(sampler),
        "DGL, OpenMP": lambda: threads(unfused),
        "DGL, DataLoader": lambda: timed(
            sum(block.num_edges() for block in blocks) for _, _, blocks in loader
        ),
        "DGL, GraphBolt": lambda: timed(
            sum(len(each.sampled_csc.indices) for each in batch.sampled_subgraphs) for batch in bolt
        ),
    }


def serve(folder):
    """The peer's process: reads names of ways by line, and writes the time of a round of each."""
    rounds = peer_rounds(folder)
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(rounds[line.strip()]()), flush=True)


def compare(folder, python, num_rounds):
    """The time of each side, round by round."""
    peers = {
        openmp: Peer(python, __file__, folder, OMP_NUM_THREADS=str(openmp))
        for openmp in set(OPENMP.values())
    }
    rounds = {"tf_recall, 2 threads": our_round(folder)}
    rounds |= {name: partial(peers[openmp].turn, name) for name, openmp in OPENMP.items()}
    took = {name: [] for name in rounds}
    for _ in range(1 + num_rounds):
        for name, run in rounds.items():
            took[name].append(run())
    for peer in peers.values():
        peer.close()
    return {name: each[1:] for name, each in took.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="interpreter of an environment with DGL"
    )
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve)
    from tutorial import finish

    num_batches, num_rounds = (40, 5) if given.quick else (100, 15)
    with tempfile.TemporaryDirectory() as folder:
        write_graph(Path(folder), WARM + num_batches)
        took = compare(folder, given.peer_python, num_rounds)
    speeds = {
        name: float(np.median([r["edges"] / r["seconds"] for r in each]))
        for name, each in took.items()
    }
    print(f"\n{'':<24}{'edges a second':>16}{'ms a batch':>12}{'edges a batch':>15}")
    for name, each in took.items():
        edges = np.mean([r["edges"] / r["batches"] for r in each])
        print(
            f"{name:<24}{speeds[name]:>16,.0f}{1000 * edges / speeds[name]:>12.1f}{edges:>15,.0f}"
        )
    ours, *peers = speeds.values()
    finish(ratio=ours / max(peers), edges_per_second=speeds)


if __name__ == "__main__":
    main()
