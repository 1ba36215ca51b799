"""The files that `tf_recall.beam.layerwise` reads, written from a trained graph model."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tf_recall.beam.layers import save_layers
from tf_recall.retrievers.graph import GraphRetriever
from tf_recall.retrievers.propagation import PropagationRetriever

BLOCK_EDGES = 2**22  # written at a time


def write_inputs(model: GraphRetriever | PropagationRetriever, folder: str | Path) -> dict:
    """Writes a graph model's nodes, with their features' vectors, its edges and its convolutions.

        nodes/<type>.parquet      row, vector
        edges/<relation>.parquet  source, target, weight; from nodes to their neighbors
        layers/                   the convolutions, and what combines them

    From these `layerwise` computes the vectors of every layer; with readout, head and unit length,
    `model.encoder.finish(model.encoder.readout([nodes' vectors, layer 1's, ...]))`, they are the
    served ones. Those of `LightGCN`'s last layer are the served ones as they are: its nodes bring
    along the sums of their layers.

    Args:
        model: a graph model, such as `GraphSAGE`, `PinSage` or `LightGCN`, that has its graph: it
            was adapted or attached in this process.
        folder: where to; made where it does not exist.

    Returns:
        The arguments of `layerwise`: `{"nodes": ..., "edges": ..., "layers": ...}`.

    Raises:
        ValueError: the model has no graph, since it was loaded.

    Example:
        >>> done = layerwise(**write_inputs(model, "graph"), out="vectors")
    """
    made = model.by_layers()
    folder = Path(folder)
    for name in ("nodes", "edges"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    nodes, edges = {}, {}
    for of_type, vectors in made.vectors.items():
        nodes[of_type] = str(folder / "nodes" / f"{of_type}.parquet")
        pq.write_table(_nodes(vectors), nodes[of_type])
    for relation in made.graph.relations:
        key = (*relation.ends, relation.name)
        edges[key] = str(folder / "edges" / f"{relation.name}.parquet")
        _write_edges(relation.graph, edges[key])
    save_layers(made.layers, folder / "layers", made.combinations)
    return {"nodes": nodes, "edges": edges, "layers": str(folder / "layers")}


def _nodes(vectors):
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table({"row": np.arange(len(vectors)), "vector": lists})


def _write_edges(graph, path):
    fields = {"source": pa.int32(), "target": pa.int32(), "weight": pa.float32()}
    with pq.ParquetWriter(path, pa.schema(fields.items())) as writer:
        for start in range(0, max(1, graph.num_edges), BLOCK_EDGES):
            part = slice(start, min(start + BLOCK_EDGES, graph.num_edges))
            edges = np.arange(part.start, part.stop)
            source = np.searchsorted(graph.offsets, edges, side="right") - 1
            weight = np.ones(len(source), np.float32)
            if graph.weights is not None:
                weight = graph.weights[part]
            columns = [source.astype(np.int32), graph.targets[part], weight]
            writer.write_table(pa.table(dict(zip(fields, columns, strict=True))))
