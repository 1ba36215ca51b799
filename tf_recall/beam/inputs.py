"""A trained graph model as what `tf_recall.beam.layerwise` reads."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tf_recall.beam.layers import save_layers

EDGES = 2**22  # written at a time


def write_inputs(model, folder) -> dict:
    """Writes the features' vectors of a model's nodes, its edges and its convolutions.

        nodes/<type>.parquet    row, vector
        edges/<type>.parquet    source, target, weight; from nodes of the type to their neighbors
        layers/                 the convolutions

    The vectors that `layerwise` makes of them are those of the last convolution;
    `model.encoder.finish(vectors)` makes the served ones: head and unit length.

    Args:
        model: a `GraphSAGE`, `GraphSAGEI2I` or `PinSage` with its graph, so adapted or attached in
            this process.
        folder: where to; made if need be.

    Returns:
        The arguments of `layerwise`: `{"nodes": ..., "edges": ..., "layers": ...}`.

    Raises:
        ValueError: the model has no graph, as one that was loaded.

    Example:
        >>> done = layerwise(**write_inputs(model, "graph"), out="vectors", options=options)
    """
    if model.graph is None:
        raise ValueError(
            "the model has no graph: adapt it, or attach interactions to it, in this process"
        )
    folder = Path(folder)
    for name in ("nodes", "edges"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    nodes, edges = {}, {}
    for of_type in model.encoder.bases:
        nodes[of_type] = str(folder / "nodes" / f"{of_type}.parquet")
        pq.write_table(_nodes(model.encoder.base_vectors(of_type)), nodes[of_type])
        near, graph = model.graph.over(of_type)
        edges[of_type, near] = str(folder / "edges" / f"{of_type}.parquet")
        _write_edges(graph, edges[of_type, near])
    save_layers(model.encoder.convolutions, folder / "layers")
    return {"nodes": nodes, "edges": edges, "layers": str(folder / "layers")}


def _nodes(vectors):
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table({"row": np.arange(len(vectors)), "vector": lists})


def _write_edges(graph, path):
    fields = {"source": pa.int32(), "target": pa.int32(), "weight": pa.float32()}
    with pq.ParquetWriter(path, pa.schema(fields.items())) as writer:
        for start in range(0, max(1, graph.num_edges), EDGES):
            part = slice(start, min(start + EDGES, graph.num_edges))
            source = (
                np.searchsorted(graph.offsets, np.arange(part.start, part.stop), side="right") - 1
            )
            weight = (
                np.ones(len(source), np.float32) if graph.weights is None else graph.weights[part]
            )
            columns = [source.astype(np.int32), graph.targets[part], weight]
            writer.write_table(pa.table(dict(zip(fields, columns, strict=True))))
